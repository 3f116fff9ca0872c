import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import datasets
import pytest

from argus_cli import cache
from argus_processing.storage import volume_cache
from argus_processing.storage.part_files import is_part


@pytest.fixture
def three_paths(monkeypatch, scans):
    monkeypatch.setattr(cache, "volume_paths", lambda prepared: iter(map(str, scans[:3])))
    return scans[:3]


def test_a_scan_that_cannot_be_read_costs_no_other_entry(argus, monkeypatch, model_dir, three_paths, tmp_path):
    load = volume_cache.VolumeCache.load_into

    def load_or_fail(self, image, out):
        if image == str(three_paths[1]):
            raise MemoryError
        return load(self, image, out)

    monkeypatch.setattr(volume_cache.VolumeCache, "load_into", load_or_fail)
    code, _, stderr = argus("cache", tmp_path, tmp_path / "out", "--model", model_dir)
    assert code == 2 and len(list((tmp_path / "out").rglob("*.planes"))) == 2
    assert stderr == f"argus: {three_paths[1]}: could not be read: it needs more memory than there is\n"


def test_a_cache_that_keeps_nothing_says_so_and_ends_in_2(argus, monkeypatch, model_dir, three_paths, tmp_path):
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(volume_cache, "write_whole", full)
    code, _, stderr = argus("cache", tmp_path, tmp_path / "out", "--model", model_dir)
    assert code == 2 and "nothing more is kept (the disk is full)" in stderr
    assert len(stderr.splitlines()) == 1


def fill_and_die(arguments):
    """As a power cut would, with the second entry written but not in its place."""
    replace, placed = os.replace, []

    def replace_or_die(source, target):
        if str(target).endswith(".planes"):
            placed.append(target)
        if len(placed) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace_or_die
    cache.fill_cache(*arguments)


def test_a_cache_that_was_killed_is_whole_after_the_next_start(argus, model_dir, three_paths, tmp_path):
    expected, out = tmp_path / "expected", tmp_path / "out"
    assert argus("cache", tmp_path, expected, "--model", model_dir)[0] == 0
    child = multiprocessing.get_context("fork").Process(target=fill_and_die, args=((tmp_path, out, model_dir, 1),))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    left = [path.name for path in out.rglob("*.planes")]
    assert sorted(map(is_part, left)) == [False, True]
    assert argus("cache", tmp_path, out, "--model", model_dir)[0] == 0
    assert contents(out) == contents(expected)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_embedded_rows_get_opaque_names_when_asked(argus, monkeypatch, tmp_path):
    monkeypatch.setenv("ARGUS_PATH_KEY", str(tmp_path / "path.key"))
    argus("phantom", tmp_path / "source", "--layout", "ct-rate", "--n", 2)
    asked = ("prepare", tmp_path / "out", "--ct-rate", tmp_path / "source", "--anonymous-paths")
    code, _, stderr = argus(*asked)
    assert code == 2 and "needs --embed-volumes" in stderr and not (tmp_path / "out").exists()
    argus(*asked, "--embed-volumes")
    files = [str(path) for path in (tmp_path / "out" / "data").rglob("*.parquet")]
    rows = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    for row in rows.cast_column("image", datasets.Nifti(decode=False)):
        assert row["scan_id"].startswith("scan-") and row["patient_id"].startswith("scan-")
        assert row["image"]["path"] == row["scan_id"] + ".nii.gz" and row["image"]["bytes"]
        row["image"] = None
        assert "train_" not in json.dumps(row) and "valid_" not in json.dumps(row)
    decisions = datasets.Dataset.from_parquet(
        str(tmp_path / "out" / "decisions" / "ct-rate.parquet"), cache_dir=str(tmp_path / "cache")
    )
    assert set(rows["scan_id"]) <= set(decisions["scan_id"])
    assert all(name.startswith("scan-") for name in decisions["scan_id"])
    told = [json.loads(line) for line in (tmp_path / "out" / "logs" / "names.jsonl").read_text().splitlines()]
    assert {entry["name"] for entry in told} == set(decisions["scan_id"])
    assert all(entry["scan_id"].startswith(("train_", "valid_")) for entry in told)
    # The same key follows them, and gives the same rows.
    again = ("prepare", tmp_path / "again", *asked[2:], "--embed-volumes", "--decisions", tmp_path / "out")
    assert argus(*again)[0] == 0
    for file in files:
        assert Path(file).read_bytes() == Path(file.replace("/out/", "/again/")).read_bytes()
