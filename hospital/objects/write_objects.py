"""Make and write the DICOM objects of one report: all of them or none."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import Dataset

from argus_inference.preview import draw_planes
from argus_processing.ct_checks import CTReadError
from argus_processing.read_ct import read_ct
from argus_processing.storage.claimed_folders import whole_folder
from argus_processing.storage.file_hash import hash_file

from .encapsulated_pdf import encapsulated_pdf
from .evidence_maps_read import evidence_files, read_evidence
from .evidence_segmentation import evidence_segmentation
from .fhir_report import fhir_report
from .object_identity import ObjectIdentity, identity_of
from .report_content import ReportContent
from .report_page import report_pdf
from .source_images import SourceImages, read_source_images
from .structured_report import basic_text_report, comprehensive_report

STRUCTURED: dict[str, Callable[[SourceImages, ReportContent, ObjectIdentity], Dataset]] = {
    "comprehensive": comprehensive_report,
    "basic": basic_text_report,
}


@dataclass(frozen=True)
class ObjectChoice:
    """The objects that are wanted beside the PDF.

    Attributes:
        structured: kind of the structured report: comprehensive or basic.
        evidence: folder that `argus report --evidence` wrote, or a NIfTI file of one map.
        has_fhir: whether a FHIR DiagnosticReport is wanted.
    """

    structured: str = "comprehensive"
    evidence: Path | None = None
    has_fhir: bool = False


@dataclass(frozen=True)
class WrittenObjects:
    """The files that were written, in order, and the names of elements that were left empty."""

    paths: tuple[Path, ...]
    emptied: tuple[str, ...]


def make_objects(
    folder: Path,
    report: ReportContent,
    choice: ObjectChoice | None = None,
    identity: ObjectIdentity | None = None,
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Make the objects of a report on the series in a folder.

    Args:
        folder: holds the one series that was read.
        report: the report on it.
        choice: the objects that are wanted. Default: structured report (TID 1500) and PDF.
        identity: of the objects. Default: that of the images, the report and its evidence.

    Returns:
        The content of each file by its name, the structured report last, and the names of elements that were left
        empty.

    Raises:
        CTReadError, ValueError: if the series cannot be read or referred to; no message quotes its header.
    """
    choice = choice or ObjectChoice()
    source = read_source_images(folder)
    maps = evidence_files(choice.evidence) if choice.evidence is not None else []
    identity = identity or identity_of(source.uids, report, *(hash_file(file.path).encode() for file in maps))
    picture = report.picture or draw_planes(read_ct(folder))
    pdf = report_pdf(report, picture, str(source.headers[0].SeriesInstanceUID))
    contents = {}
    with nothing_quoted():
        contents["report.pdf.dcm"] = file_bytes(encapsulated_pdf(source, pdf, identity))
        for number, file in enumerate(maps, start=1):
            segmentation = evidence_segmentation(source, read_evidence(file, source), file.name, number, identity)
            contents[f"evidence-{number:02d}.dcm"] = file_bytes(segmentation)
        structured = STRUCTURED[choice.structured](source, report, identity)
        if choice.has_fhir:
            contents["report.fhir.json"] = fhir_report(source, report, identity, structured, pdf).encode()
        contents["report.dcm"] = file_bytes(structured)
    return contents, source.emptied


def write_objects(folder: Path, report: ReportContent, out: Path, choice: ObjectChoice | None = None) -> WrittenObjects:
    """Make the objects of a report and write them into a new or empty folder, all or none; see `make_objects`."""
    contents, emptied = make_objects(folder, report, choice)
    with whole_folder(out) as part:
        for name, content in contents.items():
            (part / name).write_bytes(content)
    return WrittenObjects(tuple(out / name for name in contents), emptied)


def file_bytes(dataset: Dataset) -> bytes:
    """Return an object as the bytes of its file."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


@contextmanager
def nothing_quoted() -> Iterator[None]:
    """Keep the libraries' messages, which quote header values, out of logs and errors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (CTReadError, OSError, MemoryError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(f"the DICOM object cannot be made of these images ({kind}); please report it") from None
    finally:
        logging.disable(before)
