"""Read a CT from a NIfTI file, .nii or .nii.gz, in one pass and with one copy of the volume in memory."""

import io
import math
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from .ct_checks import check_affine, check_dtype, check_memory, read_error, rescale_to_hu, spatial_shape
from .ct_volume import CTVolume, nifti_affine
from .file_kinds import GZIP_MAGIC, describe_content

try:
    from isal import isal_zlib as inflating
except ImportError:  # the standard library's, with the same interface, takes about three times as long
    import zlib as inflating  # type: ignore[no-redef]

DAMAGED: type[Exception] = inflating.error  # type: ignore[assignment] # isal states it as an error, not as a class
HEADER_BYTES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
FIRST_VOXEL = {348: 352, 540: 544}  # the lowest vox_offset of a single file
MAX_EXTENSION_BYTES = 64 << 20  # between header and voxels
MIN_EXTENSION_BYTES = 16  # and a multiple of it, as the format says
MAX_TRAILING_BYTES = 1 << 20  # padding after the voxels
CHUNK_BYTES = 1 << 20  # read at once, at most
PACKED_BYTES = 1 << 18  # that are inflated at once: less than CHUNK_BYTES of a CT, so that blocks need not be cut
BLOCKS_AHEAD = 8  # that are inflated and wait
MAX_DEFLATE_RATIO = 1032  # limit of the format: a file that claims more is incomplete or malicious
AGAIN = "convert the scan again from its source"
COPY_AGAIN = "copy or download it again"


# Called while a volume is read, with the volume, whose values are not checked yet, and the slices that have arrived.
Follower: TypeAlias = Callable[[CTVolume, range], None]


def read_nifti(path: str | os.PathLike, follow: Follower | None = None) -> CTVolume:
    """Read one NIfTI-1 or NIfTI-2 file; its slope and intercept are applied once.

    The content, not the name, decides whether it is compressed; no other file than `path` is opened.

    Args:
        path: the file.
        follow: called while the file is read, so that work on its first slices need not wait for the last.

    Raises:
        CTReadError: if the file is damaged or is not one oriented 3D CT in Hounsfield units.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            return _read(file, os.fstat(file.fileno()).st_size, path, follow)
    except OSError as error:
        raise read_error(path, f"cannot be opened ({error.strerror})", "check the path and its permissions") from None


def read_nifti_bytes(content: bytes, name: object = "image", follow: Follower | None = None) -> CTVolume:
    """Read a NIfTI file, compressed or not, from its content in memory, as `read_nifti` does.

    Raises:
        CTReadError: as `read_nifti` does, with `name` for the file.
    """
    return _read(io.BytesIO(content), len(content), name, follow)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a regular file; a pipe, device or socket would block, or never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise read_error(path, "a pipe, socket or device, not a file", "save the scan to a file first")
        yield file


def _read(file: io.BufferedIOBase, size: int, name: object, follow: Follower | None) -> CTVolume:
    """Read a whole NIfTI of `size` stored bytes, and describe damage in words."""
    packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    content = GzipContent(file) if packed else None
    stream: Readable = file if content is None else content
    try:
        header, position = _read_header(stream, name)
        shape = spatial_shape(_data_shape(header, name), name)
        affine, warnings = nifti_affine(header, name)
        check_affine(affine, shape, name)
        dtype = _data_dtype(header, name)
        slope, intercept = _slope_and_intercept(header, name)
        count = math.prod(shape)
        if count * dtype.itemsize > size * (MAX_DEFLATE_RATIO if packed else 1):
            raise EOFError
        hu_bytes = 2 if dtype.kind in "iu" and slope.is_integer() and intercept.is_integer() else 4
        check_memory(shape, hu_bytes, name)
        fits = _skip_extensions(stream, _voxel_offset(header, position, name) - position, header.endianness)
        arrivals = _Arrivals(shape, affine, follow)
        hu, ends = _read_voxels(stream, dtype, count, slope, intercept, arrivals)
        followed = _read_rest(stream, min(count // side for side in shape) * dtype.itemsize, name)
        if followed and not fits:
            cause = "vox_offset lies within the extensions that the header announces, so the voxels are displaced"
            raise read_error(name, cause, AGAIN)
    except EOFError:
        raise read_error(name, "the file is truncated", COPY_AGAIN) from None
    except DAMAGED:
        cause = "the compressed data are damaged (wrong checksum or not gzip)"
        raise read_error(name, cause, COPY_AGAIN) from None
    except MemoryError:
        raise read_error(name, "the volume does not fit into memory", "use a machine with more memory") from None
    if content is not None and content.followed:
        warnings = (*warnings, "something that is not gzip follows the compressed data; it was left out")
    return CTVolume.from_file_axes(hu.reshape(shape, order="F"), affine, name, warnings, ends)


class _Arrivals:
    """Caller of a follower, each time that more of a volume has been read."""

    def __init__(self, shape: tuple[int, int, int], affine: np.ndarray, follow: Follower | None) -> None:
        self._shape, self._affine, self._follow = shape, affine, follow
        self._voxels: np.ndarray | None = None

    def tell(self, voxels: np.ndarray, num_read: int) -> None:
        """Call the follower after `num_read` voxels were read; `voxels` is a new array if its type was widened."""
        if self._follow is None:
            return
        if self._voxels is not voxels:
            self._voxels = voxels
            self._volume = CTVolume.turned(voxels.reshape(self._shape, order="F"), self._affine)
        self._follow(self._volume, self._volume.arrived(num_read))


class Readable(Protocol):
    """Bytes that are read once, from front to back."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer at the end."""

    def read1(self, size: int, /) -> bytes:
        """Return at most `size` bytes, as they come; none at the end."""


