"""Recognise scans, pickles and archives by their first bytes and by their names, whichever of them tells."""

import struct
import zipfile
import zlib
from pathlib import Path

SCAN, PICKLE, ARCHIVE = "scan", "pickle", "archive"
_START = 4096
_SCAN_ENDINGS = (
    *(".nii", ".nii.gz", ".hdr", ".img", ".img.gz", ".dcm", ".dicom", ".ima", ".npy", ".npz", ".nrrd", ".nhdr"),
    *(".mha", ".mhd", ".mnc", ".h5", ".hdf5", ".zarr", ".b2nd", ".raw", ".zraw", ".tif", ".tiff", ".png", ".jpg"),
    *(".jpeg", ".bmp", ".gif", ".webp", ".jp2", ".svs"),
)
_PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".msgpack")
# First bytes in lower case, as some writers vary it.
_SCAN_STARTS = (
    *(b"\x93numpy", b"nrrd", b"objecttype", b"ndims", b"\x89hdf", b"cdf\x01", b"cdf\x02", b"argusvc"),
    *(b"\x89png", b"\xff\xd8\xff", b"ii*\0", b"mm\0*", b"gif8", b"\xffo\xffq", b"\0\0\0\x0cjp  "),
)
_ARCHIVE_STARTS = (
    *(b"rar!", b"7z\xbc\xaf\x27\x1c", b"\xfd7zxz", b"bzh", b"\x28\xb5\x2f\xfd", b"\x04\x22m\x18", b"%pdf"),
    *(b"\x1f\x9d", b"\x1f\xa0", b"sqlite format 3", b"par1", b"arrow1", b"\xd0\xcf\x11\xe0", b"gguf", b"lzip"),
)
_PICTURES = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff"}
_MAX_PACKINGS = 4
_GZIP, _ZIP, _DICOM = b"\x1f\x8b", b"PK", b"DICM"
# Groups with which a DICOM data set without its preamble begins, and the letters of a value's type.
_DICOM_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")
_NIFTI_HEADERS = (348, 540)
# Elements with which a data set of implicit types begins, in group 8.
_DICOM_ELEMENTS = (b"\0\0", b"\x01\0", b"\x05\0", b"\x08\0", b"\x12\0", b"\x16\0", b"\x18\0")
_OPTIMIZER_WORDS = ("optimizer", "scheduler", "rng_state", "trainer_state", "training_args", "scaler.", "events.out")


def kind_of_file(path: Path) -> str | None:
    """Return `SCAN`, `PICKLE` or `ARCHIVE` for what a file is by its content or its name; None for neither.

    A picture counts as a scan: it may show one.
    """
    with path.open("rb") as file:
        start = file.read(_START)
    return kind_of_bytes(start, path) or kind_of_name(path.name)


def kind_of_name(name: str) -> str | None:
    """Return `SCAN` or `PICKLE` for a name that such files have; None for others."""
    lowered = name.lower()
    if lowered.endswith(_SCAN_ENDINGS):
        return SCAN
    return PICKLE if lowered.endswith(_PICKLE_ENDINGS) else None


def is_training_state(name: str) -> bool:
    """Return whether a name is that of an optimizer's or a run's state."""
    return any(word in name.lower() for word in _OPTIMIZER_WORDS)


def is_picture(path: Path) -> bool:
    """Return whether a file is a PNG or JPEG picture by its name and its first bytes."""
    with path.open("rb") as file:
        start = file.read(8)
    return path.suffix.lower() in _PICTURES and start.startswith(_PICTURES[path.suffix.lower()])


def kind_of_bytes(start: bytes, path: Path | None = None) -> str | None:
    """Return `SCAN`, `PICKLE` or `ARCHIVE` for the first bytes of a file.

    Args:
        start: the first bytes; 4,096 suffice.
        path: the whole file, to look into a ZIP archive. Default: the archive is not looked into.
    """
    if start.startswith(_GZIP):
        # A file may inflate to itself, so this ends.
        for _ in range(_MAX_PACKINGS):
            start = _inflated(start)
            if not start.startswith(_GZIP):
                return kind_of_bytes(start) or ARCHIVE
        return ARCHIVE
    if start.startswith(_ZIP):
        return _kind_of_zip(path) if path else ARCHIVE
    if is_volume(start) or start[: _longest(_SCAN_STARTS)].lower().startswith(_SCAN_STARTS):
        return SCAN
    # A pickle of protocol 2 or later; torch's format of before begins with one.
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and len(start) > 1:
        return PICKLE
    is_archive = start[: _longest(_ARCHIVE_STARTS)].lower().startswith(_ARCHIVE_STARTS) or start[257:262] == b"ustar"
    return ARCHIVE if is_archive else None


def is_volume(start: bytes) -> bool:
    """Return whether first bytes are those of a NIfTI, Analyze or DICOM file, with or without its preamble."""
    if start[128:132] == _DICOM:
        return True
    if len(start) >= 12 and start[:2] in _DICOM_GROUPS and start[4:6].isalpha() and start[4:6].isupper():
        return True
    if start[:2] == b"\x08\0" and start[2:4] in _DICOM_ELEMENTS and start[6:8] == b"\0\0":
        return True
    if len(start) < 348:
        return False
    return any(struct.unpack(order, start[:4])[0] in _NIFTI_HEADERS for order in ("<i", ">i"))


def _longest(starts: tuple[bytes, ...]) -> int:
    return max(map(len, starts))


def _inflated(start: bytes) -> bytes:
    """Return the first bytes that a gzip file holds; none if it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(start, _START)
    except zlib.error:
        return b""


def _kind_of_zip(path: Path) -> str:
    """Return the kind of a ZIP archive by its members: torch's pickles, NumPy's arrays, or any other."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return ARCHIVE
    kinds = [kind_of_name(name) for name in names]
    return next((kind for kind in (PICKLE, SCAN) if kind in kinds), ARCHIVE)
