"""Open the files of a DICOM folder: bounded, never blocking, with or without preamble, deflated or not.

Links to files are followed; pipes, sockets and devices are skipped. Subfolders are read only to report slices that
would be missed.
"""

import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from .ct_checks import MAX_SIDE, CTReadError, read_error
from .dicom_library import Dataset, converters, read_dataset

MAX_FILES = MAX_SIDE + 2000  # the largest series, and other files beside it
MAX_DEPTH = 4  # of subfolders: patient, study, series, and one more
MAX_HEADER_BYTES = 16 * 2**20  # of a header that is read; an enhanced file of 2,000 frames has 4 MB
HEAD_BYTES = 64 * 2**10
PIXEL_DATA = 0x7FE00010
IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))
LONG_LENGTHS = (b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """Encoding of a file's data set, and the place where it starts."""

    syntax: str  # UID; the standard's default if the file does not say
    stated: bool
    sop_class: str  # UID; empty if the file does not say
    implicit: bool
    little: bool
    start: int


def series_files(folder: Path) -> list[Path]:
    """Return the files of a folder that would be read, sorted by name, including broken links.

    Raises:
        CTReadError: if the folder cannot be listed, or holds more files than any series has.
    """
    paths = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_file(entry):
                    paths.append(Path(entry.path))
                if len(paths) > MAX_FILES:
                    cause = f"more than {MAX_FILES:,} files in one folder"
                    raise read_error(folder, cause, "give a folder that holds one series")
    except OSError as error:
        raise read_error(folder, f"cannot be read ({error.strerror})", "check the folder's permissions") from None
    return sorted(paths)


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True  # a broken link: perhaps a slice that was not copied


def files_below(folder: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Yield the regular files of a folder's subfolders, in order of their names; links are not followed."""
    try:
        with os.scandir(folder) as entries:
            subfolders = sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return  # a folder that cannot be listed has no readable files
    for subfolder in subfolders:
        try:
            with os.scandir(subfolder) as entries:
                yield from sorted(Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))
        except OSError:
            continue
        if depth > 1:
            yield from files_below(subfolder, depth - 1)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; anything else under its name (a pipe, a device) is refused without waiting for it."""
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise read_error(path, "not a regular file", "give a folder of DICOM files")
            yield file
    except OSError as error:
        advice = "copy the file again, or check its permissions"
        raise read_error(path, f"cannot be read ({error.strerror})", advice) from None


def dicom_folder_below(folder: Path) -> Path | None:
    """Return the first folder below this one that holds a DICOM file, if any."""
    for path, _ in zip(files_below(folder), range(MAX_FILES), strict=False):
        if path.name.upper() == "DICOMDIR":
            continue
        try:
            with opened(path) as file:
                if encoding_of(file.read(HEAD_BYTES)) is not None:
                    return path.parent
        except CTReadError:
            continue
    return None


def encoding_of(head: bytes) -> Encoding | None:
    """Return the encoding of a file's data set from its first bytes; None if it is not DICOM."""
    start = 132 if head[128:132] == b"DICM" else 0
    if not start and head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return None
    meta, start = _meta(head, start)
    syntax, sop_class = meta.get(b"\x10\0", ""), meta.get(b"\x02\0", "")
    if syntax:
        return Encoding(syntax, True, sop_class, syntax == IMPLICIT, syntax != BIG_ENDIAN, start)
    first = head[start : start + 8]
    explicit = first[4:6].isalpha() and first[4:6].decode("latin-1") in converters
    if not explicit and (first[1:2] != b"\0" or int.from_bytes(first[4:], "little") > HEAD_BYTES):
        return None
    guess = IMPLICIT if not explicit else EXPLICIT if first[0] else BIG_ENDIAN
    return Encoding(guess, False, sop_class, guess == IMPLICIT, guess != BIG_ENDIAN, start)


def _meta(head: bytes, place: int) -> tuple[dict[bytes, str], int]:
    """Read the file meta group; return its UIDs by element, and the place where the group ends."""
    meta = {}
    while head[place : place + 2] == b"\x02\0" and place + 8 <= len(head):
        name, kind = head[place + 2 : place + 4], head[place + 4 : place + 6]
        if kind in LONG_LENGTHS:
            size, value = int.from_bytes(head[place + 8 : place + 12], "little"), place + 12
        elif kind.isalpha():
            size, value = int.from_bytes(head[place + 6 : place + 8], "little"), place + 8
        else:  # implicit encoding, against the standard
            size, value = int.from_bytes(head[place + 4 : place + 8], "little"), place + 8
        meta[name] = head[value : value + min(size, 64)].decode("latin-1").strip(" \0")
        place = value + size
    return meta, place


class BoundedReader:
    """A file with a limit on the bytes that are read, whatever length a value claims to have."""

    def __init__(self, file: BinaryIO, budget: int) -> None:
        self.file, self.budget = file, budget
        place = file.tell()
        self.end = file.seek(0, os.SEEK_END)
        file.seek(place)

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes; a size above the limit is refused."""
        left = max(0, self.end - self.file.tell())
        size = left if size is None or size < 0 else min(size, left)
        self.budget -= size
        if self.budget < 0:
            raise ValueError("more was asked for than agreed on")
        return self.file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place, as `seek` of a file does."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place, as `tell` of a file does."""
        return self.file.tell()


def data_set_stream(file: BinaryIO, encoding: Encoding, limit: int) -> BinaryIO:
    """Return a stream at the start of the data set; a deflated one is inflated up to `limit` bytes only.

    Raises:
        zlib.error: if the deflated bytes are damaged.
    """
    file.seek(encoding.start)
    if encoding.syntax != DEFLATED:
        return file
    inflater, parts, size = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
    while size < limit and not inflater.eof:
        packed = inflater.unconsumed_tail or file.read(CHUNK_BYTES)
        if not packed:
            break
        parts.append(inflater.decompress(packed, min(limit - size, 16 * CHUNK_BYTES)))
        size += len(parts[-1])
    return BytesIO(b"".join(parts))


def read_header(file: BinaryIO, encoding: Encoding, tags: list[int]) -> tuple[Dataset, int | None]:
    """Parse the wanted elements before the pixels.

    Returns:
        The header, and the place of the pixel data's element in the data set's stream; None if there is none.

    Raises:
        Exception: of any kind, if the bytes are damaged.
    """
    stream = BoundedReader(data_set_stream(file, encoding, MAX_HEADER_BYTES), MAX_HEADER_BYTES)
    header = read_dataset(
        stream,  # type: ignore[arg-type] # pydicom only reads, seeks and tells
        encoding.implicit,
        encoding.little,
        stop_when=lambda tag, kind, length: tag >= PIXEL_DATA,
        specific_tags=tags,
    )
    place = stream.tell()
    mark = b"\xe0\x7f\x10\0" if encoding.little else b"\x7f\xe0\0\x10"
    return header, place if stream.read(4) == mark else None
