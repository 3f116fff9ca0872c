"""The file `results.json`; `first_format/` was written by the version that told the findings beside the metrics."""

import json
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from argus_evaluation.benchmark.compare import compare_runs
from argus_evaluation.benchmark.evaluation_results import (
    ControlResults,
    EvaluationResults,
    LoadedWith,
    MetricValue,
    PartValue,
    read_results,
    write_results,
)
from argus_evaluation.benchmark.recompute import recompute
from argus_evaluation.benchmark.run_list import Run
from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import read_stored_reports
from argus_evaluation.metrics.phantom_truth import FINDING_METRICS
from argus_evaluation.tables.metric_table import build_metric_table
from argus_evaluation.tables.metric_table_text import metric_table_markdown

FIRST = Path(__file__).parent / "first_format"
RESULTS = EvaluationResults(
    n_test=2,
    metrics={
        "BLEU-1": MetricValue(12.5, "sacrebleu", 10.0, 15.5, counts={"cut": 1}),
        "METEOR": MetricValue(None, "meteor", missing="needs Java"),
        "recall": MetricValue(0.5, "findings", scale=1, parts={"Lung nodule": PartValue(1.0, counts={"present": 2})}),
    },
    controls={"blank": ControlResults({"BLEU-1": MetricValue(1.0, "sacrebleu")})},
    counts={"empty": 0},
    model_hash="ab",
    subset="phantom",
    split="test",
    loading=LoadedWith(bits=8),  # may be read where no weights can be loaded with 8 bits
    unreadable=("scan",),
)


@pytest.fixture
def old(tmp_path):
    """The run of the first format, as the installed libraries would have signed it: their versions may be others."""
    folder = shutil.copytree(FIRST, tmp_path / "old")
    signed = (FIRST / "results.json").read_text()
    for name in ("rapidfuzz", "sacrebleu", "rouge-score"):
        signed = re.sub(rf"{name}\|version:[^|]*", f"{name}|version:{version(name)}", signed)
    (folder / "results.json").write_text(signed)
    return folder


def test_results_come_back_as_they_were_written(tmp_path):
    write_results(tmp_path, RESULTS)
    assert read_results(tmp_path) == RESULTS
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["format"] == 2 and content["metrics"]["METEOR"]["missing"] == "needs Java"


def old_numbers(scores: dict) -> dict[str, object]:
    """Every number, text and count of one row of the first format, by its place in the present one."""
    found = {f"{name}/{key}": value for name, metric in scores["metrics"].items() for key, value in metric.items()}
    found |= {f"{name}/value": scores[name] for name in FINDING_METRICS}
    for name, (low, high) in scores["intervals"].items():
        found |= {f"{name}/low": low, f"{name}/high": high}
    found["laterality_accuracy/counts"] = {"sided": scores["n_sided"]}
    for label, rates in scores["per_label"].items():
        for name, key in {"precision": "precision", "recall": "recall", "finding_f1": "f1"}.items():
            found |= {f"{name}/{label}/value": rates[key], f"{name}/{label}/counts": {"present": rates["support"]}}
    return found


def number_at(metrics: dict[str, MetricValue], place: str) -> object:
    name, *label, key = place.split("/")
    return getattr(metrics[name].parts[label[0]] if label else metrics[name], key)


@pytest.mark.parametrize("make", [read_results, lambda folder: score_stored(read_stored_reports(folder))])
def test_every_number_of_the_first_format_is_read_and_computed_alike(make, old):
    before, results = json.loads((old / "results.json").read_text()), make(old)
    assert (results.n_test, results.counts) == (before["n_test"], before["counts"])
    assert results.controls.keys() == before["controls"].keys()
    rows = [(before, results.metrics)] + [
        (before["controls"][name], row.metrics) for name, row in results.controls.items()
    ]
    for scores, metrics in rows:
        numbers = old_numbers(scores)
        assert {place: number_at(metrics, place) for place in numbers} == numbers
        assert metrics.keys() == {*scores["metrics"], *FINDING_METRICS}


def test_facts_of_the_first_format_are_kept(old):
    before, results = json.loads((old / "results.json").read_text()), read_results(old)
    assert (results.model_hash, results.subset, results.split) == tuple(
        before[name] for name in ("model_hash", "subset", "split")
    )
    assert results.reports_sha256 == before["reports_sha256"]
    assert results.settings.bootstrap.resamples == before["settings"]["bootstrap"]["resamples"]


def test_the_first_format_is_computed_again_without_a_difference(old, argus, monkeypatch):
    copy = shutil.copytree(old, old.parent / "copy")
    done = recompute(old)
    lacking, intervals = done.not_checked
    assert done.differences == [] and "ends of intervals" in intervals
    assert lacking.startswith("results.json does not tell scans, sections, tests against blank")
    write_results(old, done.results)
    done = recompute(old)
    assert (done.differences, done.not_checked) == ([], [])
    monkeypatch.setenv("COLUMNS", "160")
    code, stdout, _ = argus("evaluate", copy, "--recompute")
    assert code == 0 and "0 differences" in stdout and "laterality" in stdout


def test_tables_and_comparisons_are_made_from_the_first_format(old):
    settings = {"model_hash": "ab", "subset": "phantom", "split": "test"}
    (old / "predictions.jsonl.settings.json").write_text(json.dumps(settings))
    before = json.loads((old / "results.json").read_text())
    table = metric_table_markdown(build_metric_table([Run("Argus", "hr", old)]))
    low, high = before["intervals"]["finding_f1"]
    assert f"| {before['finding_f1']:.3f} ({low:.3f} to {high:.3f}) |" in table
    compared = compare_runs(old, old)
    assert compared.metrics["finding_f1"].second == before["finding_f1"]
    assert compared.model_hashes == (before["model_hash"],) * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metrics": {"BLEU-1": {"value": "x", "signature": "s"}}}, "metrics/BLEU-1/value: expected a number, got 'x'"),
        ({"metrics": {"BLEU-1": {"value": 1.0}}}, "metrics/BLEU-1: has no signature"),
        ({"n_test": "4"}, "n_test: expected a whole number, got '4'"),
        ({"format": 3}, "is of format 3, which this version does not know"),
        ({"mood": "good"}, "has an unknown mood"),
        ({"seconds": 10**400}, "seconds: expected a number, got 1000000000000000000000000000000000000000..."),
    ],
)
def test_results_of_wrong_types_are_one_line_that_says_what_to_do(argus, old, change, reason):
    write_results(old, RESULTS)
    content = json.loads((old / "results.json").read_text()) | change
    (old / "results.json").write_text(json.dumps(content))
    code, stdout, stderr = argus("evaluate", old, "--recompute")
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert f"results.json: {reason}; copy it again, or run argus evaluate in this folder again" in stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metrics": [1]}, "holds scores that are not in the form of its format"),
        ({"per_label": {"Lung nodule": {}}}, "holds scores that are not in the form of its format"),
        ({"controls": {"blank": 1}}, "holds scores that are not in the form of its format"),
        ({"recall": "high"}, "metrics/recall/value: expected a number, got 'high'"),
    ],
)
def test_a_damaged_file_of_the_first_format_is_refused(old, change, reason):
    content = json.loads((old / "results.json").read_text()) | change
    (old / "results.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"results.json: {reason}.*; copy it again"):
        read_results(old)


def test_results_that_are_not_there_or_not_whole_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="argus evaluate"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"subset": "phantom", "metrics": {}}))
    with pytest.raises(ValueError, match="has no model_hash, n_test, split"):
        read_results(tmp_path)
