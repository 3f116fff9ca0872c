"""Read the headers of a study's files: the series that each belongs to, its kind, and its slices.

Kinds and slices are those of the reader (`dicom_kind`, `dicom_slices`). Labels are compared and never quoted.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from argus_processing.ct_checks import CTReadError, read_error
from argus_processing.dicom_files import HEAD_BYTES, encoding_of, files_below, opened, read_header, series_files
from argus_processing.dicom_kind import LOST, SLICE, kind_of
from argus_processing.dicom_library import Dataset, Tag
from argus_processing.dicom_slices import NO_DICOM, DicomSlice, kind_and_slices
from argus_processing.dicom_values import as_text, as_whole

MAX_STUDY_FILES = 50_000
DAMAGED = "damaged"
KEYWORDS = (
    "SOPClassUID Modality ImageType SeriesInstanceUID StudyInstanceUID PatientID SeriesNumber SeriesDescription "
    "ProtocolName BodyPartExamined StudyDescription ConvolutionKernel SliceThickness SpacingBetweenSlices "
    "ContrastBolusAgent ContrastBolusAgentPhase ContrastBolusAgentSequence PatientPosition ImageComments "
    "DerivationDescription RescaleType"
).split()
TAGS = sorted(int(Tag(keyword)) for keyword in KEYWORDS)

logging.getLogger("pydicom").addHandler(logging.NullHandler())  # its messages quote header values


@dataclass(frozen=True)
class SeriesLabels:
    """The words of a file's header about its series, for comparing only."""

    modality: str = ""
    image_type: str = ""
    number: int | None = None
    description: str = ""
    protocol: str = ""
    body_part: str = ""
    study_description: str = ""
    kernel: str = ""
    thickness: str = ""
    contrast: str = ""
    patient_position: str = ""


@dataclass(frozen=True)
class StudyFile:
    """One file of a study.

    Attributes:
        path: the file.
        kind: as the reader names it (`dicom_kind`), or `NO_DICOM`, or `DAMAGED`.
        series: SeriesInstanceUID; empty if the file has none.
        study: StudyInstanceUID and PatientID.
        labels: what the header says of the series.
        slices: its CT slices.
        problem: why the reader refuses the file; empty if it does not.
    """

    path: Path
    kind: str
    series: str = ""
    study: tuple[str, str] = ("", "")
    labels: SeriesLabels = SeriesLabels()
    slices: tuple[DicomSlice, ...] = ()
    problem: str = ""


def study_paths(folder: Path) -> list[Path]:
    """Return the files of a folder and of its subfolders; links to files are followed in the folder itself only.

    Raises:
        CTReadError: if the folder cannot be listed, or holds more files than any study has.
    """
    paths = series_files(folder)
    for path in files_below(folder):
        paths.append(path)
        if len(paths) > MAX_STUDY_FILES:
            raise read_error(folder, f"more than {MAX_STUDY_FILES:,} files in one folder", "give one study's folder")
    return paths


def read_study(paths: list[Path], advance: Callable[[], object] = lambda: None) -> Iterator[StudyFile]:
    """Read the headers of files; one that cannot be read is `DAMAGED`. `advance` is called after each."""
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote header values
            file = read_study_file(path)
        yield file
        advance()


def read_study_file(path: Path) -> StudyFile:
    """Read one file's header."""
    try:
        header, meta_class = _labels_header(path)
    except (CTReadError, OSError, ValueError) as error:
        return StudyFile(path, DAMAGED, problem=cause_of(error, path))
    if header is None:
        return StudyFile(path, NO_DICOM)
    series, study, patient = (
        as_text(header.get(name)) for name in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
    )
    kind = kind_of(header, meta_class)
    file = StudyFile(path, kind, series, (study, patient), _labels(header))
    if kind == LOST:
        return replace(file, kind=DAMAGED, problem="the header does not say what kind of image it is")
    try:
        return replace(file, slices=kind_and_slices(path).slices) if kind == SLICE else file
    except CTReadError as error:
        return replace(file, kind=DAMAGED, problem=cause_of(error, path))


def _labels_header(path: Path) -> tuple[Dataset | None, str]:
    """Read the elements that name a file's series, and its SOP class in the meta group; None if it is not DICOM."""
    if path.name.upper() == "DICOMDIR" or not path.exists():
        return None, ""
    with opened(path) as file:
        encoding = encoding_of(file.read(HEAD_BYTES))
        if encoding is None:
            return None, ""
        try:
            header, _ = read_header(file, encoding, TAGS)
            for element in header:  # values are parsed on access: damage raises here
                element.value  # noqa: B018
        except Exception:  # pydicom may raise anything for damaged bytes, and quotes them
            raise read_error(path, "the DICOM header is damaged", "copy or export the file again") from None
    return header, encoding.sop_class


def _labels(header: Dataset) -> SeriesLabels:
    agents = [header.get(name) for name in ("ContrastBolusAgent", "ContrastBolusAgentPhase")]
    return SeriesLabels(
        modality=as_text(header.get("Modality")).upper(),
        image_type=as_text(header.get("ImageType")),
        number=as_whole(header.get("SeriesNumber")),
        description=as_text(header.get("SeriesDescription")),
        protocol=as_text(header.get("ProtocolName")),
        body_part=as_text(header.get("BodyPartExamined")),
        study_description=as_text(header.get("StudyDescription")),
        kernel=as_text(header.get("ConvolutionKernel")),
        thickness=as_text(header.get("SliceThickness")),
        contrast=" ".join(as_text(agent) for agent in agents if agent),
        patient_position=as_text(header.get("PatientPosition")).upper(),
    )


def cause_of(error: BaseException, name: Path) -> str:
    """Return the cause that a reader's error tells, without the name of the scan before it and the advice after it."""
    if isinstance(error, OSError) and not isinstance(error, CTReadError):
        return "cannot be read"
    text = " ".join(str(error).split())
    before, _, after = text.partition(": ")
    # The error names the scan, or a file of it.
    text = after if after and ("/" in before or before == " ".join(str(name).split())) else text
    return text.rpartition("; ")[0] or text
