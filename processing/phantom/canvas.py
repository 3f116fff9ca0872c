"""Draw soft-edged shapes on a volume, in millimetres, on any grid."""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]

AERATED_HU = -600.0  # lung above this value is filled with something
SIDE_SIGN = {"right": -1.0, "left": 1.0}  # x grows toward the patient's left: column 0 is the patient's right


def as_point(values: Iterable[float]) -> Point:
    """Return three numbers as (z, y, x)."""
    z, y, x = values
    return z, y, x


@dataclass(frozen=True)
class VoxelGrid:
    """A voxel grid centred on the origin: shape and spacing along (D, H, W)."""

    shape: tuple[int, int, int]
    spacing_mm: Point

    def axis(self, dim: int) -> NDArray[np.float32]:
        """Return the voxel centres along one axis in mm; the middle of the volume is 0."""
        index = np.arange(self.shape[dim], dtype=np.float32)
        return (index - (self.shape[dim] - 1) / 2) * np.float32(self.spacing_mm[dim])


class Canvas:
    """A `(D, H, W)` float32 volume of air in HU, drawn on with points given as (z, y, x) in mm.

    z grows toward the head, y toward the back, x toward the patient's left.
    Once the anatomy is drawn, `lungs` holds a boolean mask of each lung's aerated voxels and `body` the `(H, W)`
    share of the body in each column of voxels.
    """

    def __init__(self, grid: VoxelGrid) -> None:
        self.grid = grid
        self.hu = np.full(grid.shape, -1000.0, dtype=np.float32)
        self.axes = grid.axis(0), grid.axis(1), grid.axis(2)
        self._centres = [axis.tolist() for axis in self.axes]  # bisecting a list of some dozens is faster than an array
        self.edge_mm = float(np.mean(grid.spacing_mm))
        self.lungs: dict[str, NDArray[np.bool_]] = {}
        self.body = np.ones(grid.shape[1:], dtype=np.float32)

    def coordinates(self, box: Box | None = None) -> tuple[NDArray, NDArray, NDArray]:
        """Return the three axes in mm, cut to a box and shaped to broadcast against it."""
        z, y, x = self.axes if box is None else (axis[part] for axis, part in zip(self.axes, box, strict=True))
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def box(self, low: Point, high: Point) -> Box:
        """Return the index box that holds every voxel between two corners, with a margin of one edge width."""
        parts = []
        for centres, lowest, highest in zip(self._centres, low, high, strict=True):
            start = bisect_left(centres, lowest - self.edge_mm)
            parts.append(slice(start, max(start, bisect_left(centres, highest + self.edge_mm))))
        depth, rows, columns = parts
        return depth, rows, columns

    def box_around(self, center: Point, reach: Point) -> Box:
        """Return the index box that holds every voxel up to `reach` from a point, along each axis."""
        low, high = (as_point(c + sign * r for c, r in zip(center, reach, strict=True)) for sign in (-1, 1))
        return self.box(low, high)

    def blend(self, box: Box, weight: NDArray, hu: float, within: NDArray[np.bool_] | None = None) -> None:
        """Mix a value into a box: weight 0 keeps the old value, weight 1 replaces it."""
        if within is not None:
            weight = weight * within[box]
        target = self.hu[box]
        target += weight * (np.float32(hu) - target)

    def soften(self, distance_mm: NDArray) -> NDArray:
        """Turn a signed distance to a surface (inside is positive) into a weight, one voxel of blur wide."""
        weight = distance_mm * np.float32(1 / self.edge_mm)
        weight += np.float32(0.5)
        return np.clip(weight, 0, 1, out=weight)

    def ellipsoid(
        self,
        center: Point,
        radii: Point,
        hu: float,
        within: NDArray[np.bool_] | None = None,
        blur: float = 1.0,
    ) -> None:
        """Draw an ellipsoid along the axes; `blur` widens its edge, for hazy borders."""
        box = self.box_around(center, radii)
        squares = [
            ((axis - np.float32(c)) / np.float32(r)) ** 2
            for axis, c, r in zip(self.coordinates(box), center, radii, strict=True)
        ]
        radius = np.sqrt(squares[0] + squares[1] + squares[2])
        self.blend(box, self.soften((1 - radius) * np.float32(min(radii) / blur)), hu, within)

    def capsule(
        self, start: Point, end: Point, radius: float, hu: float, within: NDArray[np.bool_] | None = None
    ) -> None:
        """Draw a straight tube with round ends."""
        low = as_point(min(a, b) - radius for a, b in zip(start, end, strict=True))
        high = as_point(max(a, b) + radius for a, b in zip(start, end, strict=True))
        box = self.box(low, high)
        along = [b - a for a, b in zip(start, end, strict=True)]
        length = max(sum(step * step for step in along), 1e-6)
        offsets = [axis - np.float32(a) for axis, a in zip(self.coordinates(box), start, strict=True)]
        share = sum(offset * np.float32(step / length) for offset, step in zip(offsets, along, strict=True))
        share = np.clip(share, 0, 1)
        squares = [(offset - share * np.float32(step)) ** 2 for offset, step in zip(offsets, along, strict=True)]
        self.blend(box, self.soften(np.float32(radius) - np.sqrt(sum(squares))), hu, within)

    def slab(self, center: Point, half_size: Point, hu: float) -> None:
        """Draw a block with its faces along the axes."""
        box = self.box_around(center, half_size)
        distances = [
            np.float32(half) - np.abs(axis - np.float32(c))
            for axis, c, half in zip(self.coordinates(box), center, half_size, strict=True)
        ]
        nearest = np.minimum(np.minimum(distances[0], distances[1]), distances[2])
        self.blend(box, self.soften(nearest), hu)

    def is_aerated(self, side: str, point: Point) -> bool:
        """Return whether a point lies in a lung's voxels that no finding has filled yet."""
        index = []
        for axis, value, step in zip(self.axes, point, self.grid.spacing_mm, strict=True):
            place = math.floor((value - float(axis[0])) / step + 0.5)
            if not 0 <= place < len(axis):
                return False
            index.append(place)
        return bool(self.lungs[side][tuple(index)] and self.hu[tuple(index)] < AERATED_HU)

    def refresh_lungs(self, highest_hu: float = AERATED_HU) -> None:
        """Remove filled voxels from the lung masks."""
        aerated = self.hu < highest_hu
        for mask in self.lungs.values():
            mask &= aerated
