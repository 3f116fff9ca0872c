"""Write phantoms as NIfTI files, with the variety of orientation, spacing, type and scaling of real ones."""

import gzip
import hashlib
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..file_kinds import GZIP_MAGIC
from ..storage.whole_files import write_whole
from .scans import Phantom, make_phantom, stream

PHANTOM_VERSION = 1  # part of every id: raise it when the same seed and labels give another volume

# In the header's description, the same in every phantom.
MARK = b"argus phantom"
_DESCRIPTION = slice(148, 228)  # of a NIfTI-1 header
_HEADER_BYTES, _PACKED_BYTES = 348, 4096

_CANONICAL = nib.orientations.axcodes2ornt(("L", "P", "S"))  # of the (W, H, D) array


@dataclass(frozen=True)
class FileStyle:
    """Format in which a phantom's voxels are stored.

    Attributes:
        axes: directions of the three stored axes, such as ("L", "P", "S").
        dtype: int16, uint16 or float32.
        slope: factor from stored values to HU.
        intercept: value added after that.
    """

    axes: tuple[str, str, str]
    dtype: str
    slope: float
    intercept: float


_AXES = (("L", "P", "S"), ("R", "A", "S"), ("L", "A", "S"), ("R", "P", "S"), ("L", "P", "I"), ("P", "S", "L"))
_AXES_SHARE = (0.4, 0.25, 0.15, 0.08, 0.06, 0.06)
_STORAGE = (
    ("int16", 1.0, 0.0),
    ("int16", 1.0, -1024.0),
    ("uint16", 1.0, -1024.0),
    ("int16", 0.5, 0.0),
    ("float32", 1.0, 0.0),
)
_STORAGE_SHARE = (0.5, 0.2, 0.2, 0.06, 0.04)


def draw_file_style(rng: np.random.Generator) -> FileStyle:
    """Draw the format of a file; common formats are drawn more often than rare ones."""
    axes = _AXES[int(rng.choice(len(_AXES), p=_AXES_SHARE))]
    dtype, slope, intercept = _STORAGE[int(rng.choice(len(_STORAGE), p=_STORAGE_SHARE))]
    return FileStyle(axes, dtype, slope, intercept)


def scan_id_of(seed: int, purpose: str = "") -> str:
    """Return the opaque id of a phantom: a hash, so that neither name nor order reveals its content."""
    return hashlib.sha256(f"argus phantom {PHANTOM_VERSION} {purpose} {seed}".encode()).hexdigest()[:16]


def nifti_of(phantom: Phantom, style: FileStyle | None = None) -> nib.Nifti1Image:
    """Return the NIfTI image of a phantom, stored in a style. Default: a style drawn from the seed."""
    style = style or draw_file_style(stream(phantom.seed, "file"))
    data, affine = _oriented(phantom, style.axes)
    stored = np.rint((data - style.intercept) / style.slope) if style.dtype != "float32" else data
    image = nib.Nifti1Image(stored.astype(style.dtype), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = MARK
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return image


def is_marked_phantom(path: Path) -> bool:
    """Return whether a NIfTI file says in its header that it is a phantom; a folder of slices never does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.read(_PACKED_BYTES)
    if header.startswith(GZIP_MAGIC):
        try:
            header = zlib.decompressobj(wbits=31).decompress(header, _HEADER_BYTES)
        except zlib.error:
            return False
    return header[_DESCRIPTION].rstrip(b"\0") == MARK


def _oriented(phantom: Phantom, axes: tuple[str, str, str]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Reorder a phantom's voxels to other axes; return them with the matching affine."""
    data = phantom.hu.transpose(2, 1, 0)  # stored order (W, H, D): toward left, back, head
    d, h, w = phantom.spacing_mm
    affine = np.diag([-w, -h, d, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(data.shape) - 1) / 2)
    turn = nib.orientations.ornt_transform(_CANONICAL, nib.orientations.axcodes2ornt(axes))
    affine = affine @ nib.orientations.inv_ornt_aff(turn, data.shape)
    return nib.orientations.apply_orientation(data, turn), affine


def write_nifti(phantom: Phantom, path: Path, style: FileStyle | None = None) -> None:
    """Write a phantom to `path` (.nii.gz), with the same bytes every time, whole or not at all."""
    style = style or draw_file_style(stream(phantom.seed, "file"))
    image = nifti_of(phantom, style)
    content = bytearray(image.to_bytes())
    scaling = np.array([style.slope, style.intercept], dtype="<f4")
    content[112:120] = scaling.tobytes()  # scl_slope and scl_inter: nibabel would choose its own values
    write_whole(path, gzip.compress(bytes(content), compresslevel=1, mtime=0))


def write_phantom(
    folder: Path | str,
    seed: int,
    spacing_mm: Sequence[float] | None = None,
    name: str | None = None,
    labels: Collection[str] | None = None,
) -> Phantom:
    """Make a phantom and write it as `<folder>/<name>.nii.gz`. Default name: its opaque id."""
    phantom = make_phantom(seed, spacing_mm, labels=labels)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_nifti(phantom, folder / f"{name or scan_id_of(seed)}.nii.gz")
    return phantom
