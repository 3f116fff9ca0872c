"""A short part of `make fuzz` with a seed of its own, and proof that the command sees what it looks for."""

import json
import math
import sys
from pathlib import Path

import pytest
from dicom_cases import dicom_case
from dicom_seeds import dicom_seeds
from fuzz_ct_input import Reader, fuzz, write_findings
from nifti_cases import nifti_case, nifti_seeds
from reading_process import ReadingProcess

READY = "import json, os, sys; print('ready', flush=True); path = sys.stdin.readline(); "


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path, seconds=math.inf)  # each file has a limit of its own
    yield reader
    reader.close()


def test_damaged_files_are_read_or_refused_and_nothing_else(reader):
    fuzz(nifti_case(), 400, 1, reader.read)
    fuzz(dicom_case(), 300, 1, reader.read)
    assert [(name, outcome.kind, outcome.detail) for name, outcome in reader.findings.wrong] == []
    outcomes = {kind for kinds in reader.findings.counts.values() for kind in kinds}
    assert outcomes == {"read", "refused"}
    assert reader.findings.total == 700


def test_every_seed_is_a_scan_that_is_read(reader, tmp_path):
    for seed in nifti_seeds():
        reader.read((seed.name, seed.files))
    for seed in dicom_seeds():
        reader.read((seed.name, seed.files))
    assert {kind for kinds in reader.findings.counts.values() for kind in kinds} == {"read"}
    write_findings(reader.findings, tmp_path)
    written = json.loads((tmp_path / "results.json").read_text())
    assert sum(kinds["read"] for kinds in written["counts"].values()) == written["total"] > 0


def test_the_same_seed_draws_the_same_files():
    drawn = [[], [], []]
    for cases, seed in zip(drawn, (5, 5, 6), strict=True):
        fuzz(nifti_case(), 20, seed, lambda case, cases=cases: cases.append(case) or True)
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("deed", "kind"),
    [
        ("os.abort()", "death by SIGABRT"),
        ("os._exit(3)", "death by exit code 3"),
        ("sys.stdin.readline()", "over 1 s"),
        ("print(json.dumps(dict(kind='read', detail='', peak_bytes=3 << 30)))", "over 2 GiB"),
        ("print(json.dumps(dict(kind='refused', detail='SECRET', peak_bytes=1)))", "tells the patient"),
        (
            "os.write(2, b'note'); print(json.dumps(dict(kind='read', detail='', peak_bytes=1)))",
            "writes to the streams",
        ),
    ],
)
def test_a_reader_that_does_wrong_is_found_out(deed, kind):
    process = ReadingProcess([sys.executable, "-uc", READY + deed], limit_seconds=1)
    outcome = process.read(Path("scan"))
    process.close()
    assert outcome.kind == kind
    assert not outcome.right
