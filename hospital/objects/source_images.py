"""Read the headers of the images that a report was made from, as highdicom takes them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from argus_processing.ct_checks import read_error
from argus_processing.dicom_files import HEAD_BYTES, encoding_of, opened, read_header
from argus_processing.dicom_geometry import LPS_TO_RAS, stack_slices
from argus_processing.dicom_library import Tag
from argus_processing.dicom_slices import DicomSlice, find_slices
from argus_processing.dicom_values import as_numbers

from .header_repair import COPIED, UTF_8, lawful_uid, repaired_identity

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
TAGS = sorted(int(Tag(keyword)) for keyword in ("SpecificCharacterSet", "SliceThickness", *UIDS, *COPIED))
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True)
class SourceImages:
    """The images of the series that a report was made from.

    Attributes:
        headers: of each file, along the body: identity of patient and study, repaired, UIDs and geometry.
        affine: from (column, row, slice) to RAS+ mm.
        shape: numbers of slices, rows and columns.
        emptied: names of elements whose value broke the standard's rules and was left empty.
    """

    headers: tuple[Dataset, ...]
    affine: np.ndarray
    shape: tuple[int, int, int]
    emptied: tuple[str, ...]

    @property
    def are_single_slices(self) -> bool:
        """Return whether each file holds one slice."""
        return all(header.SOPClassUID == CT_IMAGE for header in self.headers)

    @property
    def uids(self) -> tuple[str, ...]:
        """Return the images' own UIDs, sorted."""
        return tuple(sorted(str(header.SOPInstanceUID) for header in self.headers))


def read_source_images(folder: Path) -> SourceImages:
    """Read the headers of the one series in a folder.

    Raises:
        CTReadError: as the reader does, or if the images have no UIDs to refer to.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote header values
        slices, _ = find_slices(folder)
        slices, affine = stack_slices(slices, folder)
        paths = dict.fromkeys(item.path for item in slices)
        headers = {path: _header(path) for path in paths}
        identity, emptied = repaired_identity(headers[slices[0].path])
        lone = len(paths) == len(slices)
        images = tuple(_image(headers[path], identity, folder) for path in paths)
        if lone:
            for image, item in zip(images, slices, strict=True):
                _add_geometry(image, item, headers[item.path], affine)
    if len({image.SeriesInstanceUID for image in images}) > 1 or len({image.StudyInstanceUID for image in images}) > 1:
        raise read_error(folder, "the images are of several series or studies", "give one series")
    if len({image.SOPInstanceUID for image in images}) < len(images):
        raise read_error(folder, "several images have the same UID", "export the series again")
    return SourceImages(images, affine, (len(slices), *slices[0].shape), emptied)


def _header(path: Path) -> Dataset:
    with opened(path) as file:
        encoding = encoding_of(file.read(HEAD_BYTES))
        if encoding is None:
            raise read_error(path, "no longer a DICOM file", "copy it again")
        header, _ = read_header(file, encoding, TAGS)
        if not header.get("SOPClassUID"):
            header.SOPClassUID = encoding.sop_class
    return header


def _image(header: Dataset, identity: Dataset, folder: Path) -> Dataset:
    """Return a new header with UIDs and the study's identity."""
    image = Dataset()
    image.SpecificCharacterSet = UTF_8
    for keyword in UIDS:
        uid = lawful_uid(header.get(keyword))
        if not uid and keyword != "FrameOfReferenceUID":
            cause = f"the images have no lawful {keyword}, so that nothing can refer to them"
            raise read_error(folder, cause, "export the series with its UIDs")
        if uid:
            setattr(image, keyword, uid)
    image.update(identity)
    image.Modality = "CT"
    return image


def _add_geometry(image: Dataset, item: DicomSlice, header: Dataset, affine: np.ndarray) -> None:
    """Add size and place of a slice, which evidence on its grid refers to."""
    image.Rows, image.Columns = item.shape
    image.ImagePositionPatient = _decimals(item.position)
    image.ImageOrientationPatient = _decimals(item.orientation)
    image.PixelSpacing = _decimals(item.spacing)
    step = float(np.linalg.norm(affine[:3, 2]))
    thickness = as_numbers(header.get("SliceThickness"), 1)
    image.SliceThickness = format_number_as_ds(thickness[0] if thickness and thickness[0] > 0 else step)
    image.SpacingBetweenSlices = format_number_as_ds(step)


def _decimals(numbers: Sequence[float]) -> list[str]:
    return [format_number_as_ds(float(number)) for number in numbers]


def lps_affine(source: SourceImages) -> np.ndarray:
    """Return the affine from (column, row, slice) to DICOM's LPS+ mm."""
    return LPS_TO_RAS @ source.affine
