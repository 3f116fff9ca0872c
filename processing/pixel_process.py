"""Decode compressed pictures in a separate process, so that a decoder that crashes does not end this one."""

import json
import os
import subprocess
import sys
import threading
from typing import IO

import numpy as np

from .codestreams import Codestream, CodestreamError
from .pixel_worker import WORKER_FILE


class Worker(subprocess.Popen[bytes]):
    """A worker process, to and from which there are pipes."""

    stdin: IO[bytes]
    stdout: IO[bytes]


class PixelProcess:
    """One worker process, started when first needed, used for all pictures, and replaced when it dies.

    Threads take turns. After a fork the child does not use the parent's worker and starts its own.
    """

    worker: Worker | None = None

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset in a forked child: close the pipes to the parent's worker without ending that worker."""
        self.lock = threading.Lock()
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.stdin.close()
            worker.stdout.close()
            worker.returncode = 0  # not a child of this process: nothing to wait for

    def close(self) -> None:
        """End the worker; the next picture starts another one."""
        with self.lock:
            worker, self.worker = self.worker, None
        if worker is not None:
            _end(worker)

    def decode(self, syntax: str, code: bytes, facts: Codestream) -> np.ndarray:
        """Return a picture's `(row, column)` stored bits as uint16.

        Raises:
            CodestreamError: if the decoder refuses the picture, warns about it, takes too long or dies.
        """
        request = {"syntax": syntax, "rows": facts.rows, "columns": facts.columns, "precision": facts.precision}
        request |= {"signed": facts.signed, "size": len(code)}
        with self.lock:
            answer = self._ask(json.dumps(request).encode() + b"\n" + code, 2 * facts.rows * facts.columns)
        return np.frombuffer(answer, "<u2").reshape(facts.rows, facts.columns)

    def _ask(self, message: bytes, size: int) -> bytes:
        worker = self.worker or self._start()
        self.worker = None  # if this is interrupted, a late answer must not be used for the next picture
        try:
            verdict, answer = _exchange(worker, message, size)
        except BaseException:
            _end(worker)
            raise
        if verdict == b"-" or len(answer) == size:
            self.worker = worker
        else:
            _end(worker)
        if len(answer) < size:
            raise CodestreamError("cannot be decoded" if verdict == b"-" else "ends the decoder, or takes it too long")
        return answer

    def _start(self) -> Worker:
        """Start a worker with the same library paths as this process, out of reach of Ctrl-C."""
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        settings = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            return Worker(
                [sys.executable or "python3", "-P", WORKER_FILE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,  # without a buffer, a forked child cannot write the same bytes again
                env=settings,
                start_new_session=True,
            )
        except OSError:
            raise CodestreamError("needs a process of its own, which cannot be started here") from None


def _exchange(worker: Worker, message: bytes, size: int) -> tuple[bytes, bytes]:
    """Send a request; return the verdict and the pixels, both empty or short if the worker died."""
    rest = memoryview(message)
    try:
        while rest:
            rest = rest[worker.stdin.write(rest) :]
    except BrokenPipeError:
        return b"", b""
    verdict = worker.stdout.read(1)
    answer = bytearray()
    while verdict == b"+" and len(answer) < size and (part := worker.stdout.read(size - len(answer))):
        answer += part
    return verdict, bytes(answer)


def _end(worker: Worker) -> None:
    worker.kill()
    worker.wait()
    worker.stdin.close()
    worker.stdout.close()


PIXEL_PROCESS = PixelProcess()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PIXEL_PROCESS.forget)
