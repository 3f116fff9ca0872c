"""Coarse pictures of body parts as small DICOM files: chests with lungs, and others with gas where patients have it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from argus_processing.dicom_pixels import PixelFormat
from argus_processing.dicom_slices import kind_and_slices

SIDE = 96
LEVELS = 32
FIELD_MM = 384.0
# Ends of the lungs along the part of the body that is shown, from its foot end (0) to its head end (1).
LUNGS = {
    "chest": (0.12, 0.9),
    "chest_abdomen": (0.55, 0.95),
    "heart": (-0.8, 1.8),
    "abdomen": (0.8, 1.6),
    "whole_body": (0.55, 0.8),
}


def draw_body(body: str, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return a slice of a body part in HU, `(row, column)`, as wide as `FIELD_MM`."""
    across = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    y, x = np.meshgrid(across * FIELD_MM, across * FIELD_MM, indexing="ij")
    wide, deep = {"head": (75, 95), "neck": (60, 60), "limb": (55, 55)}.get(body, (165, 115))
    hu = np.full((SIDE, SIDE), -1000.0)
    hu[_ellipse(x, y, 0, 0, wide, deep)] = -100.0
    hu[_ellipse(x, y, 0, 0, wide - 12, deep - 12)] = 45.0
    hu[(np.abs(y - deep - 15) < 4) & (np.abs(x) < 170)] = -150.0  # the table
    hu[_ellipse(x, y, 0, deep - 30, 18, 18)] = 400.0
    if body in LUNGS:
        _draw_lungs(hu, x, y, level, LUNGS[body])
    if body in ("abdomen", "pelvis") or (body in ("chest_abdomen", "whole_body") and level < 0.5):
        for place in range(3):  # gas in bowels
            hu[_ellipse(x, y, 60 * (place - 1), -40, rng.uniform(8, 26), rng.uniform(8, 22))] = -990.0
    if body == "head":
        hu[_ellipse(x, y, 0, 0, 68, 88)] = 900.0
        hu[_ellipse(x, y, 0, 0, 62, 82)] = 35.0
        if level < 0.3:  # sinuses
            hu[_ellipse(x, y, -20, -55, 12, 14) | _ellipse(x, y, 20, -55, 12, 14)] = -980.0
    if body == "neck":
        hu[_ellipse(x, y, 0, -15, 9, 9)] = -995.0
    return np.clip(hu + rng.normal(0, 25, hu.shape), -1024, 3000)


def _ellipse(x: np.ndarray, y: np.ndarray, right: float, down: float, wide: float, deep: float) -> np.ndarray:
    return np.square((x - right) / wide) + np.square((y - down) / deep) < 1


def _draw_lungs(hu: np.ndarray, x: np.ndarray, y: np.ndarray, level: float, ends: tuple[float, float]) -> None:
    place = (level - ends[0]) / (ends[1] - ends[0])
    if not 0 < place < 1:
        return
    size = np.sin(np.pi * min(place, 0.62) / 1.24) if place < 0.62 else np.sqrt((1 - place) / 0.38)
    lungs = _ellipse(x, y, -75, 0, 62 * size, 85 * size) | _ellipse(x, y, 75, 0, 62 * size, 85 * size)
    hu[lungs & ~_ellipse(x, y, 20, -15, 55, 45)] = -860.0


@dataclass(frozen=True)
class BodyLibrary:
    """Files of every body part at every level, made when they are first asked for."""

    folder: Path

    @cached_property
    def _formats(self) -> dict[tuple[str, int], tuple[Path, PixelFormat]]:
        return {}

    def picture(self, body: str, level: float) -> tuple[Path, PixelFormat]:
        """Return a file that shows a body part at a level, and the format of its pixels."""
        key = body, int(np.clip(level, 0, 0.999) * LEVELS)
        if key not in self._formats:
            path = self.folder / f"{body}{key[1]:02d}.dcm"
            hu = draw_body(body, (key[1] + 0.5) / LEVELS, np.random.default_rng(key[1]))
            header = ct_file(path)
            set_hu(header, hu)
            header.save_as(path)
            self._formats[key] = path, kind_and_slices(path).slices[0].pixels
        return self._formats[key]


def ct_file(path: Path, sop_class: str = CTImageStorage) -> FileDataset:
    """Return an empty CT file with the geometry of a transverse slice."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = sop_class, meta.MediaStorageSOPInstanceUID, "CT"
    header.ImagePositionPatient, header.ImageOrientationPatient = [-192.0, -192.0, 0.0], [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [FIELD_MM / SIDE] * 2
    return header


def set_hu(header: Dataset, hu: np.ndarray) -> None:
    """Store a slice of HU as 16 bits with an intercept."""
    header.Rows, header.Columns = hu.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.PixelData = np.round(hu + 1024).astype("<u2").tobytes()
    header["PixelData"].VR = "OW"
