"""Read volumes in a separate process, so that a volume that crashes it does no other harm.

Run as a program it reads one task per line from its input and writes one record per line. It ends with its input, so
that no process is left behind if the program that started it is killed.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import IO

if __name__ == "__main__":
    # The package itself imports torch and more, which takes seconds; reading volumes does not need them.
    _package = ModuleType("argus_processing")
    _package.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["argus_processing"] = _package
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

from argus_processing.curation.volume_records import VolumeRecord, VolumeTask, examine_volume, record_of

PROGRAM = (sys.executable, str(Path(__file__).resolve()))
_READY = "ready"


class _Reader(subprocess.Popen[str]):
    """A reading process, to and from which there are pipes."""

    stdin: IO[str]
    stdout: IO[str]


class VolumeWorker:
    """A reading process that is started when first needed, and again after it died.

    Args:
        program: command line of the process.
    """

    def __init__(self, program: Sequence[str] = PROGRAM):
        self._program = program
        self._process: _Reader | None = None

    def examine(self, task: VolumeTask) -> VolumeRecord | None:
        """Return the record of a volume, or None if reading it ended the process.

        Raises:
            OSError: if the process cannot be started.
        """
        process = self._started()
        try:
            process.stdin.write(json.dumps(asdict(task)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer.endswith("\n"):
            return record_of(json.loads(answer))
        self.close()
        return None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            with suppress(OSError):  # the task during which it died may still be in the pipe
                process.stdin.close()
            process.stdout.close()

    def _started(self) -> _Reader:
        if self._process is None:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
            self._process = _Reader(
                self._program,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Output of a decoder may quote a header.
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env=environment,
            )
            if self._process.stdout.readline().strip() != _READY:
                self.close()
                raise OSError(f"{self._program[0]}: the process that reads volumes could not be started")
        return self._process


def main() -> None:
    """Read tasks from the input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that started this one decides
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of a library must not be read as an answer
    print(_READY, file=answers, flush=True)
    for line in sys.stdin:
        _, record = examine_volume(VolumeTask(**json.loads(line)))
        print(json.dumps(asdict(record)), file=answers, flush=True)


if __name__ == "__main__":
    main()
