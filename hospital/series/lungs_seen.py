"""Look for the lungs in the pixels of a series: air within the body, from apex to base."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from argus_processing.ct_checks import CTReadError
from argus_processing.dicom_hu import series_hu
from argus_processing.dicom_slices import DicomSlice

from .study_files import cause_of

NUM_LOOKS = 24  # slices that are looked at, evenly along the body
CELL_MM = 4.0  # means over cells of this size have little noise, also with sharp kernels
BODY_HU = -300.0
# Lungs, with emphysema, are denser than gas in bowels, sinuses and the trachea, which fill their cells.
LUNG_HU = (-965.0, -350.0)
MIN_LUNG_MM2 = 600.0  # of one connected piece in a slice
MIN_SHARE = 0.12  # of the largest cut through the lungs in the body's cut there; a chest has 0.3 to 0.6
MIN_HEIGHT_MM = 90.0  # a small child's lungs
MAX_END_SHARE = 0.45  # of the lungs' largest cut at either end of the series; beyond it, a part of them is missing


def why_no_lungs(slices: Sequence[DicomSlice], folder: Path) -> str:
    """Look at some slices of a series and tell why they are no whole chest; return nothing if they are.

    Args:
        slices: in order along the body.
        folder: name of the series in errors of the reader.
    """
    chosen = np.unique(np.linspace(0, len(slices) - 1, min(NUM_LOOKS, len(slices))).round().astype(int))
    try:
        hu, _ = series_hu([slices[place] for place in chosen], folder)
    except CTReadError as error:
        return f"its pixels cannot be read ({cause_of(error, folder)})"
    normal = np.cross(*np.array(slices[0].orientation).reshape(2, 3))
    places = np.array([float(normal @ slices[place].position) for place in chosen])
    cuts = np.array([lung_and_body_mm2(picture, slices[0].spacing) for picture in hu])
    return judge_cuts(cuts[:, 0], cuts[:, 1], places)


def judge_cuts(lungs_mm2: np.ndarray, bodies_mm2: np.ndarray, places_mm: np.ndarray) -> str:
    """Tell from the areas of lungs and body in slices, at places along the body, why they are no whole chest."""
    largest = int(np.argmax(lungs_mm2))
    if lungs_mm2[largest] < MIN_LUNG_MM2 or lungs_mm2[largest] < MIN_SHARE * max(bodies_mm2[largest], 1.0):
        return "no lungs are seen in its pixels"
    seen = places_mm[lungs_mm2 >= MIN_LUNG_MM2]
    if np.ptp(seen) < MIN_HEIGHT_MM:
        return "only a small part of lungs is seen in its pixels"
    if max(lungs_mm2[0], lungs_mm2[-1]) > MAX_END_SHARE * lungs_mm2[largest]:
        return "the lungs are cut off at an end of the series"
    return ""


def lung_and_body_mm2(picture: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[float, float]:
    """Measure the areas of lung and of the body in one slice of HU, `(row, column)`."""
    means, cell_mm2 = _cells(picture, spacing_mm)
    body = _largest(means > BODY_HU)
    filled = ndimage.binary_fill_holes(body)
    pieces, count = ndimage.label(filled & (means <= BODY_HU))
    lung = 0.0
    for piece in range(1, count + 1):
        cells = pieces == piece
        area = cells.sum() * cell_mm2
        if area >= MIN_LUNG_MM2 and LUNG_HU[0] <= means[cells].mean() <= LUNG_HU[1]:
            lung += area
    return lung, float(filled.sum() * cell_mm2)


def _cells(picture: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[np.ndarray, float]:
    """Return the mean HU of square cells of about `CELL_MM`, and a cell's area."""
    steps = [max(1, round(CELL_MM / space)) for space in spacing_mm]
    rows, columns = (side // step for side, step in zip(picture.shape, steps, strict=True))
    cut = np.clip(picture[: rows * steps[0], : columns * steps[1]], -1024, 1000).astype(np.float32)
    means = cut.reshape(rows, steps[0], columns, steps[1]).mean(axis=(1, 3))
    return means, steps[0] * spacing_mm[0] * steps[1] * spacing_mm[1]


def _largest(mask: np.ndarray) -> np.ndarray:
    """Keep the largest connected piece: the body without the table."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    return pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
