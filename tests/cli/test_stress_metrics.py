"""`argus stress-metrics` from a file of reports, and what it refuses."""

import csv

import pytest

from argus_evaluation.stress.stress_references import phantom_references
from argus_evaluation.stress.stress_results import read_stress_results


@pytest.fixture
def reports(tmp_path):
    path = tmp_path / "reports.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["report"], *([text] for text in phantom_references(6).reports)])
    return path


def test_the_command_prints_areas_and_writes_all_files(argus, tmp_path, reports):
    out = tmp_path / "out"
    code, stdout, stderr = argus("stress-metrics", out, "--references", reports, "--pairs", 4, "--clinical", "labels")
    assert code == 0 and "BLEU-4" in stdout and "blind" in stdout and "wrong organ" in stdout
    assert all(line.startswith("argus: ") for line in stderr.splitlines())
    results = read_stress_results(out / "stress.json")
    assert results.source == "reports.csv" and results.wanted == 4 and results.seconds > 0
    assert {path.name for path in out.iterdir()} == {"stress.json", "stress.md", "stress.png", "pairs.jsonl"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--references", "there.csv", "--phantoms", "3"), "give either --references or --phantoms"),
        (("--references", "nowhere.csv"), "nowhere.csv"),
        (("--column", "report"), "--column belongs to --references"),
        (("--references", "there.csv", "--column", "text"), "no column text; it has report"),
        (("--phantoms", "3", "--clinical", "bleurt"), "no clinical metric bleurt"),
        (("--phantoms", "1"), "--phantoms"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(argus, tmp_path, monkeypatch, reports, arguments, told):
    monkeypatch.chdir(tmp_path)
    reports.rename(tmp_path / "there.csv")
    code, stdout, stderr = argus("stress-metrics", tmp_path / "out", *arguments)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and told in stderr
    assert not (tmp_path / "out" / "stress.json").exists()
