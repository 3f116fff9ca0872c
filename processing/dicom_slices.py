"""Find the CT slices of one DICOM series among the files of a folder, by their headers alone.

Nothing that tells a patient (names, numbers, dates, UIDs, descriptions) leaves this file, in errors or otherwise.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.tag import Tag

from .ct_checks import read_error

# These report odd header values, and with them perhaps a name, to whoever listens: by default to nobody.
for library in ("pydicom", "openjpeg"):
    logging.getLogger(library).addHandler(logging.NullHandler())

CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
IMAGE_MODALITIES = {"MR": "MR", "PT": "PET", "NM": "nuclear medicine", "US": "ultrasound", "XA": "angiography"}
IMAGE_MODALITIES |= {"CR": "radiography", "DX": "radiography", "MG": "mammography", "RF": "fluoroscopy"}
# Pictures computed from the scan, whose values are not the tissue's.
NOT_A_SLICE = {"MIP", "MINIP", "PROJECTION IMAGE", "MAX_IP", "MIN_IP", "SCREEN SAVE", "DOSE_INFO"}
NOT_HU = {"ED", "EDW", "HU_MOD", "Z_EFF", "MGML", "PCT", "OD"}
KEYWORDS = (
    "SOPClassUID ImageType Modality SeriesInstanceUID FrameOfReferenceUID NumberOfFrames SamplesPerPixel Rows Columns "
    "ImagePositionPatient ImageOrientationPatient PixelSpacing RescaleSlope RescaleIntercept RescaleType "
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
).split()
TAGS = [Tag(keyword) for keyword in KEYWORDS]


@dataclass(frozen=True)
class DicomSlice:
    """One slice: where its pixels are and where it lies in the patient (DICOM's LPS, mm)."""

    path: Path
    frame: int  # 0 in a file of one slice
    series: tuple  # equal for slices of one series
    shape: tuple[int, int]  # rows, columns
    orientation: tuple[float, ...]  # of a row, then of a column
    position: tuple[float, ...]  # of the first voxel's centre
    spacing: tuple[float, ...]  # between rows, between columns
    slope: float
    intercept: float


def find_slices(folder: Path) -> tuple[list[DicomSlice], tuple[str, ...]]:
    """Give the slices of a folder's one CT series, in no order, and warnings of what was left out.

    Other files, dose reports, annotations, secondary captures and localizers are left out. Subfolders are not searched.

    Raises:
        CTReadError: if there is no CT series, more than one, another modality, or a slice without its geometry.
    """
    slices: list[DicomSlice] = []
    left_out: Counter[str] = Counter()
    modalities: Counter[str] = Counter()
    for path, header in _headers(folder):
        kind = _kind(header)
        if kind == "slice":
            frames = list(_slices_of(path, header))
            slices += frames
            left_out["localizers"] += int(not frames)
        elif kind == "modality":
            modalities[IMAGE_MODALITIES[str(header.Modality)]] += 1
        else:
            left_out[kind] += 1
    _check_series(folder, slices, modalities, left_out)
    return slices, tuple(f"{count} {kind} left out" for kind, count in left_out.items() if count)


def _headers(folder: Path) -> Iterator[tuple[Path, Dataset]]:
    """Yield each DICOM file's header without its pixels; files of other kinds are passed over."""
    try:
        paths = sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_file())
        for path in paths:
            with open(path, "rb") as file:
                if file.read(132)[128:] != b"DICM" or path.name.upper() == "DICOMDIR":
                    continue
                file.seek(0)
                yield path, _parse(file, path)
    except OSError as error:
        raise read_error(folder, f"cannot be read ({error.strerror})", "check the folder's permissions") from None


def _parse(file: object, path: Path) -> Dataset:
    try:
        header = dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
        for keyword in KEYWORDS:
            header.get(keyword)  # values are parsed on access: damage shows here
        return header
    except Exception:  # pydicom raises whatever the damaged bytes lead to, and quotes them
        raise read_error(path, "the DICOM header is damaged", "copy or export the file again") from None


