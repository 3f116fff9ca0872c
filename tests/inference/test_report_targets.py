"""Targets that `argus report` refuses before a model is loaded: a scan, or a folder among its slices."""

import os
from pathlib import Path

import pytest

from argus_cli.report import check_options


@pytest.fixture
def series(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(3):
        (folder / f"IM{number}").write_bytes(b"slice %d" % number)
    return folder


def refused(said, scans, out, preview=None):
    with pytest.raises(ValueError, match=said):
        check_options(scans, out, False, False, preview)


def test_a_slice_of_a_scan_is_no_output(series, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in series.iterdir()}
    (tmp_path / "link").symlink_to(series / "IM1")
    (tmp_path / "way").symlink_to(series)
    os.link(series / "IM2", tmp_path / "hard")
    monkeypatch.chdir(series)
    for out in (series / "IM1", tmp_path / "link", tmp_path / "way" / "IM0", series / "new.txt", series / "IM0.png"):
        refused("lies in the scan", [tmp_path / "other.nii", series], out)
    refused("lies in the scan", [tmp_path / "way"], series / "new.txt")
    refused("lies in the scan", [os.curdir], series / "new.txt")
    refused("is a slice of the scan", [series], tmp_path / "hard")
    refused("lies in the scan", [series], None, series / "IM0.png")
    check_options([series], tmp_path / "series.txt", False, False, None)
    assert {path.name: path.read_bytes() for path in series.iterdir()} == before
    assert os.path.islink(tmp_path / "link")


def test_a_scan_itself_is_no_output_by_whatever_name(tmp_path):
    scan = tmp_path / "scan.nii"
    scan.write_bytes(b"scan")
    (tmp_path / "link").symlink_to(scan)
    os.link(scan, tmp_path / "hard")
    for out in (scan, tmp_path / "link", tmp_path / "hard"):
        refused("is a scan to be read", [scan], out)
    assert scan.read_bytes() == b"scan"


def test_two_outputs_are_two_files(tmp_path):
    picture = tmp_path / "picture.png"
    (tmp_path / "link.png").symlink_to(picture)
    for out in (picture, tmp_path / "link.png", tmp_path / "." / "picture.png"):
        refused("two names", [tmp_path / "scan.nii"], out, picture)


def test_a_dash_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("reports go to stdout anyway", [tmp_path / "scan.nii"], Path("-"))
    assert list(tmp_path.iterdir()) == []
