"""Files and folders that are being written: their temporary names, and sweeping up what a killed write left.

The owner of a part holds a lock on it that the system drops with the process, however that ends. So a part that
nobody holds is a dead writer's, whichever machine or container it ran in.
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PREFIX = ".argus-part-"
_NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{12}(\.[^/]{1,15})?")


def is_part(name: str) -> bool:
    """Whether a file's name is one that `make_part` gives."""
    return _NAME.fullmatch(name) is not None


def make_part_file(folder: Path, suffix: str = "") -> tuple[Path, int]:
    """Create an empty file under a new name in `folder`; returns it and the descriptor that holds it.

    Raises:
        OSError: if the folder takes no file.
    """
    sweep(folder)
    kept = suffix if len(suffix) <= 16 else ""
    while True:
        part = folder / f"{PREFIX}{uuid4().hex[:12]}{kept}"
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if _held(part, descriptor):
            return part, descriptor
        os.close(descriptor)


def make_part_folder(folder: Path, mode: int = 0o777) -> tuple[Path, int]:
    """Create an empty folder under a new name in `folder`; returns it and the descriptor that holds it.

    Raises:
        OSError: if the folder takes no other.
    """
    sweep(folder)
    while True:
        part = folder / f"{PREFIX}{uuid4().hex[:12]}"
        part.mkdir(mode)
        descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
        if _held(part, descriptor):
            return part, descriptor
        os.close(descriptor)


@contextmanager
def private_folder() -> Iterator[Path]:
    """Give an empty folder among the temporary files, for this user alone; it goes away with the block.

    What a process that was killed left of its own goes away with the next.

    Raises:
        OSError: if the temporary files take no other.
    """
    folder, descriptor = make_part_folder(Path(tempfile.gettempdir()), 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _held(part: Path, descriptor: int) -> bool:
    """Hold a new part; whether it is still there, as another's sweep may have come between."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return True  # a file system without locks: nobody can sweep there either
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(part))
    except FileNotFoundError:
        return False


def sweep(folder: Path) -> None:
    """Remove the parts in `folder` that this user's dead processes left; what cannot be removed stays."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if is_part(entry.name)]
    for name in names:
        try:
            _remove_if_dead(folder / name)
        except OSError:
            continue


def _remove_if_dead(part: Path) -> None:
    status = part.lstat()
    if status.st_uid != os.geteuid() or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return
    descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(part) if stat.S_ISDIR(status.st_mode) else part.unlink()
    finally:
        os.close(descriptor)
