"""Compute the mean of many scans, each moved to where it fits the others best: `MeanScan`."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from ..ct_arrays import HuVolume
from ..ct_volume import CTVolume
from .axis_sampling import along_axes, centred_places, sampling_operator
from .body_shift import Shift, find_shift

STEP_MM = 5.0  # a mean is blurred by the differences of patients: finer steps would hold nothing more
# Fewer scans would leave one of them recognisable in their mean.
MIN_SCANS = 32
MAX_SCANS = 64
HU_WINDOW = (-1000.0, 1000.0)
LARGEST_MM = (480.0, 480.0, 640.0)  # along (D, H, W); a longer scan is cut about its middle
ROUNDS = 2
MIN_COVERED = 0.5  # of the scans; farther out there is no mean


@dataclass(frozen=True)
class MeanScan:
    """The mean of several scans, in Hounsfield units.

    Attributes:
        hu: `(D, H, W)` int16; D rises to Superior, H to Posterior, W to Left.
        step_mm: distance of the voxels, the same along all axes.
        num_scans: number of scans that it is the mean of.
    """

    hu: HuVolume
    step_mm: float
    num_scans: int


def coarse_scan(volume: CTVolume, step_mm: float = STEP_MM) -> np.ndarray:
    """Resample a scan to coarse voxels about its middle, `(D, H, W)` float32 HU within `HU_WINDOW`."""
    operators = []
    for num_in, step_in, largest in zip(volume.hu.shape, volume.spacing_mm, LARGEST_MM, strict=True):
        num_out = max(1, round(min(num_in * step_in, largest) / step_mm))
        operators.append(sampling_operator(centred_places(num_out, step_mm), step_mm, num_in, step_in))
    hu = torch.from_numpy(np.ascontiguousarray(volume.hu))
    return along_axes(hu.clamp(*HU_WINDOW), operators).numpy()


def mean_of(volumes: Iterable[CTVolume]) -> MeanScan:
    """Compute the mean of scans; the same scans in the same order give the same one.

    The scans are first laid middle on middle; then each is moved to where it fits the mean of before, twice.

    Raises:
        ValueError: if there are fewer than `MIN_SCANS` scans.
    """
    coarse = [coarse_scan(volume).astype(np.float16) for volume in volumes]
    if len(coarse) < MIN_SCANS:
        raise ValueError(f"a mean scan needs at least {MIN_SCANS} scans, got {len(coarse)}")
    middle = Shift((0.0, 0.0, 0.0), 1.0)
    mean = _mean_at(coarse, [middle] * len(coarse))
    for _ in range(ROUNDS):
        mean = _mean_at(coarse, [find_shift(scan.astype(np.float32), mean, STEP_MM) for scan in coarse])
    return MeanScan(np.rint(mean).astype(np.int16), STEP_MM, len(coarse))


def _mean_at(coarse: list[np.ndarray], shifts: list[Shift]) -> np.ndarray:
    """Return the mean of scans in which it lies at these shifts, where at least half of them are."""
    size = [max(scan.shape[axis] for scan in coarse) for axis in range(3)]
    total, count = np.zeros(size), np.zeros(size)
    for scan, shift in zip(coarse, shifts, strict=True):
        operators = [
            sampling_operator(centred_places(num_out, STEP_MM) + offset, STEP_MM, num_in, STEP_MM)
            for num_out, num_in, offset in zip(size, scan.shape, shift.offset_mm, strict=True)
        ]
        total += along_axes(torch.from_numpy(scan.astype(np.float32)), operators).numpy()
        inside = [operator.sum(dim=1).numpy() for operator in operators]
        count += inside[0][:, None, None] * inside[1][:, None] * inside[2]
    mean = np.divide(total, count, out=np.full(size, HU_WINDOW[0]), where=count > 0)
    return mean[_middle_part(count >= MIN_COVERED * len(coarse))]


def _middle_part(covered: np.ndarray) -> tuple[slice, ...]:
    """Return the largest box about the middle whose axes are covered."""
    parts = []
    for axis, size in enumerate(covered.shape):
        line = np.asarray(covered.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(np.argmax(line & line[::-1]))
        parts.append(slice(margin, size - margin))
    return tuple(parts)
