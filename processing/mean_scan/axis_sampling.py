"""Take samples of a volume at other places along each axis, as means where they are farther apart.

Along an axis sample `n` of `N`, `step` mm apart, lies `(n - (N - 1) / 2) * step` mm from the middle of the axis.
"""

from collections.abc import Sequence

import torch


def centred_places(num_samples: int, step_mm: float) -> torch.Tensor:
    """Return the places of an axis's samples in mm from its middle, float64."""
    return (torch.arange(num_samples, dtype=torch.float64) - (num_samples - 1) / 2) * step_mm


def sampling_operator(places_mm: torch.Tensor, step_mm: float, num_in: int, step_in_mm: float) -> torch.Tensor:
    """Compute the matrix `(len(places_mm), num_in)` float32 that samples an axis at other places.

    Args:
        places_mm: places of the new samples, in mm from the axis's middle.
        step_mm: distance of the new samples.
        num_in: samples of the axis.
        step_in_mm: their distance.
    """
    return triangle_operator(places_mm / step_in_mm + (num_in - 1) / 2, step_mm / step_in_mm, num_in)


def triangle_operator(places: torch.Tensor, step: float, num_in: int) -> torch.Tensor:
    """Compute the matrix `(len(places), num_in)` float32 of interpolation at places that are indices of an axis.

    Each sample is a mean, weighted by a triangle that is as wide as the coarser of the two samplings. A row is zero
    where its place is outside the axis, that is more than half a sample beyond the first or the last one.

    Args:
        places: places of the new samples, 0 at the first sample of the axis.
        step: distance of the new samples, 1 for that of the axis's.
        num_in: samples of the axis.
    """
    sample = torch.arange(num_in, dtype=torch.float64)
    inside = (places >= -0.5) & (places <= num_in - 0.5)
    # Between the last sample and the end of the axis its value stays.
    centre = places.clamp(0, num_in - 1)
    operator = (1.0 - (sample[None] - centre[:, None]).abs() / max(step, 1.0)).clamp(min=0.0)
    return torch.where(inside[:, None], operator / operator.sum(dim=1, keepdim=True), 0.0).float()


def along_axes(volume: torch.Tensor, operators: Sequence[torch.Tensor]) -> torch.Tensor:
    """Apply one operator along each axis of `(D, H, W)`; the result is float32."""
    depth, rows, columns = (operator.to(volume.device) for operator in operators)
    # In plane first and slice by slice: a float copy of a whole scan would take gigabytes.
    planes = torch.stack([rows @ plane.float() @ columns.T for plane in volume])
    return torch.tensordot(depth, planes, dims=1)
