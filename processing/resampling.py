"""Resampling of a CT to the model's grid as one linear operator per axis.

Linear interpolation along an axis is a matrix, so two interpolations in a row are one matrix too. Voxels are areas:
a sample's centre is at half a voxel (torch's `align_corners=False`), and the field of view stays what it was.
"""

from collections.abc import Callable

import numpy as np
import torch

# Slices turned at a time: enough for the matrix products to be efficient, little enough to stay out of memory's way.
SLAB_SLICES = 8


def linear_operator(num_in: int, num_out: int) -> torch.Tensor:
    """Linear interpolation from `num_in` to `num_out` samples as a matrix `(num_out, num_in)` float32.

    The same numbers as `torch.nn.functional.interpolate(..., size=num_out, mode="linear", align_corners=False)`.
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
    """Interpolation with a triangle as wide as the coarser of the two samplings, `(num_out, num_in)` float32.

    Linear interpolation where the grid gets finer; where it gets coarser, nothing small falls between samples.
    The same numbers as torch's `interpolate(..., antialias=True)`.
    """
    scale = num_in / num_out
    width = max(scale, 1.0)
    centre = (torch.arange(num_out, dtype=torch.float64) + 0.5) * scale
    sample = torch.arange(num_in, dtype=torch.float64) + 0.5
    operator = (1.0 - (sample[None] - centre[:, None]).abs() / width).clamp(min=0.0)
    return (operator / operator.sum(dim=1, keepdim=True)).float()


def spaced_size(num_in: int, spacing_mm: float, target_mm: float) -> int:
    """Samples that cover `num_in` voxels of `spacing_mm` at `target_mm`, at least one."""
    return max(1, round(num_in * spacing_mm / target_mm))


def paper_operators(num_in: int, spacing_mm: float, target_mm: float, num_out: int) -> list[torch.Tensor]:
    """Operators of the paper's two steps along one axis: to the target spacing, then to the grid (section 3.2)."""
    num_spaced = spaced_size(num_in, spacing_mm, target_mm)
    return [linear_operator(num_in, num_spaced), linear_operator(num_spaced, num_out)]


def direct_operators(num_in: int, spacing_mm: float, target_mm: float, num_out: int) -> list[torch.Tensor]:
    """Operator straight to the grid along one axis, anti-aliased; the target spacing plays no part."""
    return [antialiased_operator(num_in, num_out)]


RESAMPLINGS = {"paper": paper_operators, "direct": direct_operators}


def compose(operators: list[torch.Tensor]) -> torch.Tensor:
    """Multiply operators that are applied one after the other into one matrix."""
    product = operators[0]
    for operator in operators[1:]:
        product = operator @ product
    return product


def combine_slices(operator: torch.Tensor, read_slice: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """Apply `(D_out, D)`, which has few entries a row, along depth; reads only the slices that count.

    Args:
        operator: `(D_out, D)` weights of source slices.
        read_slice: gives source slice number d as `(H, W)` float32.

    Returns:
        `(D_out, H, W)` float32.
    """
    result = torch.empty(operator.shape[0], *read_slice(0).shape)
    for index, weights in enumerate(operator):
        used = weights.nonzero().flatten().tolist()
        torch.mul(read_slice(used[0]), float(weights[used[0]]), out=result[index])
        for source in used[1:]:
            result[index].add_(read_slice(source), alpha=float(weights[source]))
    return result


def clipped_slice(hu: np.ndarray, index: int, window: tuple[float, float]) -> torch.Tensor:
    """Give slice `index` of `(D, H, W)` HU as float32, clipped to the window."""
    # A scan turned to canonical orientation may be a view with negative strides, which torch cannot take.
    return torch.from_numpy(hu[index].astype(np.float32, order="C")).clamp_(*window)


def apply_in_plane(slices: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Apply `(H_out, H)` and `(W_out, W)` to `(D, H, W)`; gives `(D, H_out, W_out)`."""
    result = torch.empty(slices.shape[0], rows.shape[0], columns.shape[0])
    for start in range(0, slices.shape[0], SLAB_SLICES):
        slab = slices[start : start + SLAB_SLICES]
        torch.matmul(rows, slab @ columns.T, out=result[start : start + SLAB_SLICES])
    return result


def resample_ct(
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    grid: tuple[int, int, int],
    window: tuple[float, float],
    target_spacing_mm: tuple[float, float, float],
    resampling: str,
) -> torch.Tensor:
    """Clip a CT to a HU window, resample it to a grid and scale it to [0, 1].

    Clipping comes first: interpolating unclipped metal or padding would bleed into its neighbours.

    Args:
        hu: `(D, H, W)` int16 or float32 HU, any strides.
        spacing_mm: the scan's spacing along D, H, W.
        grid: voxels of the result along D, H, W.
        window: lowest and highest HU kept, lower first (paper, section 3.2: -1000 and 1000).
        target_spacing_mm: spacing of the paper's first step along D, H, W.
        resampling: "paper" or "direct", see `RESAMPLINGS`.

    Returns:
        `(D, H, W)` float32 in [0, 1] of the grid's size.

    Raises:
        ValueError: if the window does not rise or the resampling is unknown.
    """
    low, high = window
    if not low < high:
        raise ValueError(f"HU window must rise from low to high, got {window}")
    if resampling not in RESAMPLINGS:
        raise ValueError(f"unknown resampling {resampling!r}; known: {', '.join(RESAMPLINGS)}")
    make = RESAMPLINGS[resampling]
    depth, rows, columns = (make(*axis) for axis in zip(hu.shape, spacing_mm, target_spacing_mm, grid, strict=True))
    # Fewest slices go through the in-plane products: those of the coarser of the two depth samplings.
    narrow = min(range(len(depth)), key=lambda step: depth[step].shape[0])
    slices = combine_slices(compose(depth[: narrow + 1]), lambda index: clipped_slice(hu, index, window))
    slices = apply_in_plane(slices, compose(rows), compose(columns))
    if narrow + 1 < len(depth):
        slices = combine_slices(compose(depth[narrow + 1 :]), slices.__getitem__)
    return slices.sub_(low).div_(high - low).clamp_(0.0, 1.0)
