"""Check size, geometry and Hounsfield values of a CT volume before anything is computed from it.

Every refusal is a `CTReadError`: one line with the file, the cause and what to do. Errors never quote header values
of a patient.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .ct_arrays import Affine, HuVolume
from .ct_counts import ends_of
from .ct_histogram import why_not_hu

if sys.platform != "win32":
    from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

INT16 = np.iinfo(np.int16)

MIN_SIDE = 8  # voxels, in at least two directions
MIN_SLICES = 3  # voxels, in every direction
MAX_SIDE = 8192  # voxels
# The largest known real volumes: 1024 x 1024 x 260 in CT-RATE, whole bodies of 512 x 512 x 2000. The limit allows
# 1024 x 1024 x 640 as int16 or 1024 x 1024 x 320 as float32, which is finer than any model's grid.
MAX_VOLUME_BYTES = 1280 * 2**20
MEMORY_SHARE = 0.5  # of the free memory, for one volume: preprocessing and other reads need the rest
CGROUP = Path("/sys/fs/cgroup")
SPACING_LIMITS_MM = (0.05, 20.0)
EXTENT_LIMITS_MM = (8.0, 3000.0)  # of the longest side
LARGEST_NUMBER = 1e9  # of an affine: far beyond any real position, and its square is still finite
MAX_AXIS_ANGLE_DEG = 40.0  # beyond this the nearest patient axis is not clear
OBLIQUE_WARNING_DEG = 5.0
SHEAR_WARNING_DEG = 1.0

# Metal on an extended scale stays below this: it is read, as float32 where int16 is too small, and later clipped.
MAX_ABSOLUTE_HU = 70_000.0
METAL_HU = 32_767.0  # of an extended scale; brighter values at the picture's border are padding
STRAY_VOXELS = 2
WRAPPED_HU = (62_000.0, 66_000.0)  # 65,535 minus the noise of air, with and without an intercept
WRAPPED_VALUES = 5  # different values; saturated metal has one
BRIGHT_BORDER = f"values above {METAL_HU:,.0f} HU reach the picture's border: padding that the header does not state"


class CTReadError(ValueError):
    """Error of a scan that cannot be read: one line with the file, the cause and what to do."""


def read_error(name: object, cause: str, advice: str) -> CTReadError:
    """Build the error for a scan called `name`, always on one line."""
    return CTReadError(" ".join(f"{name}: {cause}; {advice}".split()))


@contextmanager
def reading_nifti(path: Path, advice: str) -> Iterator[None]:
    """Turn whatever nibabel raises for damaged bytes, while the block reads a file, into an error of one line.

    Raises:
        CTReadError: if the block raises any other error.
    """
    try:
        yield
    except (CTReadError, MemoryError):
        raise
    except FileNotFoundError:
        raise read_error(path, "is not there", advice) from None
    except Exception:
        raise read_error(path, "is no NIfTI file, or a damaged one", advice) from None


def binary_mask(stored: np.ndarray, path: Path) -> np.ndarray:
    """Return a stored mask as bool; it holds 0 and one other number.

    Raises:
        CTReadError: if it holds more, such as probabilities, several labels, or NaN.
    """
    inside = stored != 0
    other = stored[inside][:1]
    if not np.isfinite(other).all() or not (stored[inside] == other).all():
        raise read_error(path, "holds more than 0 and one other number", "give a mask with 1 where the finding is")
    return inside


def spatial_shape(shape: tuple[int, ...], name: object) -> tuple[int, int, int]:
    """Return the three spatial sides of an image, without trailing axes of length one.

    Raises:
        CTReadError: if the rest is not 3D, or is too small or too large to be a CT volume.
    """
    sides = [int(side) for side in shape]
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    text = " x ".join(str(side) for side in shape)
    if len(sides) > 3:
        raise read_error(name, f"the image is {len(sides)}D ({text}), not one 3D volume", "save one time point as 3D")
    if len(sides) < 3 or min(sides) == 1:
        raise read_error(name, f"the image is 2D ({text}), not a 3D volume", "give the whole scan, not one slice")
    if min(sides) < MIN_SLICES or sorted(sides)[1] < MIN_SIDE:
        least = f"at least {MIN_SIDE} x {MIN_SIDE} voxels and {MIN_SLICES} slices"
        raise read_error(name, f"the image is too small ({text})", f"give a volume of {least}")
    if max(sides) > MAX_SIDE:
        raise read_error(name, f"the image is too large ({text})", f"give a volume of at most {MAX_SIDE} voxels a side")
    return sides[0], sides[1], sides[2]


def check_memory(shape: tuple[int, ...], bytes_per_voxel: int, name: object) -> None:
    """Check that a volume is not too large for a model's grid or the free memory, before memory is allocated for it.

    Args:
        shape: the sides that the header states, in any integer type; their product cannot overflow here.
        bytes_per_voxel: most bytes of a voxel in memory at once: 2 for int16 Hounsfield units, 4 for float32.
        name: name of the scan in errors.

    Raises:
        CTReadError: above `MAX_VOLUME_BYTES`, or above `MEMORY_SHARE` of the memory that is free.
    """
    needed = math.prod(int(side) for side in shape) * bytes_per_voxel
    volume = f"the volume ({' x '.join(str(side) for side in shape)}) would take {needed >> 20:,} MiB"
    if needed > MAX_VOLUME_BYTES:
        cause = f"{volume}, more than the {MAX_VOLUME_BYTES >> 20:,} allowed"
        raise read_error(name, cause, "resample it to coarser voxels, or cut it to the body part of interest")
    free = free_memory()
    if needed > MEMORY_SHARE * free:
        cause = f"{volume}, and {free / 2**20:,.0f} MiB of memory are free"
        raise read_error(name, cause, "read fewer scans at once, or use a machine with more memory")


def free_memory() -> float:
    """Return the bytes that this process may still use, by machine, control group and process limit."""
    free = [_meminfo_available(), _cgroup_free(), _address_space_free()]
    return max(0.0, min(free))


def _meminfo_available() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return math.inf


def _cgroup_free() -> float:
    """Return the limit of the control group (version 2) minus its use, not counting file cache that it can drop."""
    try:
        limit, used = (float((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return limit - used + float(stat.get("inactive_file", 0))
    except (OSError, ValueError):  # "max" is not a number and means no limit
        return math.inf


def _address_space_free() -> float:
    if sys.platform == "win32" or (limit := getrlimit(RLIMIT_AS)[0]) == RLIM_INFINITY:
        return math.inf
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return float(limit - pages * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        return float(limit)


def check_dtype(dtype: np.dtype, name: object) -> None:
    """Check that voxels are plain real numbers, not RGB, complex or boolean."""
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        kind = "colour (RGB)" if dtype.fields else str(dtype)
        raise read_error(name, f"the voxels are {kind}, not Hounsfield units", "give a CT volume of one number a voxel")


def is_usable(affine: np.ndarray) -> bool:
    """Return whether an affine's numbers are finite and small enough to compute with."""
    return bool((np.abs(affine) < LARGEST_NUMBER).all())


