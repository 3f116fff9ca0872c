"""Open the folder in which a watcher keeps its ledger, audit log and work, for one process at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from argus_inference.anonymous_paths import read_key
from argus_processing.storage.part_files import sweep

from .audit_log import AuditLog
from .ledger import Ledger


@dataclass(frozen=True)
class StateFolder:
    """The parts of a state folder; `work` holds images while they are read."""

    ledger: Ledger
    audit: AuditLog
    work: Path


@contextmanager
def opened_state(folder: Path) -> Iterator[StateFolder]:
    """Open a watcher's state folder, or create it; what a killed watcher left in its work folder is removed.

    Raises:
        ValueError: if another watcher uses it, or it is no state folder.
        OSError: if it cannot be made.
    """
    work = folder / "work"
    for path in (folder, work):
        path.mkdir(mode=0o700, parents=path == folder, exist_ok=True)
    os.chmod(folder, 0o700)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{folder}: another watcher works with this state; give each its own") from None
    try:
        sweep(work)
        ledger = Ledger(folder / "ledger.sqlite")
        try:
            yield StateFolder(ledger, AuditLog(folder / "audit.jsonl", read_key(folder / "audit.key")), work)
        finally:
            ledger.close()
    finally:
        lock.release()
