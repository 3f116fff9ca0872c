"""`argus evaluate` on stored reports: scored again on a given test set, and checked."""

import json

import pytest

from argus_evaluation.benchmark.evaluation_results import EvaluationResults, write_results
from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport, write_stored_reports
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_processing.storage.file_hash import hash_file


@pytest.fixture
def stored(tmp_path):
    """An evaluation of three scans with a floor, by the words' metrics."""
    folder = tmp_path / "stored"
    folder.mkdir()
    texts = {"valid_1_a": "No nodule.", "valid_2_a": "A nodule.", "valid_3_a": "Large heart."}
    reports = [
        StoredReport(scan_id, text, {"model": text, "normal": "No nodule."}, False) for scan_id, text in texts.items()
    ]
    write_stored_reports(folder, reports)
    scores = vars(score_stored(reports, METRICS))
    own = {"model_hash": "ab" * 32, "subset": "ct-rate", "split": "test"}
    write_results(folder, EvaluationResults(**scores, **own, reports_sha256=hash_file(folder / "reports.jsonl")))
    return folder


def test_stored_reports_are_scored_on_the_scans_of_a_file(argus, stored, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "ids.txt").write_text("valid_2_a_1.nii.gz\nvalid_3_a\n")
    out = tmp_path / "part"
    code, stdout, stderr = argus("evaluate", out, "--stored", stored, "--test-set", tmp_path / "ids.txt")
    assert code == 0, stderr
    assert "constant normal report" in stdout and "test set: 2 scans, SHA-256 of ids" in stdout
    assert "Floors that were not computed here" in " ".join(stdout.split())
    manifest = json.loads((out / "test_set.json").read_text())
    assert list(manifest["scored"]["scans"]) == ["valid_2_a", "valid_3_a"] and manifest["num_scans"] == 2
    code, stdout, _ = argus("evaluate", out, "--recompute")
    assert code == 0 and "0 differences" in stdout
    code, _, stderr = argus("compare", stored, out)
    assert code == 2 and "of different test sets: 3 and 2 scans, 1 only in the first (valid_1_a)" in stderr
    assert len(stderr.splitlines()) == 1


def test_a_test_set_with_another_scan_is_refused_and_nothing_is_written(argus, stored, tmp_path):
    (tmp_path / "ids.txt").write_text("valid_2_a\nvalid_77_a\n")
    code, stdout, stderr = argus("evaluate", tmp_path / "part", "--stored", stored, "--test-set", tmp_path / "ids.txt")
    assert (code, stdout) == (2, "") and "1 of its 2 scans are not there (valid_77_a)" in stderr
    assert not (tmp_path / "part").exists()


def test_one_way_to_evaluate_is_asked_for(argus, stored, tmp_path):
    for arguments in ((), ("--recompute", "--stored", stored), ("--model", tmp_path, "--stored", stored)):
        code, _, stderr = argus("evaluate", tmp_path / "out", *arguments)
        assert code == 2 and "give either --model" in stderr


def test_an_unknown_floor_is_refused_before_anything_is_generated(argus, model_dir, tmp_path):
    out = tmp_path / "out"
    code, _, stderr = argus("evaluate", out, "--model", model_dir, "--floors", "best")
    assert code == 2 and "no floor best; there are all, normal" in stderr and not out.exists()
