import io
import json

import pytest
from rich.console import Console

from argus_evaluation.benchmark import count_reports, evaluate_model, score_reports
from argus_evaluation.generation import Prediction
from argus_evaluation.nlp_metrics import METRICS
from argus_evaluation.results_table import build_table
from argus_processing.phantom_findings import Finding


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def results(model_dir, phantoms, out):
    return evaluate_model(model_dir, phantoms["test"], phantoms["train"]["report"], out, batch_size=2, max_new_tokens=6)


def test_results_are_saved_whole_with_every_score_and_control(results, out, phantoms):
    assert json.loads((out / "results.json").read_text()) == results
    assert (results["subset"], results["split"], results["n_test"]) == ("phantom", "test", 4)
    assert set(results["controls"]) == {"blank", "shuffled", "most_frequent"}
    for scores in (results, *results["controls"].values()):
        assert set(scores["metrics"]) == set(METRICS)
        assert {"finding_f1", "laterality_accuracy", "n_sided", "macro_f1"} <= set(scores)
    assert sorted(path.name for path in out.iterdir()) == [
        *("predictions.jsonl", "predictions.jsonl.settings.json"),
        *("predictions_blank.jsonl", "predictions_blank.jsonl.settings.json", "results.json"),
    ]


def test_counts_tell_truncated_reports_of_a_model_that_never_ends(results):
    assert results["counts"]["truncated"] == 4  # random weights, six tokens


def test_the_most_frequent_report_scores_as_that_report_does(results, phantoms):
    from argus_evaluation.benchmark import _findings_of
    from argus_evaluation.controls import most_frequent_report

    constant = most_frequent_report(phantoms["train"]["report"], _findings_of)
    truths = [[Finding(**finding) for finding in findings] for findings in phantoms["test"]["findings"]]
    expected = score_reports([constant] * 4, phantoms["test"]["report"], truths)
    assert results["controls"]["most_frequent"] == expected


def test_true_reports_score_full_marks_and_shuffled_ones_do_not(phantoms):
    test = phantoms["test"]
    truths = [[Finding(**finding) for finding in findings] for findings in test["findings"]]
    own = score_reports(test["report"], test["report"], truths)
    moved = score_reports([*test["report"][1:], test["report"][0]], test["report"], truths)
    assert own["finding_f1"] == 1.0 and own["metrics"]["BLEU-4"]["value"] == pytest.approx(100)
    assert moved["finding_f1"] < 0.8


def test_table_has_a_row_for_the_model_and_each_control(results):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(build_table(results))
    text = console.export_text()
    for row in ("model", "blank image", "shuffled images", "most frequent report"):
        assert row in text
    assert f"{results['metrics']['BLEU-1']['value']:.1f}" in text
    assert "4 truncated" in text


def test_counts_of_empty_duplicate_and_truncated_reports():
    texts = [("a", False), ("a", True), ("", False), ("", False), ("b", False)]
    lines = [Prediction(str(i), text, "r", 1, cut) for i, (text, cut) in enumerate(texts)]
    assert count_reports(lines) == {"empty": 2, "duplicate": 2, "truncated": 1}


def test_one_scan_or_a_missing_column_is_refused_before_the_model_is_loaded(phantoms, tmp_path):
    with pytest.raises(ValueError, match="at least 2 scans"):
        evaluate_model(tmp_path / "no model", phantoms["test"].select([0]), ["r"], tmp_path)
    with pytest.raises(ValueError, match="no column findings"):
        evaluate_model(tmp_path / "no model", phantoms["test"].remove_columns("findings"), ["r"], tmp_path)
