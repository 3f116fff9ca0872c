"""Read a CT in a separate process, so that a harmful file can only stop the reading of that one scan.

The process has limits of time and memory; a decoder that crashes, hangs or fills the memory ends with it. Output that a
library prints could quote a header, so it is thrown away.
"""

import fcntl
import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from argus_processing.ct_volume import CTReadError, CTVolume
from argus_processing.storage.part_files import private_folder

from .scan_files import ScanNotReadError

LOOK_SECONDS = 0.1  # time between two checks whether the client is still there

T = TypeVar("T")
_needed = ["argus_cli.main", "argus_inference.serving.serve_requests"]
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class ReaderLimits:
    """Limits of a reader: seconds, and bytes of memory (a scan of 1024 x 1024 x 500 in float32 is 2 GB)."""

    seconds: float = 120.0
    memory: int = 4 << 30


DEFAULT_LIMITS = ReaderLimits()


@dataclass(frozen=True)
class Answer:
    """An answer about a scan: facts that JSON can hold, and contents of files by their names."""

    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class ClientLeftError(Exception):
    """The client has left, so nobody waits for the scan."""


def prepare_readers(*modules: str) -> None:
    """Start the process that readers are forked from, unless it runs; it imports modules in the background.

    Args:
        modules: that readers need, from now on. Default: those that were named last, or else those of the server.
    """
    from multiprocessing import forkserver

    if modules:
        _needed[:] = modules
    _context.set_forkserver_preload([__name__, *_needed])
    forkserver.ensure_running()


def wait_for_readers() -> None:
    """Wait until readers can start at once, so that the first client does not wait for their imports."""
    prepare_readers()
    process = _context.Process(target=os.getpid)
    process.start()
    process.join()


def read_apart(
    read: Callable[[Path], CTVolume], gone: threading.Event | None = None, limits: ReaderLimits = DEFAULT_LIMITS
) -> CTVolume:
    """Run `read` in a separate process and return its scan.

    Args:
        read: picklable; gets an empty private folder that is removed afterwards.
        gone: set by the caller when the scan is no longer wanted.
        limits: limits of the process.

    Raises:
        ScanNotReadError: if the reader refuses the scan, crashes, or takes too long or too much memory.
        ClientLeftError: if `gone` is set before the scan is read.
    """
    return _apart(partial(_send_volume, read), _receive_volume, gone, limits)


def answer_apart(make: Callable[[Path], Answer], limits: ReaderLimits = DEFAULT_LIMITS) -> Answer:
    """Run `make` in a separate process and return its answer; see `read_apart`."""
    return _apart(partial(_send_answer, make), _receive_answer, None, limits)


def _apart(
    send: Callable[[Path, Connection], None],
    receive: Callable[[Connection, dict[str, Any]], T],
    gone: threading.Event | None,
    limits: ReaderLimits,
) -> T:
    prepare_readers()
    receiver, sender = _context.Pipe(duplex=False)
    with private_folder() as private:
        process = _context.Process(target=_work, args=(sender, send, private, limits))
        try:
            process.start()
            sender.close()
            _await_answer(receiver, gone, time.monotonic() + limits.seconds)
            return _receive(receiver, receive)
        finally:
            receiver.close()
            _end(process)


def _await_answer(receiver: Connection, gone: threading.Event | None, deadline: float) -> None:
    while not wait([receiver], LOOK_SECONDS):
        if gone is not None and gone.is_set():
            raise ClientLeftError
        if time.monotonic() > deadline:
            raise ScanNotReadError("the scan took too long to read; give it as one .nii.gz")


def _receive(receiver: Connection, receive: Callable[[Connection, dict[str, Any]], T]) -> T:
    """Receive a process's answer; it is plain data, because a process that read a hostile file cannot be trusted."""
    try:
        told = json.loads(receiver.recv_bytes())
        if "refused" in told:
            raise ScanNotReadError(told["refused"])
        return receive(receiver, told)
    except (EOFError, OSError):
        raise ScanNotReadError("the scan cannot be decoded (its reader died); convert it again") from None


def _send_volume(read: Callable[[Path], CTVolume], private: Path, sender: Connection) -> None:
    volume = read(private)
    facts = {"shape": volume.hu.shape, "dtype": volume.hu.dtype.str, "affine": volume.affine.tolist()}
    facts |= {"orientation": volume.original_orientation, "warnings": volume.warnings}
    sender.send_bytes(json.dumps(facts).encode())
    sender.send_bytes(np.ascontiguousarray(volume.hu).data.cast("B"))


def _receive_volume(receiver: Connection, told: dict[str, Any]) -> CTVolume:
    hu = np.empty(told["shape"], told["dtype"])
    receiver.recv_bytes_into(hu.data.cast("B"))
    return CTVolume(hu, np.array(told["affine"]), told["orientation"], tuple(told["warnings"]))


def _send_answer(make: Callable[[Path], Answer], private: Path, sender: Connection) -> None:
    answer = make(private)
    sender.send_bytes(json.dumps({"facts": answer.facts, "names": list(answer.files)}).encode())
    for content in answer.files.values():
        sender.send_bytes(content)


def _receive_answer(receiver: Connection, told: dict[str, Any]) -> Answer:
    return Answer(told["facts"], {name: receiver.recv_bytes() for name in told["names"]})


def _end(process: BaseProcess) -> None:
    """End a reader and all processes that it started."""
    if process.pid is None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.join()
    process.close()


def _work(sender: Connection, send: Callable[[Path, Connection], None], private: Path, limits: ReaderLimits) -> None:
    """Do the work and send what came of it; this runs in the separate process."""
    os.setsid()
    end_with_parent()
    _confine(limits)
    try:
        send(private, sender)
    except MemoryError:
        _refuse(sender, "the scan takes more memory to read than a CT does")
    except (CTReadError, ScanNotReadError) as error:
        _refuse(sender, str(error).replace(f"{private}/", ""))
    except OSError as error:
        _refuse(sender, f"the scan cannot be read ({error.strerror})")
    except Exception:  # its text is not sent, because it could quote the scan
        _refuse(sender, "the scan cannot be decoded; convert it again")


def _refuse(sender: Connection, reason: str) -> None:
    """Send the reason, without characters that control a terminal or that JSON cannot hold."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in " ".join(reason.split()))
    sender.send_bytes(json.dumps({"refused": shown}).encode())


def end_with_parent() -> None:
    """Make the operating system end this process with its parent, because a busy decoder cannot check for it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # ends the process on Linux; elsewhere the alarm ends it
    server = parent.sentinel  # a pipe whose other end only the server holds
    fcntl.fcntl(server, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(server, fcntl.F_SETFL, fcntl.fcntl(server, fcntl.F_GETFL) | os.O_ASYNC)
    if wait([server], 0):
        os._exit(1)


def _confine(limits: ReaderLimits) -> None:
    """Limit this process's time and memory, and throw away what it prints."""
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # a service's stop goes to all processes; this one ends with its parent
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(limits.seconds) + 5)  # works without the server too
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    statm = Path("/proc/self/statm")
    if statm.exists():
        size = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = size + limits.memory
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
