"""Read files in a process whose exceptions, death, time and memory are told to the one that asked."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 2 << 30
RIGHT = ("read", "refused")
PATIENT = "SECRET"  # stands in every name, id and description of the seeds


@dataclass(frozen=True)
class Outcome:
    """One reading: `kind` for the table, `detail` for who looks into it, and what it took."""

    kind: str
    detail: str
    seconds: float
    peak_bytes: int

    @property
    def right(self) -> bool:
        """Return True if the reader read the scan or refused it in one line."""
        return self.kind in RIGHT


class ReadingProcess:
    """A child that reads one path at a time; a new one takes its place when it dies.

    Args:
        command: what is started. Default: this file.
        limit_seconds: for one reading.
    """

    def __init__(self, command: Sequence[str] = (sys.executable, __file__), limit_seconds: float = 10.0) -> None:
        self._command, self._limit_seconds = command, limit_seconds
        self._child: subprocess.Popen | None = None
        self._errors = tempfile.TemporaryFile()

    def read(self, path: Path) -> Outcome:
        """Read one scan and tell what came of it."""
        child = self._alive()
        self._errors.seek(0)
        self._errors.truncate()
        start = time.monotonic()
        child.stdin.write(json.dumps(str(path)).encode() + b"\n")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], self._limit_seconds)
        seconds = time.monotonic() - start
        if not ready:
            self.close()
            return Outcome(f"over {self._limit_seconds:g} s", "", seconds, 0)
        line = child.stdout.readline()
        if not line:
            number = -child.wait()
            self._child = None
            name = signal.Signals(number).name if number > 0 else f"exit code {-number}"
            return Outcome(f"death by {name}", self._said(), seconds, 0)
        answer = json.loads(line)
        return self._judge(answer, seconds)

    def _judge(self, answer: dict, seconds: float) -> Outcome:
        said = self._said()
        if answer["peak_bytes"] > LIMIT_BYTES:
            self.close()
            return Outcome(f"over {LIMIT_BYTES >> 30} GiB", answer["detail"], seconds, answer["peak_bytes"])
        kind = answer["kind"]
        if PATIENT in answer["detail"] or PATIENT in said:
            kind = "tells the patient"
        elif said.strip():
            kind, answer["detail"] = "writes to the streams", said
        return Outcome(kind, answer["detail"], seconds, answer["peak_bytes"])

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read(10_000).decode(errors="replace")

    def _alive(self) -> subprocess.Popen:
        if self._child is None:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                bufsize=0,
                start_new_session=True,
            )
            if self._child.stdout.readline() != b"ready\n":
                raise RuntimeError(f"the reading process does not start: {self._said()}")
        return self._child

    def close(self) -> None:
        """End the child and what it started."""
        if self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None


def _peak_bytes() -> int:
    """Return the highest resident memory so far of this process and of its children together."""
    pids = [os.getpid(), *_children()]
    return sum(_status_bytes(pid, "VmHWM") for pid in pids)


def _forget_peak() -> None:
    for pid in (os.getpid(), *_children()):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # see proc(5): the peak starts anew at what is resident now


def _children() -> list[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def _status_bytes(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # ended in between
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(field)), 0)


def _fault(volume) -> str:
    """Return a text that names what is impossible about a volume that was read; empty if nothing is."""
    import numpy as np

    if not np.isfinite(volume.hu[:: max(1, len(volume.hu) // 64)]).all() or not np.isfinite(volume.affine).all():
        return "not finite"
    if min(volume.spacing_mm) <= 0 or min(volume.hu.shape) < 1:
        return "no extent"
    return ""


def _answer(path: str) -> dict:
    from argus_processing.ct_checks import CTReadError
    from argus_processing.read_ct import read_ct

    _forget_peak()
    try:
        volume = read_ct(path)
        fault = _fault(volume)
        kind, detail = ("impossible volume", fault) if fault else ("read", "; ".join(volume.warnings))
    except CTReadError as error:
        detail = str(error)
        kind = "refused" if "\n" not in detail and detail.startswith(path) else "refused without its file in one line"
    except BaseException as error:  # a panic of a compiled decoder is no Exception
        kind, detail = f"{type(error).__name__}", str(error)[:500]
    return {"kind": kind, "detail": detail, "peak_bytes": _peak_bytes()}


def main() -> None:
    """Answer a path a line, each as JSON."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a decoder prints is no answer
    import argus_processing.read_ct  # noqa: F401  so that the first file is not slower than the others

    answers.write(b"ready\n")
    for line in sys.stdin.buffer:
        answers.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main()
