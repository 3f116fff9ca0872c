import hashlib
import hmac
import json
import os
import shutil
from pathlib import Path

import datasets
import pytest

from argus_evaluation.benchmark import evaluated_split
from argus_evaluation.reader_study import server as reader_server
from argus_evaluation.reader_study import study_scans as reader_scans
from argus_inference import scan_process
from argus_inference.anonymous_paths import PathNames, read_key

NAMES = PathNames(b"k" * 32)


@pytest.fixture(autouse=True)
def own_key(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGUS_PATH_KEY", str(tmp_path / "keys" / "path.key"))


def test_a_name_is_the_keyed_hash_of_the_true_path_however_that_is_written(tmp_path, monkeypatch):
    scan = tmp_path / "DOE_JOHN.nii.gz"
    scan.write_bytes(b"")
    (tmp_path / "link").symlink_to(scan)
    monkeypatch.chdir(tmp_path)
    true = os.path.realpath(scan).encode()
    expected = "scan-" + hmac.new(b"k" * 32, true, hashlib.sha256).hexdigest()[:16]
    assert {NAMES.of(path) for path in (scan, "DOE_JOHN.nii.gz", tmp_path / "link")} == {expected}
    assert PathNames(b"o" * 32).of(scan) != expected and hashlib.sha256(true).hexdigest()[:16] not in expected


def test_the_key_is_drawn_once_for_its_owner_alone(tmp_path):
    key = read_key()
    path = tmp_path / "keys" / "path.key"
    assert len(key) == 32 and read_key() == key and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ValueError, match="others may read this key"):
        read_key()
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="holds no key"):
        read_key()


def test_texts_about_a_scan_lose_its_path_and_the_files_in_it(tmp_path):
    folder = tmp_path / "DOE_JANE" / "ct"
    folder.mkdir(parents=True)
    (folder / "JANE_DOE_001.dcm").write_bytes(b"")
    text = f"{folder}/JANE_DOE_001.dcm: is cut; {folder} holds JANE_DOE_001.dcm; {folder.parent}: see"
    said = NAMES.without_paths(text, folder)
    assert "DOE" not in said and str(tmp_path) not in said
    assert NAMES.of(folder) in said and "is cut" in said


def test_no_output_of_report_holds_the_path(argus, model_dir, scans, tmp_path):
    good = tmp_path / "DOE_JOHN_19500101.nii.gz"
    shutil.copy(scans[0], good)
    bad = tmp_path / "ROE_MARY.nii.gz"
    bad.write_bytes(b"no scan")
    out = tmp_path / "out.jsonl"
    options = ("--model", model_dir, "--max-new-tokens", 2, "--out", out, "--anonymous-paths")
    code, stdout, stderr = argus("report", good, bad, "--json", *options)
    names = PathNames(read_key())
    first, failed = map(json.loads, stdout.splitlines())
    assert code == 2 and (first["scan"], failed["scan"]) == (names.of(good), names.of(bad))
    assert names.of(bad) in failed["error"]
    for text in (stdout, out.read_text()):
        assert not any(part in text for part in ("DOE", "ROE", str(tmp_path)))
    assert f"{good}: is called {names.of(good)}" in stderr
    _, stdout, _ = argus("report", good, good, *options)
    assert stdout.count(f"== {names.of(good)} ==") == 2 and "DOE" not in stdout


def holding(folder, *words) -> list[str]:
    """Return the files below `folder` that hold any of the words, in their bytes or in their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    found = [
        path
        for path in files
        for word in words
        if word.encode() in path.read_bytes() or word in str(path.relative_to(folder))
    ]
    return [str(path) for path in found]


@pytest.fixture
def named_split(split, scans, tmp_path_factory, monkeypatch) -> Path:
    """Let `argus` load a split whose ids and paths hold names, its second scan damaged; return the folder of scans."""
    folder = tmp_path_factory.mktemp("DOE_JOHN")
    copies = [shutil.copy(scan, folder / f"ROE_MARY_{number}.nii.gz") for number, scan in enumerate(scans)]
    copies[1].write_bytes(b"<html>")
    rows = split.remove_columns(["image", "scan_id"])
    rows = rows.add_column("scan_id", [f"ROE_MARY_{number}" for number in range(len(rows))])
    rows = rows.add_column("image", [{"path": str(path), "bytes": None} for path in copies])
    rows = rows.cast_column("image", datasets.Nifti(decode=False))
    monkeypatch.setattr(evaluated_split, "load_split", lambda *args, **options: rows)
    monkeypatch.setattr(reader_scans, "load_split", lambda *args, **options: rows)
    return folder


@pytest.mark.usefixtures("some_niivue")
def test_no_file_of_an_evaluation_or_a_study_of_it_holds_a_name(argus, model_dir, named_split, monkeypatch, tmp_path):
    shelves = []
    monkeypatch.setattr(scan_process, "prepare_readers", lambda: None)
    monkeypatch.setattr(reader_scans, "RecentVolumes", dict)
    monkeypatch.setattr(reader_server, "serve", lambda study, answers, shelf, *rest: shelves.append((study, shelf)))
    run, study = tmp_path / "run", tmp_path / "study"
    options = ("--model", model_dir, "--max-new-tokens", 2, "--anonymous-paths")
    code, stdout, stderr = argus("evaluate", run, *options)
    assert code == 2 and "ROE_MARY_1" in stderr  # who runs it must find the bad scan
    assert holding(run, "ROE_MARY", "DOE_JOHN", str(tmp_path)) == [] and "MARY" not in stdout
    names = PathNames(read_key())
    results = json.loads((run / "results.json").read_text())
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert results["unreadable"] == [names.name("ROE_MARY_1")]
    assert [line["scan_id"] for line in lines] == [names.name(f"ROE_MARY_{number}") for number in (0, 2, 3)]

    runs = tmp_path / "runs.yaml"
    runs.write_text("runs:\n- {system: A1, resolution: nr, folder: run}\n")
    code, stdout, stderr = argus("reader-study", study, "--runs", runs, "--reader", "ab", "--anonymous-paths")
    assert code == 0, stderr
    ((served, shelf),) = shelves
    assert holding(study, "ROE_MARY", "DOE_JOHN", str(tmp_path)) == []
    assert {case.scan_id for case in served.cases} == {line["scan_id"] for line in lines}
    assert shelf["phantom", names.name("ROE_MARY_2")] == named_split / "ROE_MARY_2.nii.gz"
    code, _, stderr = argus("reader-study", study, "--runs", runs, "--reader", "ab")
    assert code == 2 and "is not in phantom test" in stderr
