"""Normalize intensities and crop the field of view for a model's input, each in ways that have a name."""

import numpy as np
import numpy.typing as npt

from .ct_arrays import HuVolume
from .scan_types import GridVolume

Box = tuple[slice, slice, slice]


def fixed_window(hu: HuVolume, hu_window: tuple[float, float]) -> tuple[float, float]:
    """Return the HU window of the settings: the same HU has the same value in every scan."""
    return hu_window


def scan_range(hu: HuVolume, hu_window: tuple[float, float]) -> tuple[float, float]:
    """Return the scan's own lowest and highest HU, as M3D and RadFM do; a scan of a single HU becomes all lowest."""
    low, high = float(hu.min()), float(hu.max())
    return low, max(high, low + 1.0)


# A normalization returns the lowest and highest HU that are kept of a scan: (hu, hu_window) -> (low, high).
NORMALIZATIONS = {"hu_window": fixed_window, "min_max": scan_range}


def whole_box(hu: HuVolume) -> Box:
    """Return the box of the whole scan."""
    depth, height, width = hu.shape
    return slice(0, depth), slice(0, height), slice(0, width)


def foreground_box(hu: HuVolume) -> Box:
    """Return the smallest box around all voxels of `(D, H, W)` above the scan's lowest HU, as M3D crops to.

    For a scan without a foreground it is the whole scan.
    """
    above = hu > hu.min()
    box = []
    for axis in range(3):
        used = np.flatnonzero(above.any(axis=tuple(other for other in range(3) if other != axis)))
        if not used.size:
            return whole_box(hu)
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return box[0], box[1], box[2]


# Skin, fat and organs are above it; air, lung, and the foam of tables and clothes are below.
BODY_HU = -200.0
# Through the middle of the trunk the body is far thicker than this part of the rows; shells of tables are thinner.
BODY_THICKNESS = 1 / 16
# A slice, row or column is the body's where its share of such voxels is at least this part of the largest share.
BODY_SHARE = 0.05
SAMPLES = 64  # voxels that are looked at along the other axes, at least: enough for a share


def body_box(hu: HuVolume) -> Box:
    """Return the box around the body in `(D, H, W)`, rows from front to back, without the table under it.

    Cropped to it, a body looks alike wherever it lies in the field of view. A scan without a body is kept whole.
    """
    box = []
    for axis in range(3):
        steps = [1 if other in (1, axis) else max(1, side // SAMPLES) for other, side in enumerate(hu.shape)]
        body = hu[:: steps[0], :, :: steps[2]] > BODY_HU
        body = in_thick_runs(body, max(2, round(hu.shape[1] * BODY_THICKNESS)))
        share = body.mean(axis=tuple(other for other in range(3) if other != axis))
        used = np.flatnonzero(share > BODY_SHARE * share.max())
        if not used.size:
            return whole_box(hu)
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return box[0], box[1], box[2]


def in_thick_runs(mask: npt.NDArray[np.bool_], length: int) -> npt.NDArray[np.bool_]:
    """Keep what lies in runs of at least `length` along the rows of `(D, H, W)`: an opening by a line."""
    if length > mask.shape[1]:
        return np.zeros_like(mask)
    whole_runs = _sums_of_rows(mask, length) == length
    edges = np.zeros((mask.shape[0], length - 1, mask.shape[2]), dtype=bool)
    return _sums_of_rows(np.concatenate([edges, whole_runs, edges], axis=1), length) > 0


def _sums_of_rows(mask: npt.NDArray[np.bool_], length: int) -> npt.NDArray[np.int32]:
    """Count the true voxels of every `length` rows that follow each other."""
    sums = np.cumsum(mask, axis=1, dtype=np.int32)
    first = np.zeros_like(sums[:, :1])
    return sums[:, length - 1 :] - np.concatenate([first, sums[:, :-length]], axis=1)


# A crop returns the part of a scan that is resampled, as slices of (D, H, W).
CROPS = {"none": whole_box, "foreground": foreground_box, "body": body_box}


def centred(grid: GridVolume, size: tuple[int, int, int], fill: float) -> GridVolume:
    """Return a centred view of `size` of a grid `(D, H, W)`; the rest of the grid is filled with `fill`.

    Raises:
        ValueError: if the size is larger than the grid.
    """
    if size == tuple(grid.shape):
        return grid
    if any(inner > side for inner, side in zip(size, grid.shape, strict=True)):
        raise ValueError(f"{size} does not fit in a grid of {tuple(grid.shape)}")
    grid.fill_(fill)
    starts = [(side - inner) // 2 for inner, side in zip(size, grid.shape, strict=True)]
    return grid[tuple(slice(start, start + inner) for start, inner in zip(starts, size, strict=True))]
