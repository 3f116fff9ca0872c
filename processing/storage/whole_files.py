"""Write files that appear complete or not at all: written under another name, then renamed.

Only regular files are replaced: a link stays and its target is written, a device or a pipe is written to directly,
a disk is refused.
"""

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .part_files import make_part_file

_MOST_LINKS = 40  # as in the kernel
_checked_pipes: dict[Path, int] = {}
_PROBE = b"\0" * 4096  # one block, because an empty file fits on a full disk


@dataclass(frozen=True)
class Destination:
    """Destination of the bytes: `path` is a file to replace, or a stream (device, pipe) to write to."""

    path: Path
    is_stream: bool
    mode: int | None = None


def destination_of(out: Path) -> Destination:
    """Follow links from `out` to its destination.

    Raises:
        FileNotFoundError: if the folder of the file does not exist.
        IsADirectoryError: if `out` is a folder.
        PermissionError: if the file exists and may not be written.
        ValueError: if `out` is a disk or a socket.
    """
    path, is_open_file = _follow(Path(out))
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{out}: the folder {path.parent} does not exist; create it first") from None
        return Destination(path, is_stream=False)
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{out}: is a folder; give a file name")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise ValueError(f"{out}: is a {'disk' if stat.S_ISBLK(mode) else 'socket'}; give a file name")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "may not be written", str(out))
    return Destination(path, is_open_file or not stat.S_ISREG(mode), stat.S_IMODE(mode))


def _follow(out: Path) -> tuple[Path, bool]:
    """Follow links one by one; also return whether one led into /proc, where links are open files (/dev/stdout)."""
    path = out
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder == "/proc" or folder.startswith("/proc/"):
            return path, True
        if not path.is_symlink():
            return path, False
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(out))


def check_can_write(out: Path) -> Path:
    """Return `out` if a file can be written there; this is tried before hours of work, with a file that is removed.

    Raises:
        OSError, ValueError: as `destination_of`, and if no file can be written.
    """
    destination = destination_of(out)
    with naming(out):
        if not destination.is_stream:
            _probe(destination.path.parent)
        elif stat.S_ISCHR(mode := os.stat(destination.path).st_mode):
            descriptor = os.open(destination.path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                os.write(descriptor, b"")
            finally:
                os.close(descriptor)
        elif stat.S_ISFIFO(mode) and not _is_of_this_process(destination.path):
            # It stays open until it is written: its reader would take a close for the end.
            if destination.path not in _checked_pipes:
                _checked_pipes[destination.path] = _open_pipe(out, destination.path)
    return Path(out)


def check_can_fill(folder: Path) -> Path:
    """Create `folder` if needed and return it if files can be written there; this is tried before hours of work.

    Raises:
        OSError: if no file can be written; it names the folder.
    """
    folder = make_folder(folder)
    with naming(folder):
        _probe(folder)
    return folder


def make_folder(folder: Path) -> Path:
    """Create `folder` and its parents if they do not exist, and return it.

    Raises:
        NotADirectoryError: if it is a file.
        OSError: if it cannot be created.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _probe(folder: Path) -> None:
    part, descriptor = make_part_file(folder)
    try:
        part.write_bytes(_PROBE)
        os.fsync(descriptor)
    finally:
        part.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def naming(out: Path, part: Path | None = None) -> Iterator[None]:
    """Make operating-system errors name `out` if they name no file or only `part`, which the user does not know."""
    try:
        yield
    except OSError as error:
        # Errors with a message of their own, such as "the folder does not exist", have no number.
        ours = part is not None and str(error.filename or "").startswith(str(part))
        if error.errno is None or not (error.filename is None or ours or ".argus-" in str(error.filename)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(out)) from error


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """Yield a temporary path; its file becomes `out` when the block ends without an error.

    The path is beside the file, which it replaces at once; for a stream it is among the temporary files and is copied.
    It keeps the suffixes of `out`, because writers such as matplotlib choose a format by them. It is new each time, so
    that two processes that write the same file do not collide; the later result stays.

    Raises:
        OSError, ValueError: as `destination_of`, and if the disk fails; no partial file is left.
    """
    destination = destination_of(out)
    folder = Path(tempfile.gettempdir()) if destination.is_stream else destination.path.parent
    with naming(out):
        part, descriptor = make_part_file(folder, "".join(Path(out).suffixes[-2:]))
    try:
        with naming(out, part):
            if destination.mode is not None and not destination.is_stream:
                # A file that only its owner could read stays so.
                os.fchmod(descriptor, destination.mode)
            yield part
            if destination.is_stream:
                _write_through(part, destination.path)
            else:
                _replace(part, destination.path)
    finally:
        part.unlink(missing_ok=True)
        os.close(descriptor)


def _write_through(part: Path, stream: Path) -> None:
    """Copy a file into a device, a pipe or an open file, at its current position."""
    if _is_of_this_process(stream):
        # The same open file, not a new one of that name, so that later output follows this one.
        descriptor = os.dup(int(stream.name))
    elif stat.S_ISFIFO(os.stat(stream).st_mode):
        descriptor = _checked_pipes.pop(stream) if stream in _checked_pipes else _open_pipe(stream, stream)
    else:
        descriptor = os.open(stream, os.O_WRONLY | os.O_NOCTTY | os.O_APPEND)
    with part.open("rb") as source, os.fdopen(descriptor, "wb", buffering=0) as sink:
        while block := source.read(1 << 16):
            while block:
                block = block[sink.write(block) :]


def _is_of_this_process(stream: Path) -> bool:
    return os.path.realpath(stream.parent) == f"/proc/{os.getpid()}/fd"


def _open_pipe(out: Path, pipe: Path) -> int:
    """Open a named pipe that a process reads; without a reader, opening would wait silently for ever.

    Raises:
        OSError: if no process reads it.
    """
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(
            f"{out}: is a named pipe that nobody reads; start its reader first, or give a file name"
        ) from None
    os.set_blocking(descriptor, True)
    return descriptor


def _replace(part: Path, path: Path) -> None:
    try:
        os.replace(part, path)
    except OSError as error:
        # A single mounted file, as in containers, cannot be replaced and gets new content instead.
        if error.errno != errno.EBUSY:
            raise
        shutil.copyfile(part, path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of a cache or a run, whole or not at all, and create its folders.

    Raises:
        OSError: if the disk fails; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(content)


def write_text(out: Path, text: str) -> None:
    """Write UTF-8 `text` to `out`, whole or not at all."""
    with whole_file(out) as part:
        part.write_text(text, encoding="utf-8")


def write_json(out: Path, content: dict[str, Any]) -> None:
    """Write `content` to `out` as indented JSON, whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with whole_file(out) as part:
        # A name that is not UTF-8 holds half characters, for which JSON has escapes.
        part.write_bytes(text.encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that this program wrote.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it and start again") from error
