"""Make maps of what each voxel of a grid adds: on voxels of 4 mm and more, smoothed, with their peak in the scan."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from argus_processing.ct_volume import CTVolume

from .evidence import Peak
from .scan_placement import FileAxes, GridPlacement, Sizes, place_in_patient

FINEST_MM = 4.0  # finer voxels of a grid are put together: maps are smoothed more than that
CUBIC_MM_PER_ML = 1000.0


@dataclass(frozen=True)
class MapMaker:
    """Maker of the maps of one scan.

    Attributes:
        volume: the scan.
        placement: place of the model's grid in it.
        axes: relation of the scan to the array in its file.
        smoothing_mm: standard deviation of the Gaussian that smooths a map.
    """

    volume: CTVolume
    placement: GridPlacement
    axes: FileAxes
    smoothing_mm: float

    @property
    def factors(self) -> Sizes:
        """Return how many voxels of the model's grid are put together along (D, H, W)."""
        depth, rows, columns = (
            max(factor for factor in range(1, max(1, int(FINEST_MM / step)) + 1) if size % factor == 0)
            for size, step in zip(self.placement.grid_shape, self.placement.step_mm, strict=True)
        )
        return depth, rows, columns

    @property
    def grid(self) -> GridPlacement:
        """Return the place of the maps' grid in the scan."""
        return self.placement.pooled(self.factors)

    def density_of(self, nats: torch.Tensor) -> torch.Tensor:
        """Return the map `(D, H, W)` in nats per ml from the nats that each voxel of the model's grid adds.

        Only the part that speaks for the sentence is kept.
        """
        blocks = nats.float().cpu()
        for axis, factor in enumerate(self.factors):
            blocks = blocks.unflatten(axis, (-1, factor)).sum(dim=axis + 1)
        steps = self.grid.step_mm
        per_ml = blocks.clamp(min=0).numpy() * (CUBIC_MM_PER_ML / float(np.prod(steps)))
        sigma = [self.smoothing_mm / step for step in steps]
        return torch.from_numpy(ndimage.gaussian_filter(per_ml, sigma, mode="constant"))

    def peak_of(self, density: torch.Tensor) -> Peak:
        """Return the scan's voxel where a map is largest."""
        values = self.grid.to_scan(density)
        depth, row, column = (int(at) for at in np.unravel_index(int(values.argmax()), tuple(values.shape)))
        index = depth, row, column
        return Peak(index, self.axes.index(index), place_in_patient(self.volume, index))
