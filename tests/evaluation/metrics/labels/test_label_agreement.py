import pytest

from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.labels.label_agreement import LOBE, SIDE, SIZE, score_details
from argus_evaluation.metrics.labels.label_metrics import label_metrics
from argus_processing.phantom.scans import report_of

TRUE = [
    "A 10 mm nodule in the right upper lobe. Pleural effusion on the left.",
    "Pleural effusions on both sides.",
    "A 30 mm consolidation in the left lower lobe.",
    "The heart is enlarged.",
]
TOLD = [
    "A 12 mm nodule in the right lower lobe. Pleural effusion on the right.",
    "Pleural effusion on the left.",
    "Consolidation in the left lower lobe.",
    "No cardiomegaly.",
]


def test_known_scores():
    scores = score_details(TOLD, TRUE)
    # Right of one nodule, wrong of one effusion, half of two effusions, right of one consolidation.
    assert scores[SIDE].value == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert scores[SIDE].counts == {"compared": 4, "told_by_reference_only": 0}
    assert scores[LOBE].value == pytest.approx((0 + 1) / 2)
    assert (scores[SIZE].value, scores[SIZE].counts) == (1, {"compared": 1, "told_by_reference_only": 1})
    assert scores[SIDE].parts["Pleural effusion"].value == pytest.approx(0.25)
    assert set(scores[LOBE].parts) == {"Lung nodule", "Consolidation"}


@pytest.mark.parametrize(("told_mm", "agrees"), [(8, 1), (12, 1), (13, 0), (7, 0)])
def test_small_sizes_may_differ_by_two_millimetres(told_mm, agrees):
    (score,) = score_details([f"A {told_mm} mm nodule in the lung."], ["A 10 mm nodule in the lung."])[SIZE].per_report
    assert score == agrees


@pytest.mark.parametrize(("told", "agrees"), [("4.8 cm", 1), ("32 mm", 1), ("5 cm", 0), ("31 mm", 0)])
def test_large_sizes_may_differ_by_a_fifth(told, agrees):
    assert score_details([f"Nodule in the lung, {told}."], ["Nodule in the lung, 4 cm."])[SIZE].value == agrees


def test_what_only_one_side_tells_is_not_compared():
    scores = score_details(["A nodule in the left lung."], ["A nodule in the lung."])
    assert not scores[SIDE].is_defined and scores[SIDE].counts == {"compared": 0, "told_by_reference_only": 0}


def test_a_report_agrees_with_itself():
    reports = [report_of(seed) for seed in range(30)]
    scores = score_details(reports, reports)
    assert scores[SIDE].value == scores[LOBE].value == 1 and not scores[SIZE].is_defined


def test_unequal_lists_are_refused():
    with pytest.raises(ValueError, match="one report for each reference"):
        score_details(["a"], [])


def test_an_evaluation_tells_them_with_interval_and_signature():
    stored = [
        StoredReport(str(place), true, {"model": told, "blank": true}, False)
        for place, (true, told) in enumerate(zip(TRUE, TOLD, strict=True))
    ]
    results = score_stored(stored, label_metrics(ClinicalOptions()))
    side = results.metrics[SIDE]
    assert side.value == pytest.approx(0.625) and side.low <= side.value <= side.high
    assert "argus-label-details-v1|share of sides" in side.signature
    assert results.controls["blank"].metrics[SIDE].value == 1
    assert results.metrics[SIZE].counts == {"compared": 1, "told_by_reference_only": 1}
