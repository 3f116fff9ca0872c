"""Convert places between a model's grid, a scan, the file of the scan and the patient."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch

from argus_processing.ct_arrays import Affine
from argus_processing.ct_volume import CANONICAL_AXES, CTVolume
from argus_processing.image_processing_argus import ArgusImageProcessor, ScanToGrid
from argus_processing.mean_scan.axis_sampling import along_axes, triangle_operator
from argus_processing.resampling import spaced_size

Sizes = tuple[int, int, int]
Steps = tuple[float, float, float]


@dataclass(frozen=True)
class GridPlacement:
    """Place of a grid in a scan; along each axis voxel `i` of the scan lies at `scale * i + offset` of the grid.

    Attributes:
        scan_shape: voxels of the scan along (D, H, W).
        grid_shape: voxels of the grid.
        scale, offset: along (D, H, W).
        spacing_mm: of the scan's voxels.
    """

    scan_shape: Sizes
    grid_shape: Sizes
    scale: Steps
    offset: Steps
    spacing_mm: Steps

    @property
    def step_mm(self) -> Steps:
        """Return the distance of the grid's voxels along (D, H, W)."""
        depth, rows, columns = (step / scale for step, scale in zip(self.spacing_mm, self.scale, strict=True))
        return depth, rows, columns

    def pooled(self, factors: Sizes) -> "GridPlacement":
        """Return the placement of a grid each of whose voxels is a block of so many of this one's."""
        shape, scale, offset = (
            tuple(part)
            for part in zip(
                *(
                    (size // factor, scale / factor, (offset - (factor - 1) / 2) / factor)
                    for size, scale, offset, factor in zip(
                        self.grid_shape, self.scale, self.offset, factors, strict=True
                    )
                ),
                strict=True,
            )
        )
        return GridPlacement(self.scan_shape, shape, scale, offset, self.spacing_mm)

    def to_scan(self, values: torch.Tensor, slices: slice = slice(None)) -> torch.Tensor:
        """Interpolate values on the grid `(D, H, W)` at the scan's voxels; outside the grid they are 0.

        `slices` are those of the scan that are computed; default: all.
        """
        depth, *plane = (
            triangle_operator(torch.arange(size, dtype=torch.float64) * scale + offset, scale, num_in)
            for size, scale, offset, num_in in zip(
                self.scan_shape, self.scale, self.offset, self.grid_shape, strict=True
            )
        )
        return along_axes(values, [depth[slices], *plane])


def placement_of(image_processor: ArgusImageProcessor, volume: CTVolume, scan: ScanToGrid) -> GridPlacement:
    """Return the placement of a model's grid in a scan; `scan` is what `image_processor.to_grid` gives for it."""
    scales, offsets = [], []
    for axis in range(3):
        num_in, num_out = scan.hu.shape[axis], image_processor.image_size[axis]
        num_resampled, start = num_out, 0
        if image_processor.resampling == "crop_or_pad":
            spacing, target = volume.spacing_mm[axis], image_processor.target_spacing_mm[axis]
            num_resampled = spaced_size(num_in, spacing, target)
            start = (num_out - num_resampled) // 2 if num_resampled < num_out else -((num_resampled - num_out) // 2)
        scale = num_resampled / num_in
        scales.append(scale)
        # Voxels are areas: those of scan and resampled scan cover the same field, from edge to edge.
        offsets.append((0.5 - scan.box[axis].start) * scale - 0.5 + start)
    depth, rows, columns = image_processor.image_size
    shape = tuple(volume.hu.shape)
    return GridPlacement(shape, (depth, rows, columns), tuple(scales), tuple(offsets), volume.spacing_mm)


@dataclass(frozen=True)
class FileAxes:
    """Relation of a canonical scan `(D, H, W)` to the array in its file, whose axes have another order or direction.

    Attributes:
        turn: orientation of the file's axes in the canonical ones, as nibabel's `ornt_transform` gives it.
        to_file: 4x4, index of a canonical voxel to that of the file's array.
        affine: 4x4, index of the file's array to RAS+ mm.
    """

    turn: np.ndarray
    to_file: Affine
    affine: Affine

    def index(self, index: Sizes) -> Sizes:
        """Return the index in the file's array of a canonical voxel."""
        first, second, third = (int(round(at)) for at in (self.to_file @ [*index, 1.0])[:3])
        return first, second, third

    def array(self, values: np.ndarray) -> np.ndarray:
        """Return canonical values `(D, H, W)` in the order of the file's axes."""
        back = np.empty_like(self.turn)
        for own, (other, flip) in enumerate(self.turn):
            back[int(other)] = (own, flip)
        return nib.orientations.apply_orientation(values, back)

    def canonical(self, values: np.ndarray) -> np.ndarray:
        """Return values in the order of the file's axes as canonical ones, `(D, H, W)`."""
        return nib.orientations.apply_orientation(values, self.turn)


def file_axes_of(volume: CTVolume) -> FileAxes:
    """Return the relation of a scan to the array in its file."""
    own = nib.orientations.axcodes2ornt(tuple(volume.original_orientation))
    turn = nib.orientations.ornt_transform(own, nib.orientations.axcodes2ornt(CANONICAL_AXES))
    shape = [volume.hu.shape[int(axis)] for axis, _ in turn]
    to_file = nib.orientations.inv_ornt_aff(turn, shape)
    return FileAxes(turn, to_file, np.asarray(volume.affine @ np.linalg.inv(to_file)))


def place_in_patient(volume: CTVolume, index: Sizes) -> Steps:
    """Return the place of a canonical voxel in RAS+ mm of the patient."""
    x, y, z = (float(at) for at in (volume.affine @ [*index, 1.0])[:3])
    return x, y, z
