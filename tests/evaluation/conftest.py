import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from argus_evaluation import cli, meteor
from argus_evaluation.local_server import build_server, open_listener


@pytest.fixture(scope="session", autouse=True)
def without_java():
    """METEOR's program needs half a minute to start: only its own tests run it, where Java is there."""
    patch = pytest.MonkeyPatch()
    patch.setattr(meteor, "_find_java", lambda: None)
    yield
    patch.undo()


@pytest.fixture
def empty_hub_cache(tmp_path, monkeypatch):
    """The Hub's cache as on a machine that has fetched nothing."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def argus(monkeypatch, capsys):
    """Run the console command in this process; give exit code, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["argus", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def make_runs(tmp_path) -> Callable[..., Path]:
    """Write evaluation folders with given reports and the runs file that names them; return the runs file."""

    def make(reports: dict[tuple[str, str, str], dict[str, tuple[str, str]]], split: str = "test") -> Path:
        """`reports` gives, by (system, resolution, subset), scan id -> (prediction, reference)."""
        entries = []
        for number, ((system, resolution, subset), lines) in enumerate(reports.items()):
            folder = tmp_path / f"run{number}"
            folder.mkdir()
            rows = [
                {"scan_id": scan, "prediction": told, "reference": true, "num_tokens": 1, "truncated": False}
                for scan, (told, true) in lines.items()
            ]
            (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            settings = {"subset": subset, "split": split, "model_hash": f"{number:064d}", "image": "scan"}
            (folder / "predictions.jsonl.settings.json").write_text(json.dumps(settings))
            entries.append({"system": system, "resolution": resolution, "folder": folder.name})
        path = tmp_path / "runs.yaml"
        path.write_text(yaml.safe_dump({"runs": entries}))
        return path

    return make


@pytest.fixture(scope="session")
def serving():
    """Serve a web application in this process, as the commands do; give its address."""

    @contextmanager
    def serve(app) -> Iterator[str]:
        listener = open_listener("127.0.0.1", 0)
        server = build_server(app)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

    return serve


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


class StudyServer:
    """A real `argus reader-study` process, which a test may kill and start again."""

    def __init__(self, runs: Path, out: Path, cache: Path) -> None:
        # The test split alone; its scans are the same.
        sizes = ("--num-phantoms", "0", "0", "4", "--reader", "ab", "--reader", "Zoë O'Brien")
        self._command = [str(Path(sys.executable).with_name("argus")), "reader-study", str(out), "--runs", str(runs)]
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
