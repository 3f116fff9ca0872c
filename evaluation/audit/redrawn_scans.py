"""Draw the scans of an audit, also those where the change that a finding makes is put somewhere else."""

import json
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from argus_processing import CTVolume
from argus_processing.phantom.files import PHANTOM_VERSION
from argus_processing.phantom.scans import Phantom, make_phantom

from .audit_plan import WINDOW_HU, Drawing

SOLID_HU = (-150.0, 150.0)
NEAREST_MM = 80.0  # a change is moved at least so far
AS_BRIGHT_HU = 50
Spacing = tuple[float, float, float]


def draw_scan(drawing: Drawing, spacing_mm: Spacing | None = None) -> CTVolume:
    """Draw a scan of an audit as the readers of files give it; the same voxels for the same arguments."""
    phantom = make_phantom(drawing.seed, spacing_mm, drawing.findings)
    hu = phantom.hu
    for instead, change in ((drawing.moved, add_elsewhere), (drawing.scattered, scatter_values)):
        if instead is not None:
            hu = change(phantom, make_phantom(drawing.seed, spacing_mm, (*drawing.findings, instead)))
    return CTVolume.from_array(hu, phantom.spacing_mm, "phantom")


def scan_key(drawing: Drawing, spacing_mm: Spacing | None = None) -> str:
    """Return everything that decides a scan's voxels, as text."""
    return json.dumps({"phantom": PHANTOM_VERSION, "spacing_mm": spacing_mm, **asdict(drawing)})


def add_elsewhere(bare: Phantom, having: Phantom) -> NDArray[np.int16]:
    """Add what distinguishes `having` from `bare` to `bare` at another place: as bright and as large, but no finding.

    The place is the one where most of the change falls on solid tissue, at least 80 mm away. Mean and spread of the
    image's values become nearly those of `having`, so a model that reads only those cannot tell the two apart.
    """
    before = np.clip(bare.hu, *WINDOW_HU).astype(np.float32)
    change = np.clip(having.hu, *WINDOW_HU) - before
    solid = (before > SOLID_HU[0]) & (before < SOLID_HU[1])
    moved = np.roll(change, best_shift(np.abs(change), solid, bare.spacing_mm), axis=(0, 1, 2))
    # What is not changed stays as it was, also outside the window.
    return np.where(moved == 0, bare.hu, np.clip(np.rint(before + moved), *WINDOW_HU)).astype(np.int16)


def scatter_values(bare: Phantom, having: Phantom) -> NDArray[np.int16]:
    """Give `bare` the values of `having`, but each changed one at a drawn voxel that was as bright as its own.

    The histogram becomes nearly that of `having`, so a model that reads only that cannot tell the two apart.
    """
    before, after = (np.clip(phantom.hu, *WINDOW_HU).ravel() for phantom in (bare, having))
    changed = np.flatnonzero(before != after)
    brightness = before // AS_BRIGHT_HU
    draw = np.random.default_rng(bare.seed)
    hu = bare.hu.ravel().copy()
    for level in np.unique(brightness[changed]):
        own = changed[brightness[changed] == level]
        hu[draw.choice(np.flatnonzero(brightness == level), len(own), replace=False)] = after[own]
    return hu.reshape(bare.hu.shape)


def best_shift(weight: NDArray, wanted: NDArray[np.bool_], spacing_mm: Spacing) -> tuple[int, int, int]:
    """Return the shift in voxels, around the volume's ends, that brings most of `weight` onto `wanted` voxels."""
    overlap = fft.irfftn(
        np.conj(fft.rfftn(weight.astype(np.float32))) * fft.rfftn(wanted.astype(np.float32)), s=weight.shape
    )
    steps = [
        np.minimum(np.arange(side), side - np.arange(side)) * step
        for side, step in zip(weight.shape, spacing_mm, strict=True)
    ]
    distance = np.sqrt(sum(grid**2 for grid in np.ix_(*steps)))
    overlap[distance < min(NEAREST_MM, float(distance.max()))] = -np.inf
    depth, row, column = np.unravel_index(int(np.argmax(overlap)), weight.shape)
    return int(depth), int(row), int(column)
