"""Write the headers that a PACS tells as JSON to files, so that a series is chosen before its images are fetched."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, config
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from argus_processing.dicom_slices import TAGS as SLICE_TAGS

from ..objects.header_repair import UTF_8
from ..series.study_files import DAMAGED, StudyFile, read_study_file
from ..series.study_files import TAGS as STUDY_TAGS
from .pacs_errors import PacsError

WANTED = frozenset(f"{tag:08X}" for tag in (*SLICE_TAGS, *STUDY_TAGS))
CHARACTER_SET, SOP_CLASS, SOP_UID = "00080005", "00080016", "00080018"


@dataclass(frozen=True)
class SeriesHeaders:
    """The headers of a series of the PACS: UIDs of its images, and their files without pixels."""

    uid: str
    images: tuple[str, ...]
    files: tuple[StudyFile, ...]


def write_headers(series: str, metadata: Sequence[dict[str, Any]], folder: Path) -> SeriesHeaders:
    """Write the headers of a series into a folder and read them as those of any study.

    Raises:
        PacsError: if an image has no UID.
        OSError: if a file cannot be written.
    """
    files, images = [], []
    for number, item in enumerate(metadata):
        images.append(_uid(item, SOP_UID))
        path = folder / f"{number:05d}.dcm"
        try:
            _write_header(item, path)
        except OSError:
            raise
        except Exception:  # pydicom may raise anything for values against the standard, and quotes them
            files.append(StudyFile(path, DAMAGED, series, problem="the PACS tells a damaged header"))
            continue
        files.append(read_study_file(path))
    return SeriesHeaders(series, tuple(images), tuple(files))


def _write_header(item: dict[str, Any], path: Path) -> None:
    wanted = {tag: element for tag, element in item.items() if tag in WANTED and tag != CHARACTER_SET}
    before = config.settings.writing_validation_mode, config.settings.reading_validation_mode
    config.settings.writing_validation_mode = config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            header = Dataset.from_json(wanted, bulk_data_uri_handler=lambda *_: None)
            header.SpecificCharacterSet = UTF_8
            header.file_meta = FileMetaDataset()
            header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            header.file_meta.MediaStorageSOPClassUID = UID(_uid(item, SOP_CLASS))
            header.file_meta.MediaStorageSOPInstanceUID = UID(_uid(item, SOP_UID))
            header.save_as(path, enforce_file_format=True)
    finally:
        config.settings.writing_validation_mode, config.settings.reading_validation_mode = before


def _uid(item: dict[str, Any], tag: str) -> str:
    value = next(iter(item.get(tag, {}).get("Value", [])), None)
    if not isinstance(value, str) or not value:
        raise PacsError("the PACS tells a header without UIDs")
    return value
