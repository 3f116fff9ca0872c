"""Read a CT from a folder that holds one DICOM series: headers first, then geometry, then pixels."""

import os
import warnings
from pathlib import Path

from .ct_volume import CTVolume
from .dicom_geometry import stack_slices
from .dicom_hu import series_hu
from .dicom_phases import check_labels, check_pictures
from .dicom_slices import find_slices
from .dicom_subfolders import check_subfolders


def read_dicom(folder: str | os.PathLike) -> CTVolume:
    """Read the one CT series of a folder; each slice's slope and intercept are applied once.

    Slices are sorted by their position along the slice normal, never by name. Files may hold one slice each, or be
    enhanced CT. All links to files are followed; `dicom_files.series_files` lists the files that would be read.

    Raises:
        CTReadError: if there is not exactly one complete series, or its pixels cannot be decoded.
    """
    folder = Path(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote header values
        slices, notes = find_slices(folder)
        slices, affine = stack_slices(slices, folder)
        check_labels(slices, folder)
        check_subfolders(slices, folder)
        hu, oddities = series_hu(slices, folder)
        check_pictures(hu, folder)
    return CTVolume.from_file_axes(hu.transpose(2, 1, 0), affine, folder, notes + oddities)
