"""Claim folders for one writing process at a time, and make folders that appear complete or not at all."""

import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout
from safetensors import SafetensorError

from .part_files import is_part, make_part_folder, sweep
from .whole_files import check_can_fill, make_folder, naming

LOCK_FILE = ".argus-lock"
_LAST_FILES = ("config.json", "manifest.json")  # files that mark a folder as complete


def entries_of(folder: Path) -> list[Path]:
    """Return a folder's entries, without locks and unfinished parts of this program; empty if there is no folder."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if not (is_part(path.name) or path.name.startswith(LOCK_FILE))]


@contextmanager
def claimed_folder(folder: Path) -> Iterator[Path]:
    """Create `folder` if it does not exist, and keep other processes from writing into it while the block runs.

    The lock is the system's own: it ends with the process in any case, so a dead holder never blocks.

    Raises:
        ValueError: if another process holds it, naming its process id.
        OSError: if the folder cannot be created, or no file can be written into it.
    """
    folder = make_folder(folder)
    with _locked(folder / LOCK_FILE, folder):
        with naming(folder):
            sweep(folder)
        yield folder


@contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    lock = FileLock(path, blocking=False, thread_local=False)
    with naming(folder):
        try:
            lock.acquire()
        except Timeout:
            if not path.exists():
                raise OSError(f"{folder}: takes no file, or a run in it just ended; start again") from None
            raise ValueError(
                f"{folder}: {_holder(path)} is writing into it; wait for that to end or name another folder"
            ) from None
    # On a file system without locks a marker file is used instead, which is removed at the end.
    is_marker = isinstance(lock, SoftFileLock)
    try:
        if not is_marker:
            with naming(folder):
                _sign(path)
        yield
    finally:
        if not is_marker:
            # Removed while it is held: a process that opened it meanwhile sees that it has no name any more.
            path.unlink(missing_ok=True)
        lock.release()


def _sign(path: Path) -> None:
    """Write the holder of a lock into it; this also detects a full disk before any work."""
    with path.open("r+", encoding="utf-8") as file:
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        os.fsync(file.fileno())


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"


def check_new_folder(out: Path) -> Path:
    """Return `out` if a new folder of that name can be created; this is tried before hours of work.

    Raises:
        ValueError: if it is not empty.
        OSError: if the parent folder does not exist or is not writable, or the disk is full.
    """
    if entries_of(out) or (out.exists() and not out.is_dir()):
        raise ValueError(f"{out}: exists and is not an empty folder; name a new one")
    nearest = Path(os.path.realpath(out))
    while not nearest.exists():
        nearest = nearest.parent
    with naming(out):
        check_can_fill(nearest)
    return out


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` when the block ends without an error.

    Raises:
        ValueError: if `out` is not empty, or another process is making it.
        OSError: if it cannot be written.
    """
    out = Path(os.path.realpath(check_new_folder(Path(out))))
    exists = out.is_dir()
    with ExitStack() as stack:
        if exists:
            # `out` may be a mount point, onto which nothing can be renamed.
            stack.enter_context(claimed_folder(out))
            place = out
        else:
            place = out.parent
            place.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(os.fsencode(out.name)).hexdigest()[:16]
            stack.enter_context(_locked(place / f"{LOCK_FILE}-{name}", out))
        with naming(out):
            part, descriptor = make_part_folder(place)
        stack.callback(os.close, descriptor)
        stack.callback(shutil.rmtree, part, ignore_errors=True)
        with naming(out, part):
            try:
                yield part
            except SafetensorError as error:
                raise OSError(f"{out}: the weights could not be written ({error})") from error
            _move_up(part, out) if exists else part.rename(out)


def _move_up(part: Path, out: Path) -> None:
    for path in sorted(part.iterdir(), key=lambda path: path.name in _LAST_FILES):
        os.replace(path, out / path.name)
