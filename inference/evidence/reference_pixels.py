"""Put a mean scan where it lies in a scan, and preprocess it exactly as that scan."""

import numpy as np
import torch

from argus_processing.ct_volume import CTVolume
from argus_processing.image_processing_argus import ArgusImageProcessor, ScanToGrid
from argus_processing.mean_scan.axis_sampling import along_axes, centred_places, sampling_operator
from argus_processing.mean_scan.body_shift import Shift
from argus_processing.mean_scan.mean_scan import MeanScan
from argus_processing.resampling import compose


def reference_pixels(
    image_processor: ArgusImageProcessor,
    volume: CTVolume,
    scan: ScanToGrid,
    pixel_values: torch.Tensor,
    mean: MeanScan,
    shift: Shift,
) -> torch.Tensor:
    """Return the `pixel_values` `(D, H, W)` of a mean scan that lies in a scan at `shift`.

    Both steps, from the mean to the scan's voxels and from there to the grid, are one matrix per axis. Crop, HU window
    and padding are those of the scan. Where the mean does not reach, the scan's own pixels stay, which so count as no
    evidence.

    Args:
        image_processor: the model's.
        volume: the scan.
        scan: `image_processor.to_grid(volume)`.
        pixel_values: `(D, H, W)` of the scan.
        mean: the mean scan.
        shift: where it lies in the scan.
    """
    to_slices, to_grid = scan.operators.to_slices, scan.operators.to_grid
    to_depth = to_slices if to_grid is None else compose([to_slices, to_grid])
    operators = []
    for axis, resample in enumerate((to_depth, scan.operators.rows, scan.operators.columns)):
        size, step = volume.hu.shape[axis], volume.spacing_mm[axis]
        places = centred_places(size, step)[scan.box[axis]] - shift.offset_mm[axis]
        operators.append(resample @ sampling_operator(places, step, mean.hu.shape[axis], mean.step_mm))
    hu = along_axes(torch.from_numpy(mean.hu).clamp(*scan.window), operators)
    depth, rows, columns = (operator.sum(dim=1) for operator in operators)
    reached = depth[:, None, None] * rows[:, None] * columns
    # At the edge of the mean a grid voxel is reached in part: its mean is over that part.
    own = image_processor.scale(hu / reached.clamp(min=1e-6), scan.window)
    reference = pixel_values.clone()
    inner = _inner(reference, scan.operators.size)
    inner += reached * (own - inner)
    return reference


def mean_in_scan(volume: CTVolume, mean: MeanScan, shift: Shift) -> np.ndarray:
    """Return a mean scan at the voxels of a scan in which it lies at `shift`, `(D, H, W)` float32 HU.

    Where the mean does not reach, it is the scan itself.
    """
    operators = [
        sampling_operator(centred_places(size, step) - offset, step, num_in, mean.step_mm)
        for size, step, offset, num_in in zip(
            volume.hu.shape, volume.spacing_mm, shift.offset_mm, mean.hu.shape, strict=True
        )
    ]
    depth, rows, columns = (operator.any(dim=1).numpy() for operator in operators)
    reached = depth[:, None, None] & rows[:, None] & columns
    return np.where(reached, along_axes(torch.from_numpy(mean.hu), operators).numpy(), volume.hu).astype(np.float32)


def _inner(grid: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """Return the view of a grid that a scan fills; the rest is padding."""
    starts = [(side - inner) // 2 for inner, side in zip(size, grid.shape, strict=True)]
    return grid[tuple(slice(start, start + inner) for start, inner in zip(starts, size, strict=True))]
