"""Read a scan that came with a request as a `data:` address: NIfTI, or a zip of one DICOM series, in base64.

Everything lies in files without a name, so that a server that is killed leaves nothing of a scan on disk.
"""

import binascii
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import reduction
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from argus_processing import CTReadError, CTVolume, read_ct
from argus_processing.dicom_files import MAX_FILES
from argus_processing.dicom_strangers import HARMLESS_NAMES
from argus_processing.file_kinds import GZIP_MAGIC

from ..scan_files import ScanNotReadError, link_open_file

BASE64_PART = 4 << 20  # characters; a multiple of four
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")  # of a zip with files, and of one without
MAX_UNPACKED_BYTES = 3 << 30  # of a zip; a series of 1,024 x 1,024 x 1,000 has 2 GB
UNPACK_PART = 1 << 20
LONGEST_SUFFIX = 6


class OpenFile:
    """A file that this process has open, in a form that can be passed to the process that reads it."""

    def __init__(self, descriptor: int, suffix: str) -> None:
        self.descriptor, self.suffix = descriptor, suffix

    def __reduce__(self) -> tuple:
        return _take_over, (reduction.DupFd(self.descriptor), self.suffix)


def _take_over(handle: Any, suffix: str) -> OpenFile:
    return OpenFile(handle.detach(), suffix)


@contextmanager
def received(url: str) -> Iterator[OpenFile]:
    """Yield what a `data:` address holds as an open file without a name.

    Raises:
        ScanNotReadError: if it is no base64.
    """
    start = url.find(",") + 1
    if not url[:start].lower().endswith(";base64,"):
        raise ScanNotReadError("a data: address holds a .nii, a .nii.gz or a zip of one DICOM series in base64")
    with tempfile.TemporaryFile() as file:
        try:
            for place in range(start, len(url), BASE64_PART):
                part = url[place : place + BASE64_PART]
                if part.endswith("=") and place + BASE64_PART < len(url):
                    raise binascii.Error
                file.write(binascii.a2b_base64(part, strict_mode=True))
        except ValueError:  # binascii.Error is a ValueError; letters outside ASCII raise ValueError itself
            raise ScanNotReadError("the data: address is no base64") from None
        file.seek(0)  # also writes what is buffered
        # pread fills no buffer. With one, closing `file` would seek back by what it had read ahead, from a position
        # that the reader, which shares it, has moved.
        yield OpenFile(file.fileno(), _suffix_of(os.pread(file.fileno(), 4, 0)))


def _suffix_of(start: bytes) -> str:
    return ".zip" if start in ZIP_MAGICS else ".nii.gz" if start.startswith(GZIP_MAGIC) else ".nii"


def read_sent(sent: OpenFile, private: Path) -> CTVolume:
    """Read a received scan, with links in the empty folder `private`.

    Raises:
        ScanNotReadError: if it is no CT; the scan has no name there.
    """
    path = private / f"scan{sent.suffix}"
    with ExitStack() as opened:
        try:
            if sent.suffix == ".zip":
                path = private / "series"
                path.mkdir()
                _unpack(sent.descriptor, path, opened)
            else:
                link_open_file(sent.descriptor, path)
            return read_ct(path)
        except CTReadError as error:
            told = str(error).replace(str(path), "the scan")
            if sent.suffix == ".zip" and "folder" in told:  # which the client does not know of
                told = f"{told.partition(';')[0].replace('folder', 'zip')}; zip the DICOM files of one CT series"
            raise ScanNotReadError(told) from None


def _unpack(descriptor: int, folder: Path, opened: ExitStack) -> None:
    """Link the files of a zip into a folder under numbers: their own names may lead out of it, or be a patient's.

    Raises:
        ScanNotReadError: if it is damaged, encrypted, or larger than a series.
    """
    try:
        archive = opened.enter_context(zipfile.ZipFile(os.fdopen(os.dup(descriptor), "rb")))
        members = [member for member in archive.infolist() if _is_wanted(member)]
        if len(members) > MAX_FILES:
            raise ScanNotReadError(f"the zip holds more than {MAX_FILES:,} files; send one series")
        left = MAX_UNPACKED_BYTES
        for number, member in enumerate(members):
            file = opened.enter_context(tempfile.TemporaryFile())
            with archive.open(member) as packed:
                left -= _copy(packed, file, left)
            suffix = PurePosixPath(member.filename).suffix
            kept = suffix if len(suffix) <= LONGEST_SUFFIX and suffix[1:].isascii() and suffix[1:].isalnum() else ""
            link_open_file(file.fileno(), folder / f"{number:06d}{kept}")
    except ScanNotReadError:
        raise
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError):
        raise ScanNotReadError("the zip is damaged, encrypted or of an uncommon kind; zip the series again") from None


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    beside = path.name.startswith(".") or path.parts[:1] == ("__MACOSX",) or path.name.lower() in HARMLESS_NAMES
    return not member.is_dir() and not beside


def _copy(packed: Any, file: BinaryIO, most: int) -> int:
    """Copy at most `most` bytes, whatever the archive says of its sizes; return their number."""
    size = 0
    while part := packed.read(UNPACK_PART):
        size += len(part)
        if size > most:
            raise ScanNotReadError("the zip holds more than a scan")
        file.write(part)
    file.flush()
    return size
