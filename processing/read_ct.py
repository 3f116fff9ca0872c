"""Read a CT from a NIfTI file, a DICOM folder or a row of a data set."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .ct_checks import read_error
from .ct_volume import CTVolume
from .read_nifti import Follower, read_nifti, read_nifti_bytes

NIFTI_SUFFIXES = (".nii", ".nii.gz")


def read_ct(path: str | os.PathLike, follow: Follower | None = None) -> CTVolume:
    """Read a CT from a .nii or .nii.gz file, or from a folder that holds one DICOM series.

    Args:
        path: the file or folder.
        follow: called while a file is read, see `read_nifti`; not for a folder.

    Returns:
        The scan in Hounsfield units and canonical orientation, see `CTVolume`.

    Raises:
        CTReadError: with the file, the cause and what to do, in one line.
    """
    path = Path(path)
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        return _read_folder(path)
    if not stat.S_ISREG(mode):
        raise read_error(path, "a pipe, socket or device, not a file", "save the scan to a file first")
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        return read_nifti(path, follow)
    if path.suffix.lower() in (".dcm", ".ima") or _has_dicom_mark(path):
        raise read_error(path, "one DICOM file is not a whole scan", "give the folder that holds the series")
    raise read_error(path, "not a format that is read", "give a .nii or .nii.gz file, or a folder with a DICOM series")


def read_ct_row(row: Mapping[str, Any], follow: Follower | None = None) -> CTVolume:
    """Read the CT of a row of `datasets.Nifti(decode=False)`: from its bytes or, only if it has none, its path.

    The path of a row with bytes is only a name: a file of that name may hold another patient's scan.

    Args:
        row: "bytes", a NIfTI file's content or None; "path", a file or name, or None.
        follow: as in `read_ct`.

    Raises:
        CTReadError: as `read_ct` does, or if the row holds neither.
    """
    content, path = row.get("bytes"), row.get("path")
    if content is not None:
        return read_nifti_bytes(bytes(content), os.path.basename(path or "") or "image", follow)
    if not path:
        raise read_error("image", "the row holds neither bytes nor a path", "give one of both")
    return read_ct(path, follow)


def _read_folder(path: Path) -> CTVolume:
    # Here, so that NIfTI files are read where a model's code is used and its DICOM libraries are not installed.
    try:
        from .read_dicom import read_dicom
    except ModuleNotFoundError as error:
        raise read_error(path, f"DICOM needs the package {error.name}", f"pip install {error.name}") from None
    return read_dicom(path)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise read_error(path, "no such file or folder", "check the path") from None
    except (OSError, ValueError) as error:  # name too long, a loop of links, a null character
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise read_error(path, f"cannot be opened ({reason})", "check the path and its permissions") from None


def _has_dicom_mark(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