def _kind(header: Dataset) -> str:
    """Say what a file is: "slice", "modality" (a scan, but no CT), or the name of what is left out."""
    modality = str(header.get("Modality") or "")
    if modality in IMAGE_MODALITIES:
        return "modality"
    sop_class = str(header.get("SOPClassUID") or "")  # anonymised files may have it blank
    image_type = _image_type(header.get("ImageType"))
    if modality != "CT" or (sop_class and sop_class not in CT_CLASSES) or header.get("Rows") is None:
        return "DICOM objects that are not CT slices (captures, reports, annotations)"
    if "LOCALIZER" in image_type:
        return "localizers"
    if header.get("SamplesPerPixel", 1) != 1 or image_type & NOT_A_SLICE:
        return "projections and colour pictures"
    return "slice"


def _image_type(value: object) -> set[str]:
    values = [value] if isinstance(value, str) else list(value or [])
    return {str(part).strip().upper() for part in values}


def _slices_of(path: Path, header: Dataset) -> Iterator[DicomSlice]:
    """Yield the slices of one file: one of a classic CT, one a frame of an enhanced one."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        if int(header.get("NumberOfFrames") or 1) > 1:
            cause = "several frames in one file without a position for each"
            raise read_error(path, cause, "export the series as one file a slice")
        yield _slice(path, header, 0, [header])
        return
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    for index, frame in enumerate(header.PerFrameFunctionalGroupsSequence):
        macros = [item[0] for group in (frame, *shared) for item in _macros(group)]
        if not any("LOCALIZER" in _image_type(macro.get("FrameType")) for macro in macros):
            yield _slice(path, header, index, macros)


def _macros(group: Dataset) -> Iterator[object]:
    return (element.value for element in group if element.VR == "SQ" and element.value)


def _slice(path: Path, header: Dataset, frame: int, sources: list[Dataset]) -> DicomSlice:
    """Gather one slice's facts; what a source lacks, the next may have."""
    position = _numbers(path, sources, "ImagePositionPatient", 3)
    orientation = _numbers(path, sources, "ImageOrientationPatient", 6)
    spacing = _numbers(path, sources, "PixelSpacing", 2)
    slope = _numbers(path, sources, "RescaleSlope", 1, default=(1.0,))[0]
    intercept = _numbers(path, sources, "RescaleIntercept", 1, default=(0.0,))[0]
    if str(_first(sources, "RescaleType") or "").strip().upper() in NOT_HU:
        raise read_error(path, "the values are not Hounsfield units (rescale type)", "give the original CT series")
    shape = (int(header.Rows), int(header.Columns))
    series = (str(header.get("SeriesInstanceUID") or "").strip(),)
    if series == ("",):  # anonymised: tell series apart by what else they cannot share
        frame_of_reference = str(header.get("FrameOfReferenceUID") or "")
        series = ("", frame_of_reference, shape, tuple(round(cosine, 3) + 0.0 for cosine in orientation))
    return DicomSlice(path, frame, series, shape, orientation, position, spacing, slope, intercept)


def _first(sources: list[Dataset], keyword: str) -> object:
    return next((source.get(keyword) for source in sources if source.get(keyword) is not None), None)


def _numbers(
    path: Path, sources: list[Dataset], keyword: str, count: int, default: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    value = _first(sources, keyword)
    if (value is None or value == "") and default is not None:
        return default
    try:
        numbers = tuple(float(number) for number in (value if count > 1 else [value]))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count:
        raise read_error(path, f"{keyword} is missing or unreadable", "export the series again with its geometry")
    return numbers


def _check_series(folder: Path, slices: list[DicomSlice], modalities: Counter[str], left_out: Counter[str]) -> None:
    """Refuse a folder that does not hold exactly one CT series."""
    counts = sorted(Counter(item.series for item in slices).values(), reverse=True)
    others = " and ".join(f"{count} of {name}" for name, count in modalities.items())
    if modalities and not slices:
        raise read_error(folder, f"no CT: the slices are {' and '.join(modalities)}", "give a CT series")
    if modalities or len(counts) > 1:
        sizes = " and ".join(str(count) for count in counts) + (f" of CT, {others}" if others else "")
        number = len(counts) + len(modalities)
        raise read_error(folder, f"{number} series in one folder ({sizes} slices)", "put one series per folder")
    if not slices and left_out["localizers"]:
        raise read_error(folder, "only localizers, no CT slices", "give the folder of the scan itself")
    if not slices and left_out:
        raise read_error(folder, "no CT slices, only other DICOM objects", "give the folder of the CT series")
    if not slices:
        advice = "give the folder that holds the slices themselves, or a .nii.gz file by its own path"
        raise read_error(folder, "no DICOM files in this folder", advice)
