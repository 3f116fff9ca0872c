"""Sort the slices of one DICOM series along their line, and compute their place in the patient."""

from collections import Counter
from pathlib import Path

import numpy as np

from .ct_arrays import Affine
from .ct_checks import MIN_SLICES, read_error
from .dicom_slices import SAME, DicomSlice

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE_MM = 0.01
# Largest distance of a slice from its place on the fitted line: positions often have only one or two decimals.
PLACE_TOLERANCE = 0.1  # of the spacing
PLACE_TOLERANCE_MM = 0.06  # for positions with one decimal, at any spacing
GAP_TOLERANCE = 0.3  # of the usual gap: above it slices are missing, below it their places drift
DRIFT_TOLERANCE_MM = 1.0  # of a slice sideways off the line
EXACT_MM = 1e-3
COSINE_TOLERANCE = 1e-3


def stack_slices(slices: list[DicomSlice], folder: Path) -> tuple[list[DicomSlice], Affine]:
    """Sort the slices of one series and compute the affine from (column, row, slice) to RAS+ mm.

    Raises:
        CTReadError: if there are too few, or they differ in form, are doubled, or are not evenly spaced on one line.
    """
    if len(slices) < MIN_SLICES:
        raise read_error(folder, f"only {len(slices)} CT slices", f"give a series of at least {MIN_SLICES}")
    _check_alike(slices, folder)
    row, column = np.array(slices[0].orientation).reshape(2, 3)
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(row @ column) > 0.01:
        raise read_error(folder, "ImageOrientationPatient is not a pair of perpendicular directions", "export it again")
    normal = np.cross(row, column)
    slices = sorted(slices, key=lambda item: float(normal @ item.position))
    origin, step = _line(slices, normal, folder)
    affine = np.eye(4)
    between_rows, between_columns = slices[0].spacing
    affine[:3] = np.column_stack([row * between_columns, column * between_rows, step, origin])
    return slices, LPS_TO_RAS @ affine


def _check_alike(slices: list[DicomSlice], folder: Path) -> None:
    """Check that slices agree in size, direction and pixel spacing, and that none lacks a value that others have."""
    facts = {
        "image size": [item.shape for item in slices],
        "orientation": [tuple(np.round(item.orientation, 2) + 0.0) for item in slices],
        "pixel spacing": [tuple(np.round(item.spacing, 2)) for item in slices],
    }
    exact = {"image size": "shape", "orientation": "orientation", "pixel spacing": "spacing"}
    for fact, values in facts.items():
        usual = getattr(slices[values.index(Counter(values).most_common(1)[0][0])], exact[fact])
        odd = [item for item in slices if _apart(getattr(item, exact[fact]), usual) > COSINE_TOLERANCE]
        if odd:
            cause = f"{len(odd)} of {len(slices)} slices differ from the others in {fact}"
            raise read_error(_culprit(odd, folder), cause, "give one series per folder")
    for index, what in enumerate(SAME.values()):
        count = len({item.same[index] for item in slices} - {""})
        if count > 1:
            raise read_error(folder, f"the slices are of {count} {what}", "give one series per folder")
    for name, numbers in {
        "slope": [item.slope for item in slices],
        "intercept": [item.intercept for item in slices],
    }.items():
        lacking = [item for item, number in zip(slices, numbers, strict=True) if number is None]
        if 0 < len(lacking) < len(slices):
            cause = f"{len(lacking)} of {len(slices)} slices have no rescale {name}, and the others have"
            raise read_error(_culprit(lacking, folder), cause, "export the series again with its rescale")


def _culprit(odd: list[DicomSlice], folder: Path) -> Path:
    """Return the path for an error: the file if only one is at fault, else the folder."""
    return odd[0].path if len({item.path for item in odd}) == 1 else folder


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(np.abs(np.subtract(one, other)).max())


def _line(slices: list[DicomSlice], normal: np.ndarray, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Fit the line that the slices lie on.

    Args:
        slices: in order along `normal`.
        normal: unit vector.
        folder: for errors.

    Returns:
        The first slice's place and the step to the next, in mm.

    Raises:
        CTReadError: if slices are doubled or missing, or their places drift from the line.
    """
    positions = np.array([item.position for item in slices])
    gaps = np.diff(positions @ normal)
    _check_doubled(slices, gaps, folder)
    order = np.arange(len(slices))
    origin, step = positions[0], (positions[-1] - positions[0]) / (len(slices) - 1)
    if np.abs(positions - origin - order[:, None] * step).max() > EXACT_MM:  # differences by rounding only
        step, origin = np.polyfit(order, positions, 1)
    off = positions - origin - order[:, None] * step
    along = off @ normal
    spacing = float(step @ normal)
    worst = int(np.argmax(np.abs(along)))
    if abs(along[worst]) > max(PLACE_TOLERANCE * spacing, PLACE_TOLERANCE_MM):
        usual = float(np.median(gaps))
        uneven = int(np.argmax(np.abs(gaps - usual)))
        if abs(gaps[uneven] - usual) > GAP_TOLERANCE * usual:
            between = f"{slices[uneven].path.name} and {slices[uneven + 1].path.name}"
            cause = f"a gap of {gaps[uneven]:.4g} mm between {between}, where {usual:.4g} mm is usual"
            raise read_error(folder, cause, "add the missing slices, or export the series again")
        name, distance = slices[worst].path.name, abs(along[worst])
        cause = f"the slices are not evenly spaced: {name} lies {distance:.2g} mm from its place"
        raise read_error(folder, cause, "give one acquisition per folder, or export the series again")
    sideways = float(np.abs(off - np.outer(along, normal)).max())
    if sideways > DRIFT_TOLERANCE_MM:
        cause = f"the slices do not lie on one line (up to {sideways:.1f} mm off)"
        raise read_error(folder, cause, "give one acquisition per folder")
    return origin, step


def _check_doubled(slices: list[DicomSlice], gaps: np.ndarray, folder: Path) -> None:
    doubled = np.flatnonzero(gaps < SAME_PLACE_MM)
    if not doubled.size:
        return
    first, second = slices[doubled[0]], slices[doubled[0] + 1]
    names = (
        f"{first.path.name} and {second.path.name}" if first.path != second.path else f"two frames of {first.path.name}"
    )
    cause = f"{doubled.size} slices lie where another does ({names})"
    raise read_error(folder, cause, "keep one phase or reconstruction, and each file once")
