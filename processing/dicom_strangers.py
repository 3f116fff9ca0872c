"""Distinguish harmless files beside a DICOM series from slices that were lost."""

import re
from pathlib import Path

from .ct_checks import read_error

HARMLESS_NAMES = {"dicomdir", "thumbs.db", "desktop.ini", "lockfile", "version", "readme", "license", "autorun.inf"}
HARMLESS_ENDS = tuple(
    (
        ".txt .json .csv .tsv .xml .html .htm .pdf .md .log .yaml .yml .ini .inf .db .jpg .jpeg .png .gif .bmp .tif "
        ".tiff .svg .nii .nii.gz .nrrd .mha .mhd .raw .stl .h5 .npy .npz .md5 .sha1 .sha256 .doc .docx "
        ".xls .xlsx .ppt .pptx .rtf .exe .dll .bat .cmd .sh .py .js .css .lnk .url .zip .tar .tar.gz .tgz .7z .rar "
        ".jar .cfg .conf .toml .parquet .bval .bvec .ico .swf"
    ).split()
)
SLICE_ENDS = (".dcm", ".ima", ".dicom", ".dic", ".dc3", ".img")


def check_strangers(strangers: list[tuple[Path, bytes]], slices: list[Path]) -> None:
    """Refuse files that are not DICOM and may be lost slices of the series beside them.

    Args:
        strangers: each file with its first bytes; no bytes if it is empty or a broken link.
        slices: the files that were read.

    Raises:
        CTReadError: naming the first of them.
    """
    patterns = {_pattern(path) for path in slices}
    unnumbered = {name for name in patterns if "#" not in name}
    lost = [(path, head) for path, head in strangers if not _harmless(path, head, patterns, bool(unnumbered))]
    if not lost:
        return
    path, head = lost[0]
    state = "is no DICOM file" if head else "is empty" if path.exists() else "is a link that leads nowhere"
    more = f", and {len(lost) - 1} more like it" if len(lost) > 1 else ""
    advice = "copy it again, or move it away if it is no slice"
    raise read_error(path, f"may be a lost slice: it lies among the series' files and {state}{more}", advice)


def _harmless(path: Path, head: bytes, patterns: set[str], unnumbered: bool) -> bool:
    """Return whether a file that is not DICOM is surely not a slice, by its name and its first bytes.

    Args:
        path: the file.
        head: its first bytes.
        patterns: patterns of the names of the series' files.
        unnumbered: whether some of these names have no digit.
    """
    name = path.name.lower()
    if name.startswith(".") or name in HARMLESS_NAMES:
        return True
    if _pattern(path) in patterns or name.endswith(SLICE_ENDS):
        return False
    if name.endswith(HARMLESS_ENDS):
        return True
    if not unnumbered and not any(letter.isdigit() for letter in path.stem):  # "notes", "_SUCCESS"
        return True
    return (
        bool(head)
        and head.isascii()
        and head.decode("ascii").replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    )


def _pattern(path: Path) -> str:
    """Return a file's name with each number replaced by a mark: equal for the files of one series."""
    return re.sub(r"\d+", "#", path.name.lower())