def check_affine(affine: Affine, shape: tuple[int, int, int], name: object) -> tuple[str, ...]:
    """Check that an affine places the volume in the patient, and warn of a tilted one.

    Args:
        affine: 4x4, voxel index to RAS+ mm.
        shape: the volume's sides, in the affine's axis order.

    Returns:
        The warnings, for oblique and for sheared axes (gantry tilt).
    """
    advice = "convert the scan again from its DICOM series"
    if affine.shape != (4, 4) or not is_usable(affine):
        raise read_error(name, "the affine is not a 4x4 matrix of finite numbers", advice)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = SPACING_LIMITS_MM
    if spacing.min() < low or spacing.max() > high:
        text = " x ".join(f"{step:.4g}" for step in spacing)
        cause = f"the voxel spacing is {text} mm, outside {low:g} to {high:g} mm"
        raise read_error(name, cause, "check the file's spacing and its unit")
    extent = float((spacing * shape).max())
    if not EXTENT_LIMITS_MM[0] <= extent <= EXTENT_LIMITS_MM[1]:
        raise read_error(name, f"the longest side measures {extent:.4g} mm", "check the file's spacing and its unit")
    return _check_directions(affine[:3, :3] / spacing, name)


def _check_directions(directions: np.ndarray, name: object) -> tuple[str, ...]:
    """Check that three unit columns are independent and that each is near a different patient axis."""
    advice = "convert the scan again from its DICOM series"
    if abs(np.linalg.det(directions)) < 0.1:
        raise read_error(name, "the affine is singular: two axes point the same way", advice)
    cosines = np.abs(directions)
    angle = float(np.degrees(np.arccos(np.clip(cosines.max(axis=0), 0, 1))).max())
    if len(set(cosines.argmax(axis=0).tolist())) < 3 or angle > MAX_AXIS_ANGLE_DEG:
        cause = f"the axes are ambiguous ({angle:.0f} degrees off the patient's), so the orientation cannot be told"
        raise read_error(name, cause, "resample the scan to transverse slices")
    overlap = np.abs(directions.T @ directions - np.eye(3)).max()
    shear = float(np.degrees(np.arcsin(np.clip(overlap, 0, 1))))
    if shear > SHEAR_WARNING_DEG:
        return (f"the slices are sheared by {shear:.1f} degrees (gantry tilt); they are stacked as if they were not",)
    if angle > OBLIQUE_WARNING_DEG:
        return (f"the axes are oblique by {angle:.1f} degrees; each is taken as the nearest patient axis",)
    return ()


