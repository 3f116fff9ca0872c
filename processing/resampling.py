"""Resample a CT to the model's grid with one linear operator per axis.

Linear interpolation along an axis is a matrix, so two interpolations in a row are one matrix too. Voxels are areas:
a sample's centre is at half a voxel (torch's `align_corners=False`), and the field of view does not change.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from .ct_arrays import HuVolume

# Rows of an operator's band: enough for an efficient matrix product, few enough that most entries are not zero.
BAND_ROWS = 32
BAND_SLICES = 16


def linear_operator(num_in: int, num_out: int) -> torch.Tensor:
    """Compute the matrix `(num_out, num_in)` float32 of linear interpolation from `num_in` to `num_out` samples.

    Same result as `torch.nn.functional.interpolate(..., size=num_out, mode="linear", align_corners=False)`.
    """
    centre = (torch.arange(num_out, dtype=torch.float64) + 0.5) * (num_in / num_out) - 0.5
    centre = centre.clamp(min=0.0)
    below = centre.floor().long().clamp(max=num_in - 1)
    above = (below + 1).clamp(max=num_in - 1)
    share = centre - below
    operator = torch.zeros(num_out, num_in, dtype=torch.float64)
    rows = torch.arange(num_out)
    operator.index_put_((rows, below), 1.0 - share, accumulate=True)
    operator.index_put_((rows, above), share, accumulate=True)
    return operator.float()


def antialiased_operator(num_in: int, num_out: int) -> torch.Tensor:
    """Compute the matrix `(num_out, num_in)` float32 of interpolation with a triangle as wide as the coarser sampling.

    It is linear interpolation if the grid gets finer; if it gets coarser, small objects are not lost between samples.
    Same result as torch's `interpolate(..., antialias=True)`.
    """
    scale = num_in / num_out
    width = max(scale, 1.0)
    centre = (torch.arange(num_out, dtype=torch.float64) + 0.5) * scale
    sample = torch.arange(num_in, dtype=torch.float64) + 0.5
    operator = (1.0 - (sample[None] - centre[:, None]).abs() / width).clamp(min=0.0)
    return (operator / operator.sum(dim=1, keepdim=True)).float()


def spaced_size(num_in: int, spacing_mm: float, target_mm: float) -> int:
    """Return the number of samples at `target_mm` that cover `num_in` voxels of `spacing_mm`, at least one."""
    return max(1, round(num_in * spacing_mm / target_mm))


def paper_operators(num_in: int, spacing_mm: float, target_mm: float, num_out: int) -> list[torch.Tensor]:
    """Return operators of the paper's two steps along one axis: to the target spacing, to the grid (section 3.2)."""
    num_spaced = spaced_size(num_in, spacing_mm, target_mm)
    return [linear_operator(num_in, num_spaced), linear_operator(num_spaced, num_out)]


def direct_operators(num_in: int, spacing_mm: float, target_mm: float, num_out: int) -> list[torch.Tensor]:
    """Return the operator straight to the grid along one axis, anti-aliased; the target spacing is not used."""
    return [antialiased_operator(num_in, num_out)]


