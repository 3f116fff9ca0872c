"""Give temporary names to files and folders that are being written, and remove those that a killed process left.

The owner of a part holds a lock on it that the system releases when the process ends, in any way. So a part that
nobody holds belongs to a dead writer, on any machine or in any container.
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
    """Return whether a file's name is one that `make_part_file` or `make_part_folder` gives."""
    return _NAME.fullmatch(name) is not None


def make_part_file(folder: Path, suffix: str = "") -> tuple[Path, int]:
    """Create an empty file under a new name in `folder`; return it and the descriptor that holds its lock.

    Raises:
        OSError: if no file can be created in the folder.
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
    """Create an empty folder under a new name in `folder`; return it and the descriptor that holds its lock.

    Raises:
        OSError: if no folder can be created in it.
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
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder, for this user only; it is removed after the block.

    A folder that a killed process left is removed by the next call.

    Args:
        parent: folder to make it in. Default: that of the temporary files.

    Raises:
        OSError: if no folder can be created there.
    """
    folder, descriptor = make_part_folder(Path(tempfile.gettempdir()) if parent is None else parent, 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _held(part: Path, descriptor: int) -> bool:
    """Lock a new part; return whether it still exists, because another process may have swept it meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return True  # a file system without locks: no process can sweep there either
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(part))
    except FileNotFoundError:
        return False


def sweep(folder: Path) -> None:
    """Remove the parts in `folder` that this user's dead processes left; parts that cannot be removed stay."""
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
