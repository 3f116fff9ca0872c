"""CRIMSON and RadMatch by their own packages, with a judge that answers by known rules; `make test-metric-packages`.

The file is not named as a test, so that `make test`, where the packages are not installed, does not pass over it.
"""

import pytest
from judge_server import answer, serve

from argus_evaluation.metrics.clinical.clinical_metrics import clinical_metrics
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions

TRUE = ["A nodule in the right lung. Cardiomegaly. No effusion.", "Normal lungs.", "Emphysema."]
TOLD = ["A nodule in the right lung. Consolidation.", "Normal lungs.", ""]


def score(url, tmp_path, *keys):
    metrics = clinical_metrics(keys, ClinicalOptions(answers=tmp_path / "answers.sqlite", judge=f"{url}#judge"))
    assert all(metric.missing() is None for metric in metrics.values())
    return {name: metric.score(TOLD, TRUE) for name, metric in metrics.items()}


def test_crimson_scores_what_the_judge_lists(tmp_path):
    with serve() as url:
        crimson = score(url, tmp_path, "crimson")["CRIMSON"]
    # Two findings right or wrong against three true ones, each of weight 1: (1 - 1) / 3; all right; all missed.
    assert crimson.per_report.tolist() == [0, 1, 0] and crimson.counts == {"unparsed": 0}
    assert score("http://127.0.0.1:9/v1", tmp_path, "crimson")["CRIMSON"].value == crimson.value  # kept


def test_radmatch_counts_errors_and_correct_findings(tmp_path):
    with serve() as url:
        scores = score(url, tmp_path, "radmatch")
    # Invented consolidation, missed cardiomegaly and missed denial; nothing; invented denial and missed emphysema.
    assert scores["RadMatch actionable errors"].per_report.tolist() == [3, 0, 2]
    assert scores["RadMatch correct findings"].per_report == pytest.approx([1 / 3, 1, 0])


def test_answers_without_sense_are_counted(tmp_path):
    def nonsense(request):
        return "no JSON" if TOLD[0] in request["messages"][-1]["content"] else answer(request)

    with serve(nonsense) as url:
        scores = score(url, tmp_path, "crimson", "radmatch")
    assert all(found.counts == {"unparsed": 1} for found in scores.values())
