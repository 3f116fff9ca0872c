"""The command as a process of its own, on a terminal of 40 columns that knows nothing but ASCII."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
NAME = "M\u00fcller \u6f22\x1b[31m.nii.gz"


def run(*arguments) -> tuple[int, bytes, bytes]:
    command = [str(Path(sys.executable).with_name("argus")), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "40"} | ASCII
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.stdout + done.stderr).isascii() and b"\x1b" not in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_names_beyond_ascii_are_whole_on_the_terminal_and_in_json(model_dir, scans, tmp_path):
    good, bad = tmp_path / NAME, tmp_path / f"schlecht \u00df {NAME}"
    shutil.copy(scans[0], good)
    bad.write_bytes(b"<html>")
    out = tmp_path / "Befund \u6f22.jsonl"
    options = ("--model", model_dir, "--json", "--out", out, "--max-new-tokens", 2)
    code, stdout, _ = run("report", bad, good, *options)
    assert code == 2
    for text in (stdout, out.read_bytes()):
        failed, told = map(json.loads, text.splitlines())
        # A name that the locale cannot read is kept byte by byte, as Python does.
        assert os.fsencode(told["scan"]) == os.fsencode(good) and "report" in told
        assert os.fsencode(failed["scan"]) == os.fsencode(bad) and "not a NIfTI file" in failed["error"]
