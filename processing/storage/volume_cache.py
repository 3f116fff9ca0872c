"""Cache preprocessed volumes: an image processor's results, stored as int16 HU, lossless to 1 HU.

A scan's planes are stored: resampled in plane to the grid, and along depth up to the coarser of its samplings. From
there to the grid is one weighted sum per slice, computed on loading: at high resolution this stores a quarter of the
grid's size.
"""

import errno
import hashlib
import json
import os
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from isal import isal_zlib

from ..ct_checks import INT16
from ..image_processing_argus import SETTINGS, ArgusImageProcessor, ScanToGrid, flatten_images
from ..normalization import centred
from ..resampling import PlaneFiller, fill_grid, operator_of, planes_in, terms_of
from ..scan_types import GridVolume, PixelValues
from .foreign_files import ForeignFileError, check_regular
from .whole_files import write_whole

MAGIC = b"ARGUSVC2"  # a new layout of the file gets a new number, and so a new folder
_LENGTHS = struct.Struct("<8sII")  # magic, size of the header in bytes, CRC-32 of header and planes


@dataclass(frozen=True)
class Encoding:
    """Settings to pack one plane of int16 by blosc2: names of codec and filters, and the level."""

    codec: str
    level: int
    filters: tuple[str, ...]

    def pack(self, plane: np.ndarray) -> bytes:
        """Pack a contiguous int16 array."""
        import blosc2

        return blosc2.compress2(
            plane,
            codec=getattr(blosc2.Codec, self.codec),
            clevel=self.level,
            filters=[getattr(blosc2.Filter, name) for name in self.filters],
            typesize=plane.itemsize,
        )


# `make bench` measures all of them; the first is the default.
ENCODINGS = {
    "zstd-delta": Encoding("ZSTD", 1, ("SHUFFLE", "BYTEDELTA")),
    "zstd": Encoding("ZSTD", 1, ("SHUFFLE",)),
    "lz4": Encoding("LZ4", 1, ("SHUFFLE",)),
}


class DamagedEntryError(ValueError):
    """Error of an entry that is incomplete, or does not match its name."""


class VolumeCache:
    """Reader of `pixel_values` from a folder of preprocessed volumes, which adds missing volumes to the folder.

    It is called like the image processor, so a data set needs only `with_preprocessing(dataset, VolumeCache(...))`. An
    entry's folder is named by the hash of the preprocessing's settings, its file by the scan's path, size and time:
    another setting or a changed scan never reads an old entry. A damaged entry is made again.

    Args:
        folder: folder shared by all settings; created at the first write.
        image_processor: the image processor whose results are cached.
        encoding: a name in `ENCODINGS`; it may change, because each entry states its own encoding.

    Attributes:
        hits, misses: numbers of scans that were read from the cache, and that were not.

    Raises:
        ValueError: if the encoding is unknown, blosc2 is missing, or the HU window does not fit int16.
    """

    def __init__(self, folder: Path | str, image_processor: ArgusImageProcessor, encoding: str = "zstd-delta"):
        if encoding not in ENCODINGS:
            raise ValueError(f"unknown encoding {encoding!r}; known: {', '.join(ENCODINGS)}")
        try:
            import blosc2  # noqa: F401 - a clear word now rather than in the middle of an epoch
        except ImportError:
            raise ValueError("the volume cache needs blosc2: pip install '.[cache]'") from None
        check_window(image_processor.hu_window)
        self.image_processor = image_processor
        self.encoding = ENCODINGS[encoding]
        self.folder = Path(folder).resolve() / settings_hash(image_processor)
        self.hits = self.misses = 0
        self._warned = False

    def __call__(self, images: Any, **kwargs) -> dict[str, torch.Tensor]:
        """Return `pixel_values` `(B, 1, D, H, W)` float32 of one image or several, as the image processor does.

        An image that is not a file, and names none, is preprocessed but not stored.
        """
        scans = flatten_images(images)
        pixel_values: PixelValues = torch.empty(len(scans), 1, *self.image_processor.image_size)
        for image, out in zip(scans, pixel_values, strict=True):
            self.load_into(image, out[0])
        return {"pixel_values": pixel_values}

    def load_into(self, image: Any, out: GridVolume) -> GridVolume:
        """Fill `out` `(D, H, W)` float32 with a scan; values differ from the image processor's by at most half an HU.

        Raises:
            CTReadError: if the scan cannot be read.
            ValueError: if its HU do not fit int16.
        """
        path = path_of(image)
        if path is None:
            self.misses += 1
            self.image_processor.preprocess_image(image, None, out)
            return out
        entry = self.entry_of(path)
        try:
            self._read(entry, out)
            self.hits += 1
        except (FileNotFoundError, DamagedEntryError):
            self.misses += 1
            self._read_packed(self._fill(path, entry), out)
        return out

    def has(self, image: Any) -> bool:
        """Return whether an image has an entry; its content is checked when it is read."""
        path = path_of(image)
        return path is not None and self.entry_of(path).exists()

    def entry_of(self, path: Path) -> Path:
        """Return the path of a scan's entry.

        Raises:
            FileNotFoundError: if the scan does not exist.
        """
        key = scan_key(path)
        return self.folder / key[:2] / f"{key[2:]}.planes"

    def _fill(self, path: Path, entry: Path) -> bytes:
        """Preprocess a scan up to its planes, store them if the disk allows, and return them packed."""
        filler = self.image_processor.fill_planes(path, None, start_whole_hu)
        packed = pack_planes(filler.planes.numpy(), filler.operators.to_grid, filler.window, self.encoding)
        try:
            write_whole(entry, packed)
        except OSError as error:
            self._warn(error)
        return packed

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            warnings.warn(f"{self.folder}: nothing more is kept ({reason}); volumes are preprocessed", stacklevel=2)

    def _read(self, entry: Path, out: GridVolume) -> None:
        try:
            check_regular(entry)
            self._read_packed(entry.read_bytes(), out)
        except (ForeignFileError, IndexError, KeyError, RuntimeError, TypeError) as error:
            raise DamagedEntryError(f"not what this cache writes ({type(error).__name__})") from None

    def _read_packed(self, packed: bytes, out: GridVolume) -> None:
        header, read_plane = open_planes(packed)
        window, weights = (header["window"][0], header["window"][1]), header["to_grid"]
        num_planes = header["planes"]
        to_grid = None if weights is None else operator_of(weights, num_planes)
        size = (num_planes if weights is None else len(weights), *header["shape"])
        try:
            filled = centred(out, size, fill=self.image_processor.value_range[0])
        except ValueError as error:
            raise DamagedEntryError(str(error)) from None
        for index, plane in enumerate(planes_in(filled, num_planes)):
            plane.copy_(self.image_processor.scale(read_plane(index), window))
        fill_grid(filled, to_grid)


