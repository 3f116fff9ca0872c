"""Normalize intensities and crop the field of view for a model's input, each in ways that have a name."""

import numpy as np

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


# A crop returns the part of a scan that is resampled, as slices of (D, H, W).
CROPS = {"none": whole_box, "foreground": foreground_box}


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
