import json

import pytest

from argus_evaluation.benchmark.run_list import Run, read_predictions, read_results, read_runs


def test_runs_are_read_with_folders_beside_the_file(make_runs, tmp_path):
    path = make_runs({("M3D", "nr", "phantom"): {"s": ("told", "true")}})
    assert read_runs(path) == [Run("M3D", "nr", tmp_path / "run0")]
    assert read_predictions(tmp_path / "run0")["s"].reference == "true"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("runs: [", "cannot be read as YAML"),
        ("[]", "one key, `runs`"),
        ("runs: []", "one key, `runs`"),
        ("runs: [{system: A, resolution: nr}]", "exactly the keys folder, resolution, system"),
        ("runs: [{system: A, resolution: nr, folder: ., subset: x}]", "exactly the keys"),
        ("runs: [{system: A, resolution: low, folder: .}]", "nr or hr"),
        ("runs: [{system: A, resolution: nr, folder: gone}]", "no such folder, named by run 1"),
    ],
)
def test_a_wrong_runs_file_says_what_is_wrong(tmp_path, text, reason):
    path = tmp_path / "runs.yaml"
    path.write_text(text)
    with pytest.raises((ValueError, OSError), match=reason):
        read_runs(path)


def test_predictions_keep_line_separators_and_refuse_broken_lines(make_runs, tmp_path):
    text = "first\u2028second\x85third"
    make_runs({("A", "nr", "phantom"): {"s": (text, "true"), "t": ("", "true")}})
    assert [line.prediction for line in read_predictions(tmp_path / "run0").values()] == [text, ""]
    with (tmp_path / "run0" / "predictions.jsonl").open("a") as file:
        file.write('{"scan_id": "u"')
    with pytest.raises(ValueError, match="line 3 is not a prediction"):
        read_predictions(tmp_path / "run0")


def test_results_that_are_not_there_or_not_whole_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="argus evaluate"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"subset": "phantom", "metrics": {}}))
    with pytest.raises(ValueError, match="has no model_hash, n_test, split"):
        read_results(tmp_path)
