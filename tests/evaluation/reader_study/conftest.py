import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from argus_inference.viewer import niivue_file

SYSTEMS = (("Argus", "hr"), ("M3D", "nr"), ("RadFM", "nr"))


@pytest.fixture
def study_runs(make_runs, phantoms) -> tuple[Path, dict[str, dict[str, str]]]:
    """A runs file of three systems on the test phantoms, and what each wrote: system -> scan id -> report."""
    rows = list(phantoms["test"].select_columns(["scan_id", "report"]))
    lines = {
        (*system, "phantom"): {
            row["scan_id"]: (f"Text {number}{place}: no nodule.", row["report"]) for place, row in enumerate(rows)
        }
        for number, system in enumerate(SYSTEMS)
    }
    told = {
        f"{system} {resolution}": {scan: text for scan, (text, _) in reports.items()}
        for (system, resolution, _), reports in lines.items()
    }
    return make_runs(lines), told


# `argus`, with niivue's file where the first argument says.
PROGRAM = """
import sys
from pathlib import Path
from argus_inference.viewer import niivue_file
niivue_file.SCRIPT = Path(sys.argv.pop(1))
from argus_cli.main import main
main()
"""


class StudyServer:
    """A real `argus reader-study` process, which a test may kill and start again."""

    def __init__(self, runs: Path, out: Path, cache: Path) -> None:
        # The test split alone; its scans are the same.
        sizes = ("--num-phantoms", "0", "0", "4", "--reader", "ab", "--reader", "Zoë O'Brien")
        self._command = [sys.executable, "-c", PROGRAM, str(niivue_file.SCRIPT), "reader-study", str(out)]
        self._command += ["--runs", str(runs)]
        self._command += [*sizes, "--port"]
        self._environment = os.environ | {"HF_DATASETS_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        self.answers = out / "answers.jsonl"
        self.secrets: dict[str, str] = {}
        self.port = 0  # the first start takes a free one, later starts the same again
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*self._command, str(self.port)], stderr=subprocess.PIPE, text=True, env=self._environment
        )
        told = []
        for line in self._process.stderr:
            told.append(line)
            if link := re.search(r"link of (.*), for nobody else: http://.*/#(\S+)", line):
                self.secrets[link.group(1)] = link.group(2)
                continue
            address = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if address:
                self.url, self.port = address.group(), int(address.group(1))
                return
        raise RuntimeError("the server did not start: " + "".join(told))

    def kill(self) -> None:
        """As a power cut would: no handler runs, nothing is flushed."""
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()


@pytest.fixture
def study_server(study_runs, tmp_path) -> Iterator[StudyServer]:
    server = StudyServer(study_runs[0], tmp_path / "study", tmp_path / "cache")
    yield server
    server.kill()
