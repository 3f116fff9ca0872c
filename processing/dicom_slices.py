"""Find the CT slices of one DICOM series among the files of a folder, by their headers only.

Nothing that identifies a patient (names, numbers, dates, UIDs, descriptions) leaves this file, in errors or otherwise.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .ct_checks import CTReadError, read_error
from .dicom_files import HEAD_BYTES, Encoding, dicom_folder_below, encoding_of, opened, read_header, series_files
from .dicom_kind import (
    DERIVED,
    DESCRIPTIONS,
    IMAGE_MODALITIES,
    LOCALIZER,
    LOST,
    NOT_HU,
    SLICE,
    derived_kind,
    image_type_of,
    kind_of,
)
from .dicom_library import Dataset, Tag
from .dicom_pixels import OVERLAY_GROUPS, PIXEL_KEYWORDS, PixelFormat, pixel_format
from .dicom_strangers import check_strangers
from .dicom_values import as_numbers, as_seconds, as_text, as_whole

# These loggers report odd header values, which may contain a name; by default they are silenced.
for library in ("pydicom", "openjpeg"):
    logging.getLogger(library).addHandler(logging.NullHandler())

SAME = {"FrameOfReferenceUID": "frames of reference", "StudyInstanceUID": "studies", "PatientID": "patients"}
SAME |= {"PatientName": "patients", "PatientBirthDate": "patients", "PatientPosition": "patient positions"}
# Elements in which two acquisitions, phases or reconstructions of one series differ.
PHASE_KEYWORDS = (
    "AcquisitionNumber FrameAcquisitionNumber TemporalPositionIdentifier TemporalPositionIndex StackID ImageType "
    "FrameType NominalPercentageOfCardiacPhase NominalCardiacTriggerDelayTime ConvolutionKernel KVP FilterType "
    "ReconstructionDiameter ContrastBolusAgent ContrastBolusAgentPhase SeriesDescription ImageComments SliceThickness "
    "ScanOptions SeriesNumber SeriesDate SeriesTime StudyDate AcquisitionDate AcquisitionTime AcquisitionDateTime "
    "AcquisitionUID IrradiationEventUID ProtocolName StationName Manufacturer ContrastBolusStartTime "
    "ContrastBolusVolume DataCollectionDiameter ReconstructionTargetCenterPatient ReconstructionAlgorithm "
    "RevolutionTime"
).split()
NUMBERS = (  # written with more or fewer digits, or measured again for each slice
    "NominalPercentageOfCardiacPhase NominalCardiacTriggerDelayTime KVP ReconstructionDiameter SliceThickness "
    "ContrastBolusVolume DataCollectionDiameter RevolutionTime"
).split()
HEART_RATE = re.compile(r"\b(HR|BPM|HEART[ -]?RATE)\b[^,;]*|[\d.]+ ?(BPM|/MIN)\b")
CLOCK_KEYWORDS = (
    "AcquisitionTime AcquisitionDateTime FrameAcquisitionDateTime FrameReferenceDateTime ContentTime TriggerTime "
    "InstanceNumber"
).split()
NO_DICOM = "no DICOM"  # kind of a file
COUNTED = ("TriggerTime", "InstanceNumber")  # numbers; the others are times of day
KEYWORDS = (
    "SOPClassUID Modality SeriesInstanceUID NumberOfFrames "
    "ImagePositionPatient ImageOrientationPatient PixelSpacing RescaleSlope RescaleIntercept RescaleType "
    "ModalityLUTSequence SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
).split()
KEYWORDS += [*SAME, *PHASE_KEYWORDS, *CLOCK_KEYWORDS, *DESCRIPTIONS, *PIXEL_KEYWORDS]
WANTED = frozenset(KEYWORDS)
TAGS = sorted({int(Tag(keyword)) for keyword in KEYWORDS} | {group << 16 | 0x0102 for group in OVERLAY_GROUPS})


@dataclass(frozen=True)
class DicomSlice:
    """One slice: the place of its pixels in a file and its position in the patient (DICOM's LPS, mm)."""

    path: Path
    frame: int  # 0 in a file of one slice
    pixels: PixelFormat
    series: tuple[object, ...]  # equal for slices of one series
    orientation: tuple[float, ...]  # direction of a row, then of a column
    position: tuple[float, ...]  # position of the first voxel's centre
    spacing: tuple[float, ...]  # between rows, between columns
    slope: float | None  # None if the file does not say
    intercept: float | None
    same: tuple[str, ...] = ()  # in the order of SAME; empty if the file does not say
    phases: tuple[str, ...] = ()  # in the order of PHASE_KEYWORDS
    clocks: tuple[float | None, ...] = ()  # in the order of CLOCK_KEYWORDS

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and columns."""
        return self.pixels.rows, self.pixels.columns


def find_slices(folder: Path) -> tuple[list[DicomSlice], tuple[str, ...]]:
    """Return the slices of a folder's one CT series, unsorted, and warnings of files that were left out.

    Dose reports, annotations, captures, localizers, derived pictures and files of other kinds (text, DICOMDIR,
    .DS_Store) are left out. A file that may be a lost slice is refused. Subfolders are not read
    (`dicom_subfolders` looks for slices of the same series there); links are followed.

    Raises:
        CTReadError: if there is no CT series, more than one, another modality, or a slice that is damaged.
    """
    slices: list[DicomSlice] = []
    left_out: Counter[str] = Counter()
    strangers: list[tuple[Path, bytes]] = []
    for path in series_files(folder):
        found = kind_and_slices(path)
        if found.kind == NO_DICOM:
            strangers.append((path, found.head))
        elif found.kind == SLICE:
            slices += found.slices
            left_out[LOCALIZER] += int(not found.slices)
        else:
            left_out[found.kind] += 1
    modalities = Counter({kind: left_out.pop(kind) for kind in {*IMAGE_MODALITIES.values()} & {*left_out}})
    _check_series(folder, slices, modalities, left_out)
    check_strangers(strangers, [item.path for item in slices])
    return slices, tuple(f"{count} {kind} left out" for kind, count in left_out.items() if count)


@dataclass(frozen=True)
class FileFound:
    """One file of a folder: its kind, its CT slices, and its first bytes if it is not DICOM."""

    kind: str
    slices: tuple[DicomSlice, ...] = ()
    head: bytes = b""


def kind_and_slices(path: Path) -> FileFound:
    """Return the kind of one file, with its slices, or its first bytes if it is not DICOM."""
    if path.name.upper() == "DICOMDIR" or not path.exists():
        return FileFound(NO_DICOM)
    with opened(path) as file:
        head = file.read(HEAD_BYTES)
        encoding = encoding_of(head)
        if encoding is None:
            return FileFound(NO_DICOM, head=head[:4096])
        advice = "copy or export the file again"
        try:
            header, place = read_header(file, encoding, TAGS)
            for element in header:  # values are parsed on access: damage raises here
                element.value  # noqa: B018
            kind = kind_of(header, encoding.sop_class)
            if kind == SLICE:
                return FileFound(kind, tuple(_slices_of(path, header, encoding, place)))
        except (CTReadError, OSError):
            raise
        except Exception:  # pydicom may raise anything for damaged bytes, and quotes them
            raise read_error(path, "the DICOM header is damaged", advice) from None
        if kind == LOST:
            cause = "the DICOM header is damaged or cut short: it no longer says what kind of image this is"
            raise read_error(path, cause, advice)
        return FileFound(kind)


def _slices_of(path: Path, header: Dataset, encoding: Encoding, place: int | None) -> Iterator[DicomSlice]:
    """Yield the slices of one file: one for a classic CT, one per frame for an enhanced CT."""
    frames = as_whole(1 if header.get("NumberOfFrames") in (None, "") else header.NumberOfFrames)
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if frames is None or frames < 1 or (groups is not None and len(groups) != frames):
        cause = f"NumberOfFrames and the {len(groups or [])} frames that are described contradict each other"
        raise read_error(path, cause, "copy or export the file again")
    form = pixel_format(path, header, encoding, place, frames)
    if groups is None:
        if frames > 1:
            cause = "several frames in one file without a position for each"
            raise read_error(path, cause, "export the series as one file a slice")
        yield _slice(path, 0, form, _facts([header]))
        return
    shared = _facts([*_macros(header.get("SharedFunctionalGroupsSequence") or [])])
    own = {name: header.get(name) for name in (*SAME, *PHASE_KEYWORDS, *CLOCK_KEYWORDS, "SeriesInstanceUID")}
    for index, group in enumerate(groups):
        facts = own | shared | _facts([*_macros([group])])
        picture = derived_kind(image_type_of(facts.get("FrameType")), [])
        if picture == DERIVED:
            raise read_error(
                path, "some frames are derived pictures (projections, reformats)", "give the original CT series"
            )
        if not picture:
            yield _slice(path, index, form, facts)


def _macros(groups: Iterable[Dataset]) -> Iterator[Dataset]:
    return (item for group in groups for element in group if element.VR == "SQ" for item in element.value[:1])


def _facts(sources: Iterable[Dataset]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for source in sources:
        for element in source:
            if element.keyword in WANTED and element.value is not None:
                facts.setdefault(element.keyword, element.value)
    return facts


def _slice(path: Path, frame: int, form: PixelFormat, facts: dict[str, object]) -> DicomSlice:
    """Make one slice from the facts of its header."""
    position = _geometry(path, facts, "ImagePositionPatient", 3)
    orientation = _geometry(path, facts, "ImageOrientationPatient", 6)
    spacing = _geometry(path, facts, "PixelSpacing", 2)
    if as_text(facts.get("RescaleType")).upper() in NOT_HU:
        raise read_error(path, "the values are not Hounsfield units (rescale type)", "give the original CT series")
    slope, intercept = _rescale(path, facts, "RescaleSlope"), _rescale(path, facts, "RescaleIntercept")
    if slope is not None and slope <= 0:
        raise read_error(path, "RescaleSlope is not above 0", "export the series again")
    if facts.get("ModalityLUTSequence") and slope is None:
        raise read_error(path, "the values are given by a table (Modality LUT)", "give the original CT series")
    same = tuple(as_text(facts.get(name)) for name in SAME)
    series: tuple[object, ...] = (as_text(facts.get("SeriesInstanceUID")),)
    if series == ("",):  # anonymised: distinguish series by other values that they cannot share
        series = ("", same[0], (form.rows, form.columns), tuple(round(cosine, 3) + 0.0 for cosine in orientation))
    phases = tuple(_label(name, facts.get(name)) for name in PHASE_KEYWORDS)
    clocks = tuple(
        (numbers[0] if (numbers := as_numbers(facts.get(name), 1)) else None)
        if name in COUNTED
        else as_seconds(facts.get(name))
        for name in CLOCK_KEYWORDS
    )
    return DicomSlice(path, frame, form, series, orientation, position, spacing, slope, intercept, same, phases, clocks)


def _label(keyword: str, value: object) -> str:
    """Return the label of a phase from one header value: equal texts for equal values in any notation."""
    if keyword == "ImageComments":  # the heart rate during a slice is not a phase
        return HEART_RATE.sub("", as_text(value).upper())
    return as_text(value)


def _geometry(path: Path, facts: dict[str, object], keyword: str, count: int) -> tuple[float, ...]:
    numbers = as_numbers(facts.get(keyword), count)
    if numbers is None:
        raise read_error(path, f"{keyword} is missing or unreadable", "export the series again with its geometry")
    return numbers


def _rescale(path: Path, facts: dict[str, object], keyword: str) -> float | None:
    value = facts.get(keyword)
    if value is None or value == "":
        return None
    numbers = as_numbers(value, 1)
    if numbers is None:
        raise read_error(path, f"{keyword} is unreadable", "export the series again")
    return numbers[0]


def _check_series(folder: Path, slices: list[DicomSlice], modalities: Counter[str], left_out: Counter[str]) -> None:
    """Check that a folder holds exactly one CT series."""
    counts = sorted(Counter(item.series for item in slices).values(), reverse=True)
    others = " and ".join(f"{count} of {name}" for name, count in modalities.items())
    if modalities and not slices:
        raise read_error(folder, f"no CT: the slices are {' and '.join(modalities)}", "give a CT series")
    if modalities or len(counts) > 1:
        sizes = " and ".join(str(count) for count in counts) + (f" of CT, {others}" if others else "")
        number = len(counts) + len(modalities)
        raise read_error(folder, f"{number} series in one folder ({sizes} slices)", "put one series per folder")
    if slices:
        return
    if left_out[LOCALIZER]:
        raise read_error(folder, "only localizers, no CT slices", "give the folder of the scan itself")
    if left_out[DERIVED]:
        raise read_error(folder, f"only {DERIVED}, no CT slices", "give the folder of the scan itself")
    if left_out:
        raise read_error(folder, "no CT slices, only other DICOM objects", "give the folder of the CT series")
    below = dicom_folder_below(folder)
    if below is not None:
        cause = f"no DICOM files in this folder itself, but below it, in {below.relative_to(folder)} first"
        raise read_error(folder, cause, "give the folder of the one series")
    advice = "give the folder that holds the slices themselves, or a .nii.gz file by its own path"
    raise read_error(folder, "no DICOM files in this folder", advice)