class GzipContent:
    """The content of a gzip file, member after member.

    Bytes after the last one (a line break, padding, anything else) are not read: `followed` is then true.
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._inflater: inflating.Decompress | None = None
        self._pending = b""
        self._ended = False
        self.followed = False

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end.

        Raises:
            EOFError: if a member is incomplete.
            `DAMAGED`: if a member is damaged, or its checksum is wrong.
        """
        parts = []
        while size > 0 and not self._ended:
            part = self._inflate(size)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read1(self, size: int) -> bytes:
        """Return at most `size` bytes, as they are inflated; none at the end.

        Raises:
            EOFError, `DAMAGED`: as `read` does.
        """
        part = b""
        while size > 0 and not part and not self._ended:
            part = self._inflate(size)
        return part

    def _inflate(self, size: int) -> bytes:
        if self._inflater is None or self._inflater.eof:
            self._inflater = self._next_member()
        inflater = self._inflater
        if inflater is None:
            return b""
        part = inflater.decompress(self._pending, size)
        self._pending = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        if not part and not inflater.eof and not self._pending:
            self._pending = self._file.read(PACKED_BYTES)
            if not self._pending:
                raise EOFError
        return part

    def _next_member(self) -> "inflating.Decompress | None":
        if len(self._pending) < len(GZIP_MAGIC):
            self._pending += self._file.read(PACKED_BYTES)
        if self._pending.startswith(GZIP_MAGIC):
            return inflating.decompressobj(wbits=31)
        self._ended, self.followed = True, bool(self._pending)
        return None


def _read_header(stream: Readable, name: object) -> tuple[nib.Nifti1Header, int]:
    """Read only the header; return it and the number of bytes read."""
    block = stream.read(348)
    sizes = {order: int.from_bytes(block[:4], order) for order in ("little", "big")}
    order = next((order for order, size in sizes.items() if size in HEADER_BYTES), None)
    if order is None:
        raise read_error(name, *describe_content(block))
    size = sizes[order]
    block += stream.read(size - len(block))
    if len(block) < size:
        raise EOFError
    header = HEADER_BYTES[size](block, endianness="<" if order == "little" else ">", check=False)
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise read_error(name, "not a single-file NIfTI (.hdr/.img pair or Analyze)", "convert it to .nii.gz")
    return header, size


def _voxel_offset(header: nib.Nifti1Header, header_bytes: int, name: object) -> int:
    """Return the place of the first voxel; in a single file it must not be inside the header."""
    offset, lowest = float(header["vox_offset"]), FIRST_VOXEL[header_bytes]
    if not (lowest <= offset <= lowest + MAX_EXTENSION_BYTES and offset.is_integer()):
        raise read_error(name, f"vox_offset is not a whole number from {lowest} on", AGAIN)
    return int(offset)


def _data_shape(header: nib.Nifti1Header, name: object) -> tuple[int, ...]:
    count = int(header["dim"][0])
    sides = tuple(int(side) for side in header["dim"][1 : count + 1])
    if not 1 <= count <= 7 or min(sides) < 1:
        raise read_error(name, "the header's dimensions are not valid", AGAIN)
    return sides


