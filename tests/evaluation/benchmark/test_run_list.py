import json

import pytest

from argus_evaluation.benchmark.run_list import Run, read_predictions, read_runs, read_settings


def test_runs_are_read_with_folders_beside_the_file(make_runs, tmp_path):
    path = make_runs({("M3D", "nr", "phantom"): {"s": ("told", "true")}})
    assert read_runs(path) == [Run("M3D", "nr", tmp_path / "run0")]
    assert read_predictions(tmp_path / "run0")["s"].reference == "true"


def test_size_and_seed_can_be_given_and_the_size_is_in_the_name(tmp_path):
    path = tmp_path / "runs.yaml"
    entries = (
        "{system: Argus, size: 8B, resolution: hr, seed: 3, folder: .}",
        "{system: A, resolution: nr, folder: .}",
    )
    path.write_text("".join(["runs:\n", *(f"  - {entry}\n" for entry in entries)]))
    first, second = read_runs(path)
    assert (first.size, first.seed, first.label, first.name) == ("8B", 3, "Argus-8B", "Argus-8B hr")
    assert (second.size, second.seed, second.label, second.name) == ("", None, "A", "A nr")


def test_systems_are_taken_by_name_and_an_unknown_one_is_told(tmp_path):
    path = tmp_path / "runs.yaml"
    names = ("A, size: 8B, resolution: nr", "A, size: 8B, resolution: hr", "B, resolution: nr", "B, resolution: nr")
    path.write_text("runs:\n" + "".join(f"  - {{system: {name}, folder: .}}\n" for name in names))
    assert [run.name for run in read_runs(path, ["B nr", "A-8B hr"])] == ["A-8B hr", "B nr", "B nr"]
    with pytest.raises(ValueError, match="runs.yaml: has no run of C; it has A-8B nr, A-8B hr, B nr$"):
        read_runs(path, ["B nr", "C"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("runs: [", "cannot be read as YAML"),
        ("[]", "one key, `runs`"),
        ("runs: []", "one key, `runs`"),
        ("runs: [{system: A, resolution: nr}]", "must have the keys system, resolution, folder, and may have size and"),
        ("runs: [{system: A, resolution: nr, folder: ., subset: x}]", "must have the keys"),
        ("runs: [A]", "must have the keys"),
        ("runs: [{system: A, size: 8, resolution: nr, folder: .}]", "size of run 1 must be a text, got 8"),
        ("runs: [{system: A, resolution: nr, seed: one, folder: .}]", "seed of run 1 must be a whole number"),
        ("runs: [{system: A, resolution: nr, seed: true, folder: .}]", "seed of run 1 must be a whole number"),
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scan_id": 3}, "line 1 is not a prediction .scan_id: expected a text, got 3.; finish argus evaluate there"),
        ({"prediction": None}, "prediction: expected a text, got None"),
        ({"reference": {}}, "reference: expected a text"),
        (None, "holds no predictions; finish argus evaluate there"),
    ],
)
def test_predictions_of_wrong_types_and_none_at_all_are_refused(make_runs, tmp_path, change, reason):
    make_runs({("A", "nr", "phantom"): {"s": ("told", "true")}})
    path = tmp_path / "run0" / "predictions.jsonl"
    path.write_text("" if change is None else json.dumps(json.loads(path.read_text()) | change) + "\n")
    with pytest.raises(ValueError, match=reason):
        read_predictions(tmp_path / "run0")


def test_settings_that_do_not_tell_the_model_are_refused(make_runs, tmp_path):
    make_runs({("A", "nr", "phantom"): {"s": ("told", "true")}})
    settings = tmp_path / "run0" / "predictions.jsonl.settings.json"
    assert read_settings(tmp_path / "run0").subset == "phantom"
    settings.write_text(json.dumps({"subset": "phantom", "split": 1}))
    with pytest.raises(ValueError, match="settings.json: has no model_hash; give a folder"):
        read_settings(tmp_path / "run0")
