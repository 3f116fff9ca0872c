"""Open a scan's files so that nothing outside one folder is read, even if it holds links, swaps or pipes.

Each file is opened once, component by component below the folder, without following links, and must be a regular file.
The reader then gets a private folder of links to those open files, so it reads exactly the files that were checked. A
hard link counts as a file of the folder: no system can tell the two apart.
"""

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from argus_processing.dicom_files import MAX_FILES

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe that has no writer would otherwise wait for ever.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ScanNotReadError(ValueError):
    """A scan could not be read; the message is one line for the client, without local folders or header values."""


def open_below(root: Path, requested: str, private: Path, opened: ExitStack) -> Path:
    """Open a file or DICOM folder below `root`, and return a path in `private` to read it from.

    Args:
        root: a resolved folder.
        requested: absolute path, as a client gave it.
        private: an empty private folder, in which the links are made.
        opened: stack that closes the files.

    Raises:
        ScanNotReadError: if any of its files is not a regular file below `root`; the message does not tell whether the
            file exists.
    """
    try:
        real = _resolve_below(root, requested)
        shown = private / Path(requested).name
        if not stat.S_ISDIR(os.lstat(real).st_mode):
            _link_file(root, real, shown, opened)
            return shown
        shown.mkdir()
        for name in os.listdir(_open_folder(root, real, opened))[: MAX_FILES + 1]:  # the reader refuses one too many
            inside = _resolve_below(root, os.path.join(real, name))
            if not stat.S_ISDIR(os.lstat(inside).st_mode):
                _link_file(root, inside, shown / name, opened)
        return shown
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EMFILE:
            raise ScanNotReadError("the series has more files than this server may open at once") from None
        raise ScanNotReadError("no such scan in the folder that this server opens") from None


def link_open_file(descriptor: int, path: Path) -> None:
    """Make `path` a link to a file that this process has open; where /proc exists, child processes can use it too."""
    through_proc = f"/proc/{os.getpid()}/fd/{descriptor}"
    path.symlink_to(through_proc if os.path.exists(through_proc) else f"/dev/fd/{descriptor}")


def _resolve_below(root: Path, path: str) -> str:
    real = os.path.realpath(path, strict=True)
    if not Path(real).is_relative_to(root):
        raise ScanNotReadError
    return real


def _open_folder(root: Path, real: str, opened: ExitStack) -> int:
    """Open a folder below `root` component by component; refuse one replaced by a link after it was resolved."""
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
        # Checked before it is opened, because opening a device can already have an effect.
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise ScanNotReadError
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    opened.callback(os.close, descriptor)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ScanNotReadError
    link_open_file(descriptor, link)
