"""Read a CT scan from whatever it is stored in."""

import os
from pathlib import Path

from .ct_checks import read_error
from .ct_volume import CTVolume
from .read_dicom import read_dicom
from .read_nifti import read_nifti

NIFTI_SUFFIXES = (".nii", ".nii.gz")


def read_ct(path: str | os.PathLike) -> CTVolume:
    """Read a CT from a .nii or .nii.gz file, or from a folder that holds one DICOM series.

    Returns:
        The scan in Hounsfield units and canonical orientation, see `CTVolume`.

    Raises:
        CTReadError: with the file, the cause and what to do, in one line.
    """
    path = Path(path)
    if not path.exists():
        raise read_error(path, "no such file or folder", "check the path")
    if path.is_dir():
        return read_dicom(path)
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        return read_nifti(path)
    if path.suffix.lower() in (".dcm", ".ima") or _has_dicom_mark(path):
        raise read_error(path, "one DICOM file is not a whole scan", "give the folder that holds the series")
    raise read_error(path, "not a format that is read", "give a .nii or .nii.gz file, or a folder with a DICOM series")


def _has_dicom_mark(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