def start_whole_hu(scan: ScanToGrid) -> PlaneFiller:
    """Make the filler of a scan's planes in whole HU.

    Raises:
        ValueError: if the scan's window does not fit int16.
    """
    check_window(scan.window)
    planes = torch.empty(scan.operators.num_planes, *scan.operators.size[1:], dtype=torch.int16)
    return PlaneFiller(scan.operators, scan.window, planes, torch.round_)


def check_window(window: Sequence[float]) -> None:
    """Check that a HU window fits the planes' int16.

    Raises:
        ValueError: naming the window.
    """
    low, high = window
    if low < INT16.min or high > INT16.max:
        raise ValueError(f"the cache keeps HU as int16, which the window {low:g} to {high:g} does not fit")


def settings_hash(image_processor: ArgusImageProcessor) -> str:
    """Return a hash of the preprocessing's settings and of the entries' layout, in 16 hexadecimal digits."""
    settings = {name: getattr(image_processor, name) for name in SETTINGS}
    return hashlib.sha256(MAGIC + json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def scan_key(path: Path) -> str:
    """Return a hash of a scan's path, size and time, in 40 hexadecimal digits.

    Raises:
        FileNotFoundError: if the scan does not exist.
    """
    status = path.stat()
    identity = json.dumps([str(path), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(identity.encode()).hexdigest()[:40]


def path_of(image: Any) -> Path | None:
    """Return the file of a path, of a row of `datasets.Nifti`, or of a nibabel image that was read from a file."""
    if isinstance(image, dict):
        image = image.get("path") if image.get("bytes") is None else None
    elif hasattr(image, "get_filename"):
        image = image.get_filename()
    if not isinstance(image, str | os.PathLike):
        return None
    path = Path(image).resolve()
    return path if path.is_file() else None


def pack_planes(
    planes: np.ndarray, to_grid: torch.Tensor | None, window: tuple[float, float], encoding: Encoding
) -> bytes:
    """Pack `(n, H, W)` int16 planes, each separately, with their window and the weights `(D, n)` that make the grid."""
    packed = [encoding.pack(np.ascontiguousarray(plane)) for plane in planes]
    header = {
        "planes": len(packed),
        "shape": planes.shape[1:],
        "lengths": list(map(len, packed)),
        "window": window,
        "to_grid": None if to_grid is None else terms_of(to_grid),
    }
    body = json.dumps(header).encode()
    content = body + b"".join(packed)
    return _LENGTHS.pack(MAGIC, len(body), isal_zlib.crc32(content)) + content


def open_planes(packed: bytes) -> tuple[dict[str, Any], Callable[[int], torch.Tensor]]:
    """Check data from `pack_planes`; return its header and a function that unpacks a plane as float32.

    Raises:
        DamagedEntryError: if it is incomplete or changed.
    """
    import blosc2

    view = memoryview(packed)
    if len(view) < _LENGTHS.size:
        raise DamagedEntryError("cut short")
    magic, length, checksum = _LENGTHS.unpack_from(view)
    content = view[_LENGTHS.size :]
    if magic != MAGIC or isal_zlib.crc32(content) != checksum:
        raise DamagedEntryError("the checksum is wrong")
    try:
        header = json.loads(bytes(content[:length]))
        starts = np.cumsum([length, *header["lengths"]]).tolist()
        num_bytes = prod(header["shape"]) * INT16.dtype.itemsize
        sizes = [blosc2.get_cbuffer_sizes(content[start:stop]) for start, stop in pairwise(starts)]
    except (KeyError, RecursionError, RuntimeError, TypeError, ValueError) as error:
        raise DamagedEntryError(f"not what this cache writes ({type(error).__name__})") from None
    # A plane states its own unpacked size: a larger one would be written past the buffer, or fill the memory.
    if starts[-1] != len(content) or any(size[0] != num_bytes for size in sizes):
        raise DamagedEntryError("its planes are not of the size it says")
    buffer = np.empty(header["shape"], np.int16)

    def read_plane(index: int) -> torch.Tensor:
        blosc2.decompress2(content[starts[index] : starts[index + 1]], dst=buffer)
        return torch.from_numpy(buffer).float()

    return header, read_plane
