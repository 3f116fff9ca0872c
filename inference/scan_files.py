"""Open a scan's files so that nothing outside one folder can be read, whatever links, swaps or pipes it holds.

Each file is opened once, component by component below the folder, without following links, and must be a regular file.
The reader then gets a private folder of links to those open files: what it reads is what was checked. A hard link is
a file of the folder like any other: no system tells the two apart.
"""

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from argus_processing.dicom_files import MAX_FILES

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe without a writer would hold a plain open for ever.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ScanNotReadError(ValueError):
    """A scan that could not be read: one line for who asked, without this machine's folders or a header's values."""


def open_below(root: Path, asked: str, room: Path, opened: ExitStack) -> Path:
    """Open the file or DICOM folder `asked` (absolute) below `root`, and give a path in `room` to read it at.

    Args:
        root: a resolved folder.
        asked: absolute path, as a client gave it.
        room: an empty private folder, which gets the links.
        opened: closes the files.

    Raises:
        ScanNotReadError: if any file of it is not a regular file below `root`; whether it is there is not told.
    """
    try:
        real = _resolve_below(root, asked)
        shown = room / Path(asked).name
        if not stat.S_ISDIR(os.lstat(real).st_mode):
            _link_file(root, real, shown, opened)
            return shown
        shown.mkdir()
        for name in os.listdir(_open_folder(root, real, opened))[: MAX_FILES + 1]:  # one too many is told by the reader
            inside = _resolve_below(root, os.path.join(real, name))
            if not stat.S_ISDIR(os.lstat(inside).st_mode):
                _link_file(root, inside, shown / name, opened)
        return shown
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EMFILE:
            raise ScanNotReadError("the series has more files than this server may open at once") from None
        raise ScanNotReadError("no such scan in the folder that this server opens") from None


def link_open_file(descriptor: int, path: Path) -> None:
    """Make `path` a link to a file that this process has open, good for processes that it starts too where it can."""
    through_proc = f"/proc/{os.getpid()}/fd/{descriptor}"
    path.symlink_to(through_proc if os.path.exists(through_proc) else f"/dev/fd/{descriptor}")


def _resolve_below(root: Path, path: str) -> str:
    real = os.path.realpath(path, strict=True)
    if not Path(real).is_relative_to(root):
        raise ScanNotReadError
    return real


def _open_folder(root: Path, real: str, opened: ExitStack) -> int:
    """Open a folder below `root` by its components: one swapped for a link since it was resolved is refused."""
    descriptor = os.open(root, FOLDER_FLAGS)
    opened.callback(os.close, descriptor)
    for part in Path(real).relative_to(root).parts:
        descriptor = os.open(part, FOLDER_FLAGS, dir_fd=descriptor)
        opened.callback(os.close, descriptor)
    return descriptor


def _link_file(root: Path, real: str, link: Path, opened: ExitStack) -> None:
    with ExitStack() as folders:
        folder = _open_folder(root, os.path.dirname(real), folders)
        name = os.path.basename(real)
        # Looked at before it is opened, because opening a device can already do something.
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise ScanNotReadError
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    opened.callback(os.close, descriptor)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ScanNotReadError
    link_open_file(descriptor, link)
