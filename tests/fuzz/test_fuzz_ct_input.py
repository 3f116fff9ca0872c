"""Proof that `make fuzz` sees what it looks for."""

import sys
from pathlib import Path

import pytest
from fuzz_ct_input import fuzz
from nifti_cases import nifti_case
from reading_process import ReadingProcess

READY = "import json, os, sys; print('ready', flush=True); path = sys.stdin.readline(); "


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
