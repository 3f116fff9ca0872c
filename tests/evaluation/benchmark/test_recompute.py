import json

import pytest

from argus_evaluation.benchmark.compare import compare_runs
from argus_evaluation.benchmark.evaluation_results import EvaluationResults, read_results, write_results
from argus_evaluation.benchmark.recompute import recompute
from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport, read_stored_reports, write_stored_reports
from argus_evaluation.metrics.metric import Metric, mean_of_reports
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_processing.phantom.findings import Finding
from argus_processing.storage.file_hash import hash_file
from argus_processing.storage.whole_files import write_json

REFERENCES = [f"There is a {size} mm nodule in the left upper lobe. No effusion\u2028{size}." for size in range(12)]
TRUTH = [Finding("Lung nodule", "left", "upper lobe")]


def store(out, texts, findings=TRUTH, metrics=METRICS):
    """Write what `argus evaluate` leaves in a folder, for these reports of a model."""
    out.mkdir()
    stored = [
        StoredReport(
            f"scan_{i}", reference, {"model": text, "blank": "No nodule.", "shuffled": texts[i - 1]}, False, findings
        )
        for i, (text, reference) in enumerate(zip(texts, REFERENCES, strict=True))
    ]
    for report in stored:
        report.reports["most_frequent"] = REFERENCES[0]
    write_stored_reports(out, stored)
    known = {"model_hash": f"{out.name}-hash", "subset": "phantom", "split": "test"}
    scores = vars(score_stored(stored, metrics))
    write_results(out, EvaluationResults(**scores, **known, reports_sha256=hash_file(out / "reports.jsonl")))
    return out


@pytest.fixture
def good(tmp_path):
    return store(tmp_path / "good", [text.replace("There is a ", "A ") for text in REFERENCES])


@pytest.fixture
def bad(tmp_path):
    return store(tmp_path / "bad", [f"A {size} mm nodule in the right lung." for size in range(12)])


def test_stored_reports_come_back_as_they_were(good):
    reports = read_stored_reports(good)
    assert [report.reference for report in reports] == REFERENCES
    assert reports[0].findings == TRUTH and reports[0].reports["shuffled"] == reports[-1].reports["model"]


def test_an_untouched_evaluation_is_the_same_to_the_last_number(good):
    done = recompute(good)
    assert (done.differences, done.not_checked) == ([], [])
    assert done.results == read_results(good)


def test_a_changed_report_is_found_by_its_hash_and_by_the_numbers(good):
    reports = read_stored_reports(good)
    reports[3].reports["model"] = "Nothing."
    write_stored_reports(good, reports)
    differences = recompute(good).differences
    assert any("reports.jsonl: changed" in line for line in differences)
    assert any(line.startswith("metrics/BLEU-1/value: stored") for line in differences)
    assert any(line.startswith("metrics/finding_f1/value: stored 1.0") for line in differences)


def test_a_changed_number_is_named_with_both_values(good):
    results = json.loads((good / "results.json").read_text())
    true = results["controls"]["blank"]["metrics"]["ROUGE-L"]["value"]
    results["controls"]["blank"]["metrics"]["ROUGE-L"]["value"] = true + 0.001
    write_json(good / "results.json", results)
    assert recompute(good).differences == [
        f"controls/blank/metrics/ROUGE-L/value: stored {true + 0.001}, computed {true}"
    ]


def test_predictions_that_are_not_those_scored_are_named(good):
    lines = [
        {"scan_id": report.scan_id, "prediction": report.reports["model"], "reference": report.reference}
        for report in read_stored_reports(good)
    ]
    lines[2]["prediction"] = "Other."
    (good / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert recompute(good).differences == ["predictions.jsonl: scan_2 is not what reports.jsonl holds"]


def test_a_prediction_that_cannot_be_read_is_one_line(argus, good):
    (good / "predictions.jsonl").write_text('{"scan_id": "scan_0"}\n')
    code, stdout, stderr = argus("evaluate", good, "--recompute")
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert "predictions.jsonl: line 1 is not a prediction ('prediction')" in stderr


def test_a_metric_that_cannot_be_computed_here_is_not_called_a_difference(tmp_path):
    def lengths(predictions, references):
        return mean_of_reports([len(text) for text in predictions])

    out = store(tmp_path / "out", REFERENCES, metrics={"Length": Metric(lengths, "length|version:1")})
    gone = {"Length": Metric(lengths, "length|version:1", lambda: "Length needs a ruler")}
    done = recompute(out, gone)
    assert done.differences == []
    assert done.not_checked == ["not computed now: Length"]
    later = {"Length": Metric(lengths, "length|version:1"), "Other": Metric(lengths, "length|version:2")}
    done = recompute(out, later)
    assert (done.differences, done.not_checked) == ([], ["results.json does not hold Other"])


def test_the_command_prints_the_table_and_exits_2_on_a_difference(argus, good, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, stdout, stderr = argus("evaluate", good, "--recompute")
    assert (code, stderr) == (0, "") and "0 differences" in stdout and "blank image" in stdout
    (good / "reports.jsonl").write_text((good / "reports.jsonl").read_text().replace("A 3 mm", "A 4 mm"))
    code, _, stderr = argus("evaluate", good, "--recompute")
    assert code == 2 and "argus: differs: reports.jsonl: changed" in stderr


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("reports.jsonl", "{}\n", "line 1 is damaged"),
        ("reports.jsonl", "", "no reports"),
        ("results.json", "{", "damaged"),
    ],
)
def test_damaged_or_absent_files_are_one_line(argus, good, name, content, reason):
    (good / name).write_text(content)
    code, stdout, stderr = argus("evaluate", good, "--recompute")
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1) and reason in stderr
    (good / name).unlink()
    code, stdout, stderr = argus("evaluate", good, "--recompute")
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1) and "not there" in stderr


def test_a_system_compared_with_itself_has_p_1(good):
    compared = compare_runs(good, good)
    assert all(row.p_value == 1.0 and row.difference == 0 for row in compared.metrics.values())
    assert "Java" in compared.missing["METEOR"]


def test_clearly_different_systems_have_small_p_and_their_own_values(good, bad, argus, tmp_path):
    code, stdout, stderr = argus("compare", bad, good, "--out", tmp_path / "c.json")
    assert code == 0 and "paired test" in stdout and "METEOR is missing" in stderr
    compared = json.loads((tmp_path / "c.json").read_text())
    assert compared["model_hashes"] == ["bad-hash", "good-hash"]
    for name in ("BLEU-4", "ROUGE-L", "CIDEr"):
        row = compared["metrics"][name]
        assert row["p_value"] < 0.01 and 0 < row["low"] <= row["difference"] <= row["high"]
        assert row["second"] == read_results(good).metrics[name].value
        assert row["signature"] == METRICS[name].signature
    assert compared["metrics"]["laterality_accuracy"]["difference"] == 1
    assert compared["metrics"]["finding_f1"]["p_value"] == 1.0  # both say the nodule; one has the wrong side


def test_other_scans_are_refused_by_name(good, tmp_path):
    other = store(tmp_path / "other", REFERENCES)
    same = compare_runs(good, other)
    write_stored_reports(other, read_stored_reports(other)[::-1])
    assert compare_runs(good, other) == same
    write_stored_reports(other, read_stored_reports(other)[-3:])
    with pytest.raises(ValueError, match=r"12 and 3 scans, 9 only in the first \(scan_10, scan_11, scan_3, ...\)"):
        compare_runs(good, other)
