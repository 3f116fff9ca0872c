"""Start `argus watch` in a process of its own against a test's PACS, and end it in every way."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from orthanc_server import PASSWORD, USER, OrthancServer, free_port

LONGEST_S = 240.0
NUM_SLICES = 24  # of a study


def wait_until(is_true: Callable[[], bool], what: str, seconds: float = LONGEST_S) -> float:
    """Wait for something; return how long it took.

    Raises:
        TimeoutError: if it does not come.
    """
    began = time.monotonic()
    while not is_true():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)
    return time.monotonic() - began


@dataclass
class Watching:
    """A watcher's settings and its process."""

    folder: Path
    url: str
    model: Path
    settings: dict = field(default_factory=dict)
    process: subprocess.Popen | None = None
    port: int = field(default_factory=free_port)

    @property
    def state(self) -> Path:
        """Return its state folder."""
        return self.folder / "state"

    def write_config(self) -> Path:
        """Write its files: settings and password."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "password").write_text(PASSWORD + "\n")
        (self.folder / "site.yaml").write_text("max_thickness_mm: 20.0\nmin_slices: 10\n")
        (self.folder / "tmp").mkdir(exist_ok=True)
        content = {
            "pacs": {"url": self.url, "user": USER, "password_file": "password", "timeout_s": 20.0},
            "model": str(self.model),
            "state": "state",
            "preferences": "site.yaml",
            "days": None,
            "poll_s": 0.5,
            "quiet_s": 1.0,
            "max_new_tokens": 16,
            "metrics": f"127.0.0.1:{self.port}",
        }
        path = self.folder / "watch.yaml"
        path.write_text(yaml.safe_dump(content | self.settings))
        return path

    def start(self, *options: str) -> None:
        """Start it, and wait until its model is loaded."""
        lines = self.folder / "said.txt"
        before = lines.read_text().count("watching with") if lines.exists() else 0
        program = Path(sys.executable).with_name("argus")  # as a hospital starts it
        command = [str(program), "watch", str(self.write_config()), *options]
        own = {"TMPDIR": str(self.folder / "tmp"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        with lines.open("ab") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | own)

        def is_ready() -> bool:
            assert self.process is not None
            if self.process.poll() not in (None, 0):
                raise RuntimeError(f"argus watch ended: {self.said()}")
            return self.said().count("watching with") > before

        wait_until(is_ready, "the model to be loaded")

    def said(self) -> str:
        """Return all that it printed."""
        return (self.folder / "said.txt").read_text()

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def wait_for_end(self) -> int:
        """Wait until a watcher with --once has ended; return the exit code."""
        assert self.process is not None
        return self.process.wait(LONGEST_S)

    def left_behind(self) -> list[Path]:
        """Return what lies in its work folder and among its temporary files, but for the sockets of its processes."""
        found = [path for folder in (self.state / "work", self.folder / "tmp") for path in folder.rglob("*")]
        sockets = [path for path in found if path.is_socket()]
        return [path for path in found if path not in sockets and not (path.is_dir() and path.name[:5] == "pymp-")]

    def ask_ledger(self, question: str) -> list:
        """Return rows of the ledger."""
        database = sqlite3.connect(self.state / "ledger.sqlite", timeout=30)
        try:
            return database.execute(question).fetchall()
        finally:
            database.close()

    def events(self) -> list[str]:
        """Return the events of the audit log, in order."""
        path = self.state / "audit.jsonl"
        return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []


def is_reported(server: OrthancServer, study: str) -> bool:
    """Return whether a study has a structured report."""
    return len(server.objects(study, "SR")) > 0
