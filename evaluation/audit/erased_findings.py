"""Remove a finding from a real scan: fill its place smoothly from what is around it, with noise like that around it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from argus_processing import CTVolume

RIM = 2  # voxels around a place from which it is filled
SMOOTHING = 1.0  # voxels; of the rim, so that a vessel that ends there does not run on as a streak
TRIES = 400  # places that are looked at for one that resembles another
Mask = NDArray[np.bool_]


class NoPlaceError(ValueError):
    """Error that a scan has no other place like that of a finding."""


def erase(volume: CTVolume, mask: Mask, like: Mask) -> CTVolume:
    """Return a scan in which a place is filled; nothing outside of it changes.

    Args:
        volume: the scan.
        mask: the place, `(D, H, W)`.
        like: a place of the same form whose noise is copied, such as `place_elsewhere` finds.
    """
    box = _around(mask)
    hu, inside = volume.hu[box].astype(np.float32), mask[box]
    filled = hu.copy()
    filled[inside] = harmonic_fill(_smoothed(hu, ~inside), inside, volume.spacing_mm)[inside]
    filled[inside] += _noise(volume.hu, like)
    whole = np.array(volume.hu)
    low, high = float(hu.min()), float(hu.max())
    whole[box][inside] = np.clip(filled[inside], low, high).astype(whole.dtype)
    return replace(volume, hu=whole)


def harmonic_fill(hu: NDArray, inside: Mask, spacing_mm: tuple[float, float, float]) -> NDArray:
    """Fill voxels with the harmonic function that continues those around them (Laplace's equation, in mm).

    The volume's own faces let nothing through. Values that change linearly are continued exactly.
    """
    number = np.full(hu.shape, -1)
    number[inside] = np.arange(np.count_nonzero(inside))
    places = np.argwhere(inside)
    diagonal = np.zeros(len(places))
    known = np.zeros(len(places))
    rows, columns, weights = [], [], []
    for axis, step in enumerate(spacing_mm):
        for move in (-1, 1):
            near = places.copy()
            near[:, axis] += move
            fits = (near[:, axis] >= 0) & (near[:, axis] < hu.shape[axis])
            own, at = np.flatnonzero(fits), tuple(near[fits].T)
            weight = 1 / step**2
            diagonal[own] += weight
            is_inside = number[at] >= 0
            rows.append(own[is_inside])
            columns.append(number[at][is_inside])
            weights.append(np.full(np.count_nonzero(is_inside), -weight))
            known[own[~is_inside]] += weight * hu[at][~is_inside]
    size = len(places)
    couplings = sparse.csr_array(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(size, size)
    )
    solution, _ = cg(couplings + sparse.diags_array(diagonal), known, rtol=1e-7, maxiter=10 * size + 100)
    filled = np.array(hu, dtype=np.float64)
    filled[inside] = solution
    return filled


def place_elsewhere(volume: CTVolume, mask: Mask, taken: Mask, draw: np.random.Generator) -> Mask:
    """Return a place of the same form in tissue like that around a finding, away from all findings.

    Args:
        volume: the scan.
        mask: the finding's place.
        taken: places of all findings of the scan.
        draw: source of the places that are looked at.

    Raises:
        NoPlaceError: if there is none.
    """
    box = _around(mask)
    rim = ndimage.binary_dilation(mask[box], iterations=RIM) & ~taken[box]
    if not rim.any():
        raise NoPlaceError("no tissue is around the finding")
    wanted = float(np.median(volume.hu[box][rim]))
    places = np.argwhere(mask)
    low, high = -places.min(axis=0), np.array(mask.shape) - places.max(axis=0)
    best: tuple[float, NDArray] | None = None
    for shift in draw.integers(low, high, size=(TRIES, 3)):
        at = tuple((places + shift).T)
        if not taken[at].any():
            differs = float(np.mean(np.abs(volume.hu[at] - np.float32(wanted))))
            if best is None or differs < best[0]:
                best = differs, shift
    if best is None:
        raise NoPlaceError("no other place is free")
    other = np.zeros_like(mask)
    other[tuple((places + best[1]).T)] = True
    return other


def _around(mask: Mask) -> tuple[slice, ...]:
    """Return the box of a mask with a margin."""
    return tuple(
        slice(max(0, part.start - 2 * RIM), min(side, part.stop + 2 * RIM))
        for part, side in zip(ndimage.find_objects(mask.astype(np.int8))[0], mask.shape, strict=True)
    )


def _smoothed(hu: NDArray, known: Mask) -> NDArray:
    """Smooth the known voxels with the known ones alone."""
    weight = ndimage.gaussian_filter(known.astype(np.float32), SMOOTHING)
    return ndimage.gaussian_filter(np.where(known, hu, 0), SMOOTHING) / np.maximum(weight, 1e-6)


def _noise(hu: NDArray, like: Mask) -> NDArray:
    """Return the noise at a place, in the order of its voxels: the values without their smooth part."""
    box = _around(like)
    part = hu[box].astype(np.float32)
    rough = (part - ndimage.gaussian_filter(part, SMOOTHING))[like[box]]
    return rough - rough.mean()