def crop_or_pad_operators(num_in: int, spacing_mm: float, target_mm: float, num_out: int) -> list[torch.Tensor]:
    """Return the operator to the target spacing along one axis, cropped about its centre to at most `num_out` samples.

    It has fewer samples if the scan is shorter; padding is done by the caller.
    Source: CT2Rep's preprocessing.
    """
    num_spaced = spaced_size(num_in, spacing_mm, target_mm)
    start = max((num_spaced - num_out) // 2, 0)
    return [linear_operator(num_in, num_spaced)[start : start + num_out]]


RESAMPLINGS = {"paper": paper_operators, "direct": direct_operators, "crop_or_pad": crop_or_pad_operators}


def compose(operators: list[torch.Tensor]) -> torch.Tensor:
    """Multiply operators that are applied one after the other to one matrix."""
    product = operators[0]
    for operator in operators[1:]:
        product = operator @ product
    return product


@dataclass(frozen=True)
class GridOperators:
    """The operators that convert one scan's voxels to a model's grid.

    Attributes:
        to_slices: `(n, D)` along depth, to the coarsest of its samplings, so that few slices are resampled in plane.
        rows: `(H_out, H)`.
        columns: `(W_out, W)`.
        to_grid: `(D_out, n)` along depth, from there to the grid; None if `to_slices` leads to the grid already.
    """

    to_slices: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    to_grid: torch.Tensor | None

    @property
    def num_planes(self) -> int:
        """Return the number of planes between the two steps along depth."""
        return self.to_slices.shape[0]

    @property
    def size(self) -> tuple[int, int, int]:
        """Return the size `(D_out, H_out, W_out)` of the result: the whole grid, or less if the scan must be padded."""
        along_depth = self.to_slices if self.to_grid is None else self.to_grid
        return along_depth.shape[0], self.rows.shape[0], self.columns.shape[0]


def grid_operators(
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    grid: Sequence[int],
    target_spacing_mm: Sequence[float],
    resampling: str,
) -> GridOperators:
    """Make the operators from a scan of `shape` and `spacing_mm` to `grid`, all in the order (D, H, W).

    Raises:
        ValueError: if the resampling is unknown.
    """
    if resampling not in RESAMPLINGS:
        raise ValueError(f"unknown resampling {resampling!r}; known: {', '.join(RESAMPLINGS)}")
    make = RESAMPLINGS[resampling]
    depth, rows, columns = (make(*axis) for axis in zip(shape, spacing_mm, target_spacing_mm, grid, strict=True))
    narrow = min(range(len(depth)), key=lambda step: depth[step].shape[0]) + 1
    to_grid = compose(depth[narrow:]) if narrow < len(depth) else None
    return GridOperators(compose(depth[:narrow]), compose(rows), compose(columns), to_grid)


@dataclass(frozen=True)
class Band:
    """Some rows of an operator, with only those columns where they are not all zero.

    Attributes:
        rows, columns: where they are in the operator.
        weights: the operator there.
    """

    rows: slice
    columns: slice
    weights: torch.Tensor


def bands_of(operator: torch.Tensor, num_rows: int) -> list[Band]:
    """Cut an operator into bands of at most `num_rows` rows: a row of it has a few entries, side by side."""
    bands = []
    for start in range(0, operator.shape[0], num_rows):
        part = operator[start : start + num_rows]
        used = part.any(dim=0).nonzero().flatten()
        columns = slice(int(used[0]), int(used[-1]) + 1)
        bands.append(Band(slice(start, start + part.shape[0]), columns, part[:, columns].contiguous()))
    return bands


def terms_of(operator: torch.Tensor) -> list[list[tuple[int, float]]]:
    """Return for each row of an operator the columns that are not zero, in rising order, with their weights."""
    terms: list[list[tuple[int, float]]] = [[] for _ in operator]
    for (row, column), weight in zip(operator.nonzero().tolist(), operator[operator != 0].tolist(), strict=True):
        terms[row].append((column, weight))
    return terms


def operator_of(terms: Sequence[Sequence[tuple[int, float]]], num_columns: int) -> torch.Tensor:
    """Return the operator `(len(terms), num_columns)` that `terms_of` took apart."""
    entries = [(row, column, weight) for row, own in enumerate(terms) for column, weight in own]
    rows, columns = [entry[0] for entry in entries], [entry[1] for entry in entries]
    operator = torch.zeros(len(terms), num_columns)
    operator[rows, columns] = torch.tensor([entry[2] for entry in entries])
    return operator


class PlaneFiller:
    """Resampler of a scan in its planes, and along depth as far as `to_slices` goes, while its slices arrive.

    Each plane is made in the same way, from the same slices, whenever they come: the result is the same to the bit.

    Args:
        operators: the resampling.
        window: lowest and highest HU that are kept. Clipping comes first: interpolation would spread the values of
            unclipped metal or padding to neighbours.
        planes: `(n, H_out, W_out)`, filled by `add`; of any type.
        finish: what is done to a plane of float32 HU before it is stored; it may change it in place.

    Raises:
        ValueError: if the window does not rise from low to high.
    """

    def __init__(
        self,
        operators: GridOperators,
        window: tuple[float, float],
        planes: torch.Tensor,
        finish: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        low, high = window
        if not low < high:
            raise ValueError(f"HU window must rise from low to high, got {window}")
        self.operators, self.window, self.planes = operators, window, planes
        self._finish = finish
        self._sources = dict(enumerate(terms_of(operators.to_slices)))  # of the planes that are not filled yet
        self._rows = bands_of(operators.rows, BAND_ROWS)
        self._columns = bands_of(operators.columns, BAND_ROWS)
        (height_out, height), (width_out, width) = operators.rows.shape, operators.columns.shape
        self._slice, self._combined = torch.empty(height, width), torch.empty(height, width)
        self._narrow, self._plane = torch.empty(height, width_out), torch.empty(height_out, width_out)

    def add(self, hu: HuVolume, arrived: range) -> None:
        """Fill the planes that need none but the slices `arrived` of `hu` `(D, H, W)`, and were not filled before."""
        ready = [plane for plane, terms in self._sources.items() if terms[0][0] in arrived and terms[-1][0] in arrived]
        if not ready:
            return
        # A turned scan may be a view with reversed rows or columns. Few planes are turned faster than many slices.
        turned = tuple(axis for axis in (1, 2) if hu.strides[axis] < 0)
        as_stored = np.flip(hu, turned)
        for plane in ready:
            combined = self._combine(as_stored, self._sources.pop(plane))
            upright = combined.flip([axis - 1 for axis in turned]) if turned else combined
            self.planes[plane] = self._finish(self._in_plane(upright))

    def _combine(self, hu: HuVolume, terms: list[tuple[int, float]]) -> torch.Tensor:
        """Return a weighted sum of clipped slices; slices without weight are not read."""
        for number, (index, weight) in enumerate(terms):
            np.copyto(self._slice.numpy(), hu[index])
            clipped = self._slice.clamp_(*self.window)
            if number:
                self._combined.add_(clipped, alpha=weight)
            else:
                torch.mul(clipped, weight, out=self._combined)
        return self._combined

    def _in_plane(self, hu: torch.Tensor) -> torch.Tensor:
        for band in self._columns:
            torch.mm(hu[:, band.columns], band.weights.T, out=self._narrow[:, band.rows])
        for band in self._rows:
            torch.mm(band.weights, self._narrow[band.columns], out=self._plane[band.rows])
        return self._plane


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in the calling thread alone.

    While a scan is read, the other core inflates it; threads that share a core would wait for each other at every step.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def planes_in(grid: torch.Tensor, num_planes: int) -> torch.Tensor:
    """Return the end of a grid `(D, H, W)`, where a scan's planes are stored until `fill_grid`."""
    return grid[grid.shape[0] - num_planes :]


def fill_grid(grid: torch.Tensor, to_grid: torch.Tensor | None) -> None:
    """Fill a grid `(D, H, W)` by `(D, n)` from the planes at its end, n at most D; None if they are the grid."""
    if to_grid is None:
        return
    planes = planes_in(grid, to_grid.shape[1])
    # Slice d needs planes that are stored at or after d, so a band overwrites none that a later one needs.
    for band in bands_of(to_grid, BAND_SLICES):
        sources = planes[band.columns].clone().flatten(1)
        torch.mm(band.weights, sources, out=grid[band.rows].view(-1, sources.shape[1]))


def scale_hu(
    hu: torch.Tensor, window: tuple[float, float], value_range: tuple[float, float] = (0.0, 1.0)
) -> torch.Tensor:
    """Scale clipped HU to `value_range` in place: the window's ends become the range's."""
    low, high = window
    hu.sub_(low).div_(high - low).clamp_(0.0, 1.0)
    if value_range == (0.0, 1.0):
        return hu
    lowest, highest = value_range
    return hu.mul_(highest - lowest).add_(lowest)
