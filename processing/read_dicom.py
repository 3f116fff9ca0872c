"""Read a CT from a folder that holds one DICOM series: headers first, then geometry, then pixels."""

import os
import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import UID

from .ct_checks import MIN_SLICES, read_error, rescale_to_hu, spatial_shape
from .ct_volume import CTVolume
from .dicom_slices import DicomSlice, find_slices

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE_MM = 0.01
GAP_TOLERANCE = 0.1  # of the usual gap; positions are often written with one or two decimals
DRIFT_TOLERANCE_MM = 1.0  # of a slice off the straight line through all of them
COSINE_TOLERANCE = 1e-3


def read_dicom(folder: str | os.PathLike) -> CTVolume:
    """Read the one CT series of a folder; each slice's slope and intercept are applied once.

    Slices are ordered by their position along the slice normal, never by name. One slice a file, or enhanced CT.

    Raises:
        CTReadError: if there is not exactly one complete series, or its pixels cannot be decoded.
    """
    folder = Path(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote header values
        slices, notes = find_slices(folder)
        slices, affine = stack_slices(slices, folder)
        hu = _decode(slices, folder)
    return CTVolume.from_file_axes(hu.transpose(2, 1, 0), affine, folder, notes)


def stack_slices(slices: list[DicomSlice], folder: Path) -> tuple[list[DicomSlice], np.ndarray]:
    """Order the slices of one series and give the affine of (column, row, slice) to RAS+ mm.

    Raises:
        CTReadError: if they are too few, not alike, doubled, or not evenly spaced on one line.
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
    positions = np.array([item.position for item in slices])
    _check_gaps(slices, positions @ normal, folder)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    drift = positions - positions[0] - np.arange(len(slices))[:, None] * step
    drift -= np.outer(drift @ normal, normal)
    if np.abs(drift).max() > DRIFT_TOLERANCE_MM:
        cause = f"the slices do not lie on one line (up to {np.abs(drift).max():.1f} mm off)"
        raise read_error(folder, cause, "give one acquisition per folder")
    affine = np.eye(4)
    between_rows, between_columns = slices[0].spacing
    affine[:3] = np.column_stack([row * between_columns, column * between_rows, step, positions[0]])
    return slices, LPS_TO_RAS @ affine


def _check_alike(slices: list[DicomSlice], folder: Path) -> None:
    """Refuse slices that differ in size, direction or pixel spacing."""
    first = slices[0]
    facts = {
        "image size": [item.shape != first.shape for item in slices],
        "orientation": [_apart(item.orientation, first.orientation) > COSINE_TOLERANCE for item in slices],
        "pixel spacing": [_apart(item.spacing, first.spacing) > COSINE_TOLERANCE for item in slices],
    }
    for fact, differs in facts.items():
        if any(differs):
            cause = f"{sum(differs)} of {len(slices)} slices differ from the others in {fact}"
            raise read_error(folder, cause, "give one series per folder")


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    difference = float(np.abs(np.subtract(one, other)).max())
    return difference if np.isfinite(difference) else np.inf


def _check_gaps(slices: list[DicomSlice], places: np.ndarray, folder: Path) -> None:
    """Refuse doubled and missing slices.

    Args:
        slices: in order.
        places: each slice's place along the normal in mm, rising.
        folder: for the error.
    """
    if not np.isfinite(places).all():
        raise read_error(folder, "ImagePositionPatient holds a value that is not finite", "export the series again")
    gaps = np.diff(places)
    doubled = np.flatnonzero(gaps < SAME_PLACE_MM)
    if doubled.size:
        first, second = slices[doubled[0]].path.name, slices[doubled[0] + 1].path.name
        cause = f"{doubled.size} slices lie where another does ({first} and {second})"
        raise read_error(folder, cause, "keep one phase or reconstruction, and each file once")
    usual = float(np.median(gaps))
    uneven = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[uneven] - usual) > GAP_TOLERANCE * usual:
        between = f"{slices[uneven].path.name} and {slices[uneven + 1].path.name}"
        cause = f"a gap of {gaps[uneven]:.4g} mm between {between}, where {usual:.4g} mm is usual"
        raise read_error(folder, cause, "add the missing slices, or export the series again")


def _decode(slices: list[DicomSlice], folder: Path) -> np.ndarray:
    """Decode all slices to a `(slice, row, column)` array of HU, int16 where every rescale is whole."""
    rows, columns = slices[0].shape
    spatial_shape((columns, rows, len(slices)), folder)
    whole = all(float(number).is_integer() for item in slices for number in (item.slope, item.intercept))
    hu = np.empty((len(slices), rows, columns), np.int16 if whole else np.float32)
    by_file = sorted(range(len(slices)), key=lambda index: (slices[index].path, slices[index].frame))
    for path, group in groupby(by_file, key=lambda index: slices[index].path):
        places = list(group)
        frames = _frames(path, [slices[place].frame for place in places])
        for place, frame in zip(places, frames, strict=True):
            hu[place] = _slice_hu(frame, slices[place], hu.dtype)
    return hu


def _slice_hu(frame: np.ndarray, item: DicomSlice, dtype: np.dtype) -> np.ndarray:
    if frame.shape != item.shape:
        raise read_error(item.path, "the pixels do not have the size the header states", "export the file again")
    hu = rescale_to_hu(frame, item.slope, item.intercept)
    if dtype == np.int16 and hu.dtype != np.int16:
        span = f"{hu.min():.6g} to {hu.max():.6g}"
        raise read_error(item.path, f"the values run from {span}, which no tissue has", "check slope and intercept")
    return hu


def _frames(path: Path, indices: list[int]) -> list[np.ndarray]:
    """Decode some frames of one file, or say in one line why not."""
    name, supported = _transfer_syntax(path)
    if not supported:
        cause = f"the pixels are compressed in a way that is not supported ({name})"
        raise read_error(path, cause, "export the series uncompressed")
    try:
        return list(iter_pixels(path, indices=indices, raw=True))
    except AttributeError:
        raise read_error(path, "no pixel data can be found", "export the series again with its images") from None
    except Exception:  # the decoders raise whatever the damaged bytes lead to
        cause = f"the pixel data ({name}) cannot be decoded"
        raise read_error(path, cause, "copy the file again, or export the series uncompressed") from None


def _transfer_syntax(path: Path) -> tuple[str, bool]:
    """Give the name of how the pixels are stored, and whether they can be decoded here."""
    uid = UID(str(read_file_meta_info(path).get("TransferSyntaxUID", "")))
    try:
        return uid.name, get_decoder(uid).is_available
    except NotImplementedError:
        return uid.name if uid.name != str(uid) else "an unknown transfer syntax", False
