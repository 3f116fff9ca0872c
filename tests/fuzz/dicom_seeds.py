"""Whole DICOM series to start from: every transfer syntax, one file a slice and one file of all frames."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from dicom_elements import ElementMap
from dicom_series import SYNTAXES, body_hu, large_body_hu, write_enhanced, write_series
from pydicom import Dataset

NUM_SLICES = 6  # enough for a series, and quick to read
WAVELETS = ("jpeg_2000", "jpeg_2000_lossy", "htj2k")


@dataclass(frozen=True)
class DicomSeed:
    """A whole series.

    Attributes:
        name: in tables and of the saved case.
        files: `{file name: content}`.
    """

    name: str
    files: dict[str, bytes]

    @cached_property
    def elements(self) -> ElementMap:
        """The places of the first file's elements, which are the others' but for what differs in length."""
        return ElementMap.of(next(iter(self.files.values())))


@cache
def dicom_seeds() -> tuple[DicomSeed, ...]:
    """Make a series of files and an enhanced file in each transfer syntax, of the same bytes each time."""
    return tuple(_seed(syntax, write) for syntax in SYNTAXES for write in (_write_slices, _write_frames))


def _seed(syntax: str, write: Callable[[Path, str], None]) -> DicomSeed:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), syntax)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return DicomSeed(f"DICOM {syntax}/{'frames' if write is _write_frames else 'slices'}", files)


def _write_slices(folder: Path, syntax: str) -> None:
    hu = large_body_hu() if syntax in WAVELETS else body_hu()
    write_series(folder, hu[:NUM_SLICES], syntax, edit=lambda index, header: _number(header, index))


def _write_frames(folder: Path, syntax: str) -> None:
    hu = large_body_hu() if syntax in WAVELETS else body_hu()
    write_enhanced(folder, hu[:NUM_SLICES], syntax, edit=lambda header: _number(header, 0))


def _number(header: Dataset, index: int) -> None:
    """Give the object a name that does not come from chance."""
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{index + 1}"
