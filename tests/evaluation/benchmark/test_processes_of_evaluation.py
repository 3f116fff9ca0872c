"""Two real processes evaluate what one does, byte for byte, also after one of them was killed."""

import sys
from pathlib import Path

import datasets

sys.path.append(str(Path(__file__).parent))
import processes_of_evaluation

FILES = ("predictions.jsonl", "predictions_blank.jsonl", "reports.jsonl", "results.json")


def test_two_processes_give_the_files_of_one_after_one_was_killed(argus, model_dir, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    options = ["--model", str(model_dir), "--num-phantoms", "1", "1", "6", "--max-new-tokens", "3", "--batch-size", "1"]
    code, table, _ = argus("evaluate", tmp_path / "one", *options)
    assert code == 0

    together = processes_of_evaluation.evaluate_together
    arguments = [str(tmp_path / "two"), *options]
    (first, second) = together(2, tmp_path / "killed", cache, arguments, killed=1)
    assert second[0] == -9 and first[0] == 2
    assert first[1][-1].startswith("argus: another process of this run has ended; what was finished is kept")
    assert len((tmp_path / "two" / "predictions.process-0.jsonl").read_text().splitlines()) == 3
    assert len((tmp_path / "two" / "predictions.process-1.jsonl").read_text().splitlines()) == 1

    (first, second) = together(2, tmp_path / "whole", cache, arguments)
    assert first[0] == second[0] == 0 and second[1] == []
    assert first[1] == table.splitlines()
    for name in FILES:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )
