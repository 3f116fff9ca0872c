"""Stand-ins for clinical metrics: right by hand, and never under a real metric's name."""

import pytest

from argus_evaluation.metrics.clinical.clinical_metrics import CLINICAL_METRICS, clinical_metrics
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions

GREEN = "stand-in for GREEN: finding F1 (rules)"
RADGRAPH = "stand-in for RadGraph-XL: finding and side F1 (rules)"
RATE = "stand-in for RaTEScore: finding, side and place F1 (rules)"


def test_findings_and_their_sides_are_compared_with_the_reference():
    metrics = clinical_metrics(["stand-in"], ClinicalOptions())
    references = ["Pleural effusion on the left. Lung nodule in the right upper lobe.", "Cardiomegaly."]
    reports = ["Lung nodule in the right lower lobe. Pleural effusion on the right.", "Cardiomegaly. Emphysema."]
    # Four findings are told and three are true: three labels are right, one of them on the wrong side, one elsewhere.
    assert metrics[GREEN].score(reports, references).value == pytest.approx(2 * 3 / (4 + 3))
    assert metrics[RADGRAPH].score(reports, references).value == pytest.approx(2 * 2 / (4 + 3))
    assert metrics[RATE].score(reports, references).value == pytest.approx(2 * 1 / (4 + 3))
    assert all(metrics[name].score(references, references).value == 1 for name in metrics)


def test_each_name_and_signature_says_that_it_is_a_stand_in():
    metrics = clinical_metrics(["stand-in"], ClinicalOptions())
    real = {name for key, entry in CLINICAL_METRICS.items() if key != "stand-in" for name in entry.names}
    assert set(metrics) == {GREEN, RADGRAPH, RATE} and not real & set(metrics)
    for name, metric in metrics.items():
        assert name.startswith("stand-in for ") and "stand-in" in metric.signature and metric.missing() is None
