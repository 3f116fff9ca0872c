"""Read a CT from a NIfTI file, .nii or .nii.gz, in one pass and with one copy of the volume in memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.spatialimages import HeaderDataError

from .ct_checks import check_affine, check_dtype, read_error, rescale_to_hu, spatial_shape
from .ct_volume import CTVolume, nifti_affine

HEADER_BYTES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
MAX_DEFLATE_RATIO = 1032  # of the format itself: a file that promises more is cut short or a trap


def read_nifti(path: str | os.PathLike) -> CTVolume:
    """Read one NIfTI-1 or NIfTI-2 file; its slope and intercept are applied once.

    The content, not the name, says whether it is compressed; no file but `path` is ever opened.

    Raises:
        CTReadError: if the file is damaged or is not one oriented 3D CT in Hounsfield units.
    """
    path = Path(path)
    with _opened(path) as stream:
        header, position = _read_header(stream, path)
        shape = spatial_shape(_data_shape(header, path), path)
        affine, warnings = nifti_affine(header, path)
        check_affine(affine, shape, path)
        dtype = _data_dtype(header, path)
        slope, intercept = _slope_and_intercept(header, path)
        _skip(stream, max(int(header["vox_offset"]), position) - position)
        raw = _read_voxels(stream, dtype, int(np.prod(shape, dtype=np.int64)), path)
        _read_to_checksum(stream)
    hu = rescale_to_hu(raw, slope, intercept)
    return CTVolume.from_file_axes(hu.reshape(shape, order="F"), affine, path, warnings)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file for reading its content, and tell damage to it in words."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            if not packed:
                yield file
                return
            with igzip.IGzipFile(fileobj=file, mode="rb") as stream:
                yield stream
    except EOFError:
        raise read_error(path, "the file is truncated", "copy or download it again") from None
    except (igzip.BadGzipFile, isal_zlib.error):
        cause = "the compressed data are damaged (wrong checksum or not gzip)"
        raise read_error(path, cause, "copy or download it again") from None
    except OSError as error:
        raise read_error(path, f"cannot be opened ({error.strerror})", "check the path and its permissions") from None


def _read_header(stream: BinaryIO, path: Path) -> tuple[nib.Nifti1Header, int]:
    """Read the header alone; give it and the number of bytes read."""
    block = stream.read(348)
    sizes = {order: int.from_bytes(block[:4], order) for order in ("little", "big")}
    order = next((order for order, size in sizes.items() if size in HEADER_BYTES), None)
    if order is None:
        raise read_error(path, "not a NIfTI file", "give a .nii or .nii.gz file, or a DICOM folder")
    size = sizes[order]
    block += stream.read(size - len(block))
    if len(block) < size:
        raise EOFError
    header = HEADER_BYTES[size](block, endianness="<" if order == "little" else ">", check=False)
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise read_error(path, "not a single-file NIfTI (.hdr/.img pair or Analyze)", "convert it to .nii.gz")
    return header, size


def _data_shape(header: nib.Nifti1Header, path: Path) -> tuple[int, ...]:
    count = int(header["dim"][0])
    sides = tuple(int(side) for side in header["dim"][1 : count + 1])
    if not 1 <= count <= 7 or min(sides) < 1:
        raise read_error(path, "the header's dimensions are not valid", "convert the scan again from its source")
    return sides


def _data_dtype(header: nib.Nifti1Header, path: Path) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise read_error(path, "the header's data type is unknown", "convert the scan to int16") from None
    check_dtype(dtype, path)
    return dtype


def _slope_and_intercept(header: nib.Nifti1Header, path: Path) -> tuple[float, float]:
    """Give the rescale; a slope of 0 or NaN means none, as the format says."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise read_error(path, "scl_inter is not a finite number", "convert the scan again from its source") from None
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept or 0.0))


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0:
        chunk = stream.read(min(count, CHUNK_BYTES))
        if not chunk:
            raise EOFError
        count -= len(chunk)


def _read_voxels(stream: BinaryIO, dtype: np.dtype, count: int, path: Path) -> np.ndarray:
    """Fill one flat array in native byte order; float64 is narrowed to float32 on the way."""
    if count * dtype.itemsize > max(path.stat().st_size, 1) * MAX_DEFLATE_RATIO:
        raise EOFError
    native = dtype.newbyteorder("=")
    voxels = np.empty(count, np.float32 if native == np.float64 else native)
    step = CHUNK_BYTES // dtype.itemsize
    for start in range(0, count, step):
        size = min(step, count - start)
        block = stream.read(size * dtype.itemsize)
        if len(block) < size * dtype.itemsize:
            raise EOFError
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are refused with the other values
            voxels[start : start + size] = np.frombuffer(block, dtype)
    return voxels


def _read_to_checksum(stream: BinaryIO) -> None:
    """Read what follows the voxels, so that a compressed file's checksum is compared."""
    if isinstance(stream, igzip.IGzipFile):
        while stream.read(CHUNK_BYTES):
            pass
