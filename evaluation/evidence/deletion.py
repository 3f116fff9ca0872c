"""Remove voxels from a scan, those of a map's top or as many elsewhere, and tell whether a statement stays."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from argus_inference.generation import generate_batch
from argus_processing.ct_volume import CTVolume
from argus_processing.instructions import INSTRUCTION

from .evidence_cases import EvidenceCase, TrueFinding

TRIES = 400
LEAST_IN_BODY = 0.9  # of the share of the region's own voxels that lie in the body


def without(volume: CTVolume, region: np.ndarray, mean_hu: np.ndarray) -> CTVolume:
    """Return a scan whose voxels in a region are those of the mean scan, which lies in it (`mean_in_scan`)."""
    filled = np.where(region, mean_hu, volume.hu)
    return replace(volume, hu=np.rint(filled).astype(volume.hu.dtype))


def elsewhere(region: np.ndarray, kept: np.ndarray, body: np.ndarray, seed: int) -> np.ndarray | None:
    """Return a region of the same shape at another place of the body, drawn by the seed.

    It touches neither the region nor the voxels in `kept`, and about as much of it lies in the body.

    Returns:
        `(D, H, W)` bool, or None if no such place is found.
    """
    voxels = np.argwhere(region)
    if not len(voxels):
        return None
    low, high, size = voxels.min(axis=0), voxels.max(axis=0), np.array(region.shape)
    least = LEAST_IN_BODY * np.count_nonzero(region & body)
    taken = region | kept
    draw = np.random.default_rng(seed)
    for _ in range(TRIES):
        place = tuple((voxels + draw.integers(-low, size - high)).T)
        if not taken[place].any() and np.count_nonzero(body[place]) >= least:
            moved = np.zeros_like(region)
            moved[place] = True
            return moved
    return None


def keeps_stating(
    model: Any, processor: Any, case: EvidenceCase, finding: TrueFinding, volumes: Sequence[CTVolume]
) -> list[bool]:
    """Return for each of several scans whether the model's report of it states a finding of the case."""
    instructions = [case.instruction or INSTRUCTION] * len(volumes)
    reports = generate_batch(model, processor, volumes, instructions)
    return [any(each.finding is finding for each in case.statements_in(report.text)) for report in reports]
