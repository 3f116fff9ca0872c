"""Resample a CT to the model's grid with one linear operator per axis.

Linear interpolation along an axis is a matrix, so two interpolations in a row are one matrix too. Voxels are areas:
a sample's centre is at half a voxel (torch's `align_corners=False`), and the field of view does not change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .ct_arrays import HuVolume

# Slices processed at a time: enough for efficient matrix products, few enough to need little memory.
SLAB_SLICES = 8


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


def combine_slices(
    operator: torch.Tensor, read_slice: Callable[[int], torch.Tensor], out: torch.Tensor
) -> torch.Tensor:
    """Apply `(D_out, D)`, which has few nonzero entries per row, along depth; read only the slices with nonzero weight.

    Args:
        operator: `(D_out, D)` weights of source slices.
        read_slice: returns source slice number d as `(H, W)` float32.
        out: `(D_out, H, W)` float32, filled and returned.
    """
    for index, weights in enumerate(operator):
        used = weights.nonzero().flatten().tolist()
        # Summed in new memory: `out[index]` may be one of the sources.
        combined = read_slice(used[0]) * float(weights[used[0]])
        for source in used[1:]:
            combined.add_(read_slice(source), alpha=float(weights[source]))
        out[index] = combined
    return out


def clipped_slice(hu: HuVolume, index: int, window: tuple[float, float]) -> torch.Tensor:
    """Return slice `index` of `(D, H, W)` HU as float32, clipped to the window."""
    # A scan turned to canonical orientation may be a view with negative strides, which torch cannot take.
    return torch.from_numpy(hu[index].astype(np.float32, order="C")).clamp_(*window)


def apply_in_plane(slices: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Apply `(H_out, H)` and `(W_out, W)` to `(D, H, W)`; fill and return `out` `(D, H_out, W_out)`."""
    for start in range(0, slices.shape[0], SLAB_SLICES):
        slab = slices[start : start + SLAB_SLICES]
        torch.matmul(rows, slab @ columns.T, out=out[start : start + SLAB_SLICES])
    return out


def resample_planes(
    hu: HuVolume, operators: GridOperators, window: tuple[float, float], out: torch.Tensor
) -> torch.Tensor:
    """Clip `(D, H, W)` HU and resample it in its planes, and along depth as far as `to_slices` goes.

    Clipping comes first: interpolation would spread the values of unclipped metal or padding to neighbours.

    Returns:
        `out` `(n, H_out, W_out)` float32, filled with HU.

    Raises:
        ValueError: if the window does not rise from low to high.
    """
    low, high = window
    if not low < high:
        raise ValueError(f"HU window must rise from low to high, got {window}")
    slices = torch.empty(operators.to_slices.shape[0], *hu.shape[1:])
    combine_slices(operators.to_slices, lambda index: clipped_slice(hu, index, window), slices)
    return apply_in_plane(slices, operators.rows, operators.columns, out)


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


def resample_into(
    out: torch.Tensor, fill_planes: Callable[[torch.Tensor], object], operators: GridOperators
) -> torch.Tensor:
    """Fill a grid `(D_out, H_out, W_out)` from a scan's planes.

    Args:
        out: the grid, filled and returned.
        fill_planes: fills the tensor it is given with the scan's planes `(n, H_out, W_out)`, n at most D_out. It is a
            function so that the scan can be freed before the rest of the grid, larger than the scan, is written.
        operators: the operators that `fill_planes` used.
    """
    # The planes are stored at the end of the grid itself. Slices are written from the front, so a plane is overwritten
    # only after its last use: with n <= D_out, slice d reads planes at or after d - (D_out - n).
    planes = out[out.shape[0] - operators.to_slices.shape[0] :]
    fill_planes(planes)
    if operators.to_grid is not None:
        combine_slices(operators.to_grid, planes.__getitem__, out)
    return out