def _data_dtype(header: nib.Nifti1Header, name: object) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise read_error(name, "the header's data type is unknown", "convert the scan to int16") from None
    check_dtype(dtype, name)
    return dtype


def _slope_and_intercept(header: nib.Nifti1Header, name: object) -> tuple[float, float]:
    """Return slope and intercept; by the format a slope of 0 or NaN means no rescale."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite(slope) or not np.isfinite(intercept):
        raise read_error(name, "scl_slope or scl_inter is not a finite number", AGAIN)
    return slope, intercept


def _skip_extensions(stream: Readable, count: int, order: str) -> bool:
    """Skip the `count` bytes between header and voxels; return whether the extensions in them have valid sizes."""
    flag, left = stream.read(4), count - 4
    if len(flag) < 4:
        raise EOFError
    fits = not flag[0] or left >= MIN_EXTENSION_BYTES
    while flag[0] and left >= MIN_EXTENSION_BYTES:
        start = stream.read(8)
        size = int.from_bytes(start[:4], "big" if order == ">" else "little")
        left -= len(start)
        if size < MIN_EXTENSION_BYTES or size % MIN_EXTENSION_BYTES:  # padding, or a damaged size: no warning
            break
        fits = size - 8 <= left
        _skip(stream, min(size - 8, left))
        left = max(0, left + 8 - size)
    _skip(stream, left)
    return fits


def _skip(stream: Readable, count: int) -> None:
    while count > 0:
        chunk = stream.read(min(count, CHUNK_BYTES))
        if not chunk:
            raise EOFError
        count -= len(chunk)


def _read_ahead(stream: Readable, size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes in blocks of at most `CHUNK_BYTES`; a thread reads and inflates some blocks ahead.

    Raises:
        EOFError: if there are fewer.
    """
    left = size

    def read_block() -> bytes:
        nonlocal left
        block = stream.read1(min(CHUNK_BYTES, left))
        left -= len(block)
        return block

    with ThreadPoolExecutor(1) as reader:
        ahead = deque(reader.submit(read_block) for _ in range(BLOCKS_AHEAD))
        to_come = size
        while to_come:
            block = ahead.popleft().result()
            if not block:
                raise EOFError
            ahead.append(reader.submit(read_block))
            to_come -= len(block)
            yield block


def _whole_voxels(blocks: Iterator[bytes], voxel_bytes: int) -> Iterator[bytes]:
    """Cut blocks at voxels: the start of a voxel waits for the next block."""
    start = b""
    for block in blocks:
        whole = start + block if start else block
        end = len(whole) - len(whole) % voxel_bytes
        start = whole[end:]
        if end:
            yield whole[:end]


def _read_voxels(
    stream: Readable, dtype: np.dtype, count: int, slope: float, intercept: float, arrivals: _Arrivals
) -> tuple[np.ndarray, tuple[float, float]]:
    """Read voxels into one flat array of HU and rescale them: int16 if every value is whole and fits, else float32.

    So no voxels are in memory twice, for any type of the file.

    Returns:
        The HU, and the lowest and the highest of them; NaN if any is.
    """
    whole = dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    hu = np.empty(count, np.int16 if whole else np.float32)
    start, low, high = 0, math.inf, -math.inf
    for block in _whole_voxels(_read_ahead(stream, count * dtype.itemsize), dtype.itemsize):
        part = rescale_to_hu(np.frombuffer(block, dtype), slope, intercept)
        if part.dtype != hu.dtype and hu.dtype == np.int16:
            check_memory((count,), 4, "the volume as float32")
            hu = hu.astype(np.float32)
        hu[start : start + part.size] = part
        start += part.size
        low, high = float(np.minimum(low, part.min())), float(np.maximum(high, part.max()))  # they keep NaN
        arrivals.tell(hu, start)
    return hu, (low, high)


def _read_rest(stream: Readable, plane_bytes: int, name: object) -> bool:
    """Read the bytes after the voxels, so that checksums are compared; padding is allowed, a plane of voxels is not.

    Returns:
        Whether anything follows.
    """
    rest = b""
    while len(rest) <= MAX_TRAILING_BYTES and (chunk := stream.read(CHUNK_BYTES)):
        rest += chunk
    if len(rest) > MAX_TRAILING_BYTES or (len(rest) >= plane_bytes and rest.strip(b"\0")):
        cause = "the file holds more voxels than its header's dimensions state"
        raise read_error(name, cause, AGAIN)
    return bool(rest)
