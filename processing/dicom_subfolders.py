"""Find slices of a series in subfolders of the given folder, without which the scan would be too short."""

from pathlib import Path

import numpy as np

from .ct_checks import CTReadError, read_error
from .dicom_files import MAX_FILES, files_below
from .dicom_geometry import SAME_PLACE_MM
from .dicom_slices import DicomSlice, kind_and_slices


def check_subfolders(slices: list[DicomSlice], folder: Path) -> None:
    """Refuse a series with more slices in a subfolder; copies of slices, and other series, are allowed there.

    Raises:
        CTReadError: naming the subfolder.
    """
    normal = np.cross(*np.array(slices[0].orientation).reshape(2, 3))
    places = np.sort([float(normal @ item.position) for item in slices])
    series = slices[0].series
    if not any(series[:2]):  # no UID of any kind: nothing shows that they belong together
        return
    lost = [
        path.parent
        for path, _ in zip(files_below(folder), range(MAX_FILES), strict=False)
        for item in _slices_in(path)
        if item.series == series and np.abs(places - float(normal @ item.position)).min() > SAME_PLACE_MM
    ]
    if lost:
        cause = f"{len(lost)} further slices of this series lie in its subfolder {lost[0].relative_to(folder)}"
        raise read_error(folder, cause, "put all slices of the series into one folder")


def _slices_in(path: Path) -> tuple[DicomSlice, ...]:
    try:
        return kind_and_slices(path).slices
    except CTReadError:
        return ()  # damaged, but not in the given folder