def rescale_to_hu(raw: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> np.ndarray:
    """Apply a rescale once: int16 where slope and intercept are whole and the result fits, else float32.

    May overwrite `raw`, whose memory is reused if possible. Never makes a float64 volume.
    """
    slope, intercept = float(slope), float(intercept)
    if raw.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = [int(end) * int(slope) + int(intercept) for end in (raw.min(), raw.max())]
        if INT16.min <= min(ends) and max(ends) <= INT16.max:
            return _rescale_int16(raw, int(slope), int(intercept))
    with np.errstate(over="ignore", invalid="ignore"):  # check_hu refuses infinities
        hu = raw.astype(np.float32, copy=False)
        if (slope, intercept) != (1.0, 0.0):
            hu = hu if hu.flags.writeable else hu.copy()
            hu *= np.float32(slope)
            hu += np.float32(intercept)
    return hu


def _rescale_int16(raw: np.ndarray, slope: int, intercept: int) -> np.ndarray:
    """Rescale modulo 2^16, which is exact because the caller knows that the result fits."""
    native = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    hu = native.view(np.int16) if native.dtype == np.uint16 else native.astype(np.int16, copy=False)
    if (slope, intercept) != (1, 0):
        hu = hu if hu.flags.writeable else hu.copy()
        hu *= np.int16(_wrap(slope))
        hu += np.int16(_wrap(intercept))
    return hu


def _wrap(value: int) -> int:
    return (value + 2**15) % 2**16 - 2**15


def check_hu(hu: HuVolume, name: object, ends: tuple[float, float] | None = None) -> None:
    """Check that values are Hounsfield units of a body: air is -1000, water is 0.

    Padding below air (-1024, -2000, -3024 and similar values) and metal are normal and pass. Each error names a cause.

    Args:
        hu: the volume, any order of axes.
        name: name of the scan in errors.
        ends: the volume's lowest and highest value, if the reader has found them.

    Raises:
        CTReadError: if they are not finite, or the histogram is not that of a CT.
    """
    low, high = ends_of(hu) if ends is None else ends
    if not (np.isfinite(low) and np.isfinite(high)):
        raise read_error(name, "some voxels are NaN or infinite", "convert the scan again from its source")
    span = f"{low:.6g} to {high:.6g}"
    if max(-low, high) > MAX_ABSOLUTE_HU:
        raise read_error(name, f"the values run from {span}, which no tissue has", "check slope and intercept")
    if high > WRAPPED_HU[0] and _is_wrapped(hu):
        cause = f"numbers below 0 were wrapped to the top of 16 bits ({high:.6g})"
        raise read_error(name, cause, "convert the scan again to signed numbers")
    refusal = why_not_hu(hu, (low, high))
    if refusal is not None:
        raise read_error(name, *refusal)


def _is_wrapped(hu: HuVolume) -> bool:
    """Return whether nearly all values above metal lie just below the top of 16 bits, and are many different ones."""
    bright = hu[hu > METAL_HU]
    wrapped = bright[(bright > WRAPPED_HU[0]) & (bright < WRAPPED_HU[1])]
    return len(wrapped) > 0.9 * len(bright) and len(np.unique(wrapped)) >= WRAPPED_VALUES


def has_bright_border(hu: HuVolume) -> bool:
    """Return whether `(slice, row, column)` HU above metal lie along a first or last row or column."""
    if hu.dtype != np.float32:
        return False
    borders = (hu[:, 0], hu[:, -1], hu[:, :, 0], hu[:, :, -1])
    return max(int(np.count_nonzero(border > METAL_HU)) for border in borders) > STRAY_VOXELS
