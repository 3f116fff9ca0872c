"""Make the NIfTI images that a page shows: the scan in HU, a coarse one of it for 3D, and maps of evidence."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from argus_processing.ct_arrays import Affine
from argus_processing.ct_checks import read_error, reading_nifti
from argus_processing.ct_volume import CTVolume

COARSE_MM = 2.5  # voxels of the scan in 3D; its picture is hardly sharper with finer ones
REDUCED_VOXELS = 12_000_000  # of the scan in planes that the processor draws: 300 x 512 x 512 take it most of a minute
MAP_MM = 4.0  # voxels of a shown map: maps are made on such a grid, and smooth
PART_BYTES = 1 << 20


def scan_image(volume: CTVolume) -> bytes:
    """Return a scan as a NIfTI file of int16 HU without any header value of its own file but the affine."""
    hu = volume.hu if volume.hu.dtype == np.int16 else np.clip(np.rint(volume.hu), -32768, 32767).astype(np.int16)
    return _of_volume(hu, volume.affine)


def coarse_image(volume: CTVolume) -> bytes:
    """Return a scan as `scan_image` does, with the mean of blocks of voxels, of up to 2.5 mm, as voxels."""
    return _mean_image(volume, _steps(volume.hu.shape, volume.spacing_mm, COARSE_MM))


def reduced_image(volume: CTVolume) -> bytes:
    """Return a scan as `scan_image` does, with the mean of blocks of voxels, as `reduced_steps` has them, as voxels."""
    return _mean_image(volume, reduced_steps(volume))


def reduced_steps(volume: CTVolume) -> list[int]:
    """Return how many voxels along (D, H, W) are put together, so that at most `REDUCED_VOXELS` are left."""
    shape, steps = volume.hu.shape, [1, 1, 1]
    while math.prod(size // step for size, step in zip(shape, steps, strict=True)) > REDUCED_VOXELS:
        axis = min(
            (axis for axis in range(3) if steps[axis] < shape[axis]),
            key=lambda axis: steps[axis] * volume.spacing_mm[axis],
        )
        steps[axis] += 1
    return steps


def map_image(path: Path, volume: CTVolume) -> bytes:
    """Return a map of evidence as a NIfTI file of float32 on voxels of about 4 mm, whose peak is 1.

    Args:
        path: the map, in the array of the scan's own file.
        volume: the scan.

    Raises:
        CTReadError: if it is no map, or not one of this scan.
    """
    with reading_nifti(path, "write the evidence again"):
        image = nib.Nifti1Image.from_filename(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
        affine = np.asarray(image.affine, dtype=np.float64)
    if not fits(values.shape, affine, volume) or not np.isfinite(values).all() or not values.max() > 0:
        raise read_error(path, "is no map of this scan", "write the evidence again, or give its scan with --scan")
    return _thinned(values, affine)


def density_image(values: np.ndarray, volume: CTVolume) -> bytes:
    """Return a map `(D, H, W)` at a scan's voxels as `map_image` does."""
    return _thinned(values.transpose(2, 1, 0), volume.affine[:, [2, 1, 0, 3]])


def fits(shape: tuple[int, ...], affine: Affine, volume: CTVolume) -> bool:
    """Return whether an array lies voxel for voxel where a scan does, in any order and direction of the axes."""
    if len(shape) != 3 or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-6:
        return False
    into = np.linalg.inv(affine) @ volume.affine
    corners = np.array([[0, 0, 0, 1], [*(size - 1 for size in volume.hu.shape), 1]]) @ into.T
    ends = np.sort(corners[:, :3], axis=0)
    return bool(np.abs(ends[0]).max() < 0.05 and np.abs(ends[1] - (np.array(shape) - 1)).max() < 0.05)


def parts_of(content: bytes) -> Iterator[bytes]:
    """Yield content in parts, so that a slow network has the time of a part, and not of all, for each."""
    view = memoryview(content)
    for start in range(0, len(view), PART_BYTES):
        yield bytes(view[start : start + PART_BYTES])


def _steps(shape: Sequence[int], spacing: Sequence[float], wanted: float) -> list[int]:
    """Return how many voxels along each axis make one of the wanted size at most."""
    return [min(size, max(1, int(wanted / step))) for size, step in zip(shape, spacing, strict=True)]


def _mean_image(volume: CTVolume, steps: Sequence[int]) -> bytes:
    """Return a scan as `scan_image` does, with the mean of `steps` voxels along (D, H, W) as a voxel."""
    blocks = volume.hu[tuple(slice(0, size - size % step) for size, step in zip(volume.hu.shape, steps, strict=True))]
    shape = [part for size, step in zip(blocks.shape, steps, strict=True) for part in (size // step, step)]
    hu = blocks.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
    affine = volume.affine @ np.diag([*map(float, steps), 1.0])
    affine[:3, 3] = (volume.affine @ [*((step - 1) / 2 for step in steps), 1.0])[:3]
    return _of_volume(np.clip(np.rint(hu), -32768, 32767).astype(np.int16), affine)


def _thinned(values: np.ndarray, affine: Affine) -> bytes:
    """Return every so many voxels of a map, divided by its largest value, as a NIfTI file."""
    steps = _steps(values.shape, np.linalg.norm(affine[:3, :3], axis=0), MAP_MM)
    taken = values[tuple(slice(None, None, step) for step in steps)] / values.max()
    return _nifti(taken, affine @ np.diag([*map(float, steps), 1.0]))


def _of_volume(hu: np.ndarray, affine: Affine) -> bytes:
    """Return HU `(D, H, W)` as a NIfTI file, whose array has columns, rows and slices."""
    return _nifti(hu.transpose(2, 1, 0), affine[:, [2, 1, 0, 3]])


def _nifti(values: np.ndarray, affine: Affine) -> bytes:
    """Return an array with its affine as the bytes of an uncompressed NIfTI file."""
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return image.to_bytes()
