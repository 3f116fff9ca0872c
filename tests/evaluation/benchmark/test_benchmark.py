import io

import pytest
from rich.console import Console

from argus_evaluation.benchmark.benchmark import evaluate_model
from argus_evaluation.benchmark.controls import derange
from argus_evaluation.benchmark.evaluation_results import read_results
from argus_evaluation.benchmark.results_table import build_floor_tables, build_table, result_tables, signature_lines
from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport, read_stored_reports
from argus_evaluation.metrics.nlp_metrics import AVERAGES, METRICS
from argus_evaluation.metrics.phantom_truth import FINDING_METRICS, SIGNATURE
from argus_processing.phantom.findings import Finding
from argus_processing.saved_models.provenance import read_provenance


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def results(model_dir, phantoms, out):
    return evaluate_model(model_dir, phantoms["test"], phantoms["train"]["report"], out, batch_size=2, max_new_tokens=6)


def test_results_are_saved_whole_with_every_score_and_control(results, out, model_dir):
    assert read_results(out) == results
    assert (results.subset, results.split, results.n_test) == ("phantom", "test", 4)
    assert results.provenance == read_provenance(model_dir) and results.provenance.vision.weights == "random weights"
    assert set(results.controls) == {"normal", "most_frequent", "blank", "shuffled"} == set(results.floor_signatures)
    for scores in (results, *results.controls.values()):
        assert set(scores.metrics) == {*METRICS, *AVERAGES, *FINDING_METRICS}
        assert "sided" in scores.metrics["laterality_accuracy"].counts
        for name in {*METRICS, *FINDING_METRICS} - {"METEOR", "laterality_accuracy"}:
            metric = scores.metrics[name]
            assert metric.low <= metric.value <= metric.high, name
            assert metric.signature == (METRICS[name].signature if name in METRICS else SIGNATURE)
        assert scores.metrics["METEOR"].value is None and "Java" in scores.metrics["METEOR"].missing
    assert sorted(path.name for path in out.iterdir()) == [
        *("predictions.jsonl", "predictions.jsonl.settings.json"),
        *("predictions_blank.jsonl", "predictions_blank.jsonl.settings.json", "reports.jsonl", "results.json"),
        "test_set.json",
    ]


def test_counts_tell_truncated_reports_of_a_model_that_never_ends(results):
    assert results.counts["truncated"] == 4  # random weights, six tokens


def test_every_number_comes_from_the_stored_reports_alone(results, out, phantoms):
    stored = read_stored_reports(out)
    assert vars(score_stored(stored)).items() <= vars(results).items()
    assert [report.scan_id for report in stored] == phantoms["test"]["scan_id"]
    shuffled = [report.reports["shuffled"] for report in stored]
    assert shuffled == derange([report.reports["model"] for report in stored], results.settings.control_seed)
    assert {report.reports["most_frequent"] for report in stored} < set(phantoms["train"]["report"])


def as_stored(reports: list[str], dataset, with_findings: bool = True) -> list[StoredReport]:
    return [
        StoredReport(
            row["scan_id"],
            row["report"],
            {"model": report, "blank": ""},
            False,
            [Finding(**finding) for finding in row["findings"]] if with_findings else None,
        )
        for report, row in zip(reports, dataset.remove_columns("image"), strict=True)
    ]


def test_true_reports_score_full_marks_and_shuffled_ones_do_not(phantoms):
    test = phantoms["test"]
    own = score_stored(as_stored(list(test["report"]), test))
    moved = score_stored(as_stored([*test["report"][1:], test["report"][0]], test))
    assert own.metrics["finding_f1"].value == 1.0 and own.metrics["BLEU-4"].value == pytest.approx(100)
    assert moved.metrics["finding_f1"].value < 0.8
    blank = own.controls["blank"].metrics
    assert blank["finding_f1"].value == blank["CIDEr"].value == 0


def test_without_known_findings_words_and_controls_are_scored_all_the_same(model_dir, phantoms, tmp_path):
    test = phantoms["test"].remove_columns("findings").select([0, 1])
    results = evaluate_model(
        model_dir, test, phantoms["train"]["report"], tmp_path, subset="inspect", batch_size=2, max_new_tokens=2
    )
    for scores in (results, *results.controls.values()):
        assert "finding_f1" not in scores.metrics and scores.metrics["BLEU-1"].value is not None
    console = Console(width=140, record=True, file=io.StringIO())
    for table in result_tables(results):
        console.print(table)
    text = console.export_text()
    assert "finding F1" not in text and "most frequent report" in text


def test_table_has_a_row_for_the_model_and_each_control(results):
    console = Console(width=140, record=True, file=io.StringIO())
    for table in result_tables(results):
        console.print(table)
    text = console.export_text()
    for row in ("model", "blank image", "shuffled images", "most frequent report"):
        assert row in text
    assert f"{results.metrics['BLEU-1'].value:.1f}" in text
    assert "4 truncated" in text


def test_the_table_shows_what_is_missing_and_the_signatures_say_why(results):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(build_table(results))
    assert console.export_text().count("missing") == 2  # METEOR and the average
    for table in build_floor_tables(results):
        console.print(table)
    assert console.export_text().count("missing") == 10  # of the model and four floors
    lines = list(signature_lines(results))
    assert [line.split(":")[0] for line in lines] == [*FINDING_METRICS, *METRICS, *AVERAGES]
    assert any(line.startswith("METEOR: missing: METEOR needs Java") for line in lines)


def test_counts_of_empty_duplicate_and_truncated_reports():
    texts = [("a", False), ("a", True), ("", False), ("", False), ("\n ", False), ("b", False)]
    stored = [StoredReport(str(i), "r", {"model": text}, cut) for i, (text, cut) in enumerate(texts)]
    assert score_stored(stored).counts == {"empty": 3, "duplicate": 2, "truncated": 1, "unparsed": 0}


def test_one_scan_or_a_missing_column_is_refused_before_loading(phantoms, tmp_path):
    with pytest.raises(ValueError, match="at least 2 scans"):
        evaluate_model(tmp_path / "no model", phantoms["test"].select([0]), ["r"], tmp_path)
    with pytest.raises(ValueError, match="no column report"):
        evaluate_model(tmp_path / "no model", phantoms["test"].remove_columns("report"), ["r"], tmp_path)
