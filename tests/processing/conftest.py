"""Makers of small CT scans, in memory and as NIfTI and DICOM files written on the spot."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from argus_processing.ct_volume import CTReadError
from argus_processing.read_ct import read_ct

SHAPE = (12, 16, 20)  # D, H, W: all different, so that swapped axes show
SPACING = (2.5, 0.75, 0.5)
ORIGIN = np.array([-4.0, -7.0, -30.0])  # RAS mm of voxel (0, 0, 0)


def body_hu() -> np.ndarray:
    """A body of water in air with noise; no symmetry, so every flip shows."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[1:-1, 2:-2, 3:-3] = 40
    hu[3:6, 4:8, 5:9] = -850
    hu[-3:, 4:7, -6:-3] = 700
    return hu + np.random.default_rng(0).integers(-9, 10, SHAPE, dtype=np.int16)


def canonical_affine() -> np.ndarray:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = SPACING[0], -SPACING[1], -SPACING[2]
    affine[:3, 3], affine[3, 3] = ORIGIN, 1
    return affine


@pytest.fixture
def hu() -> np.ndarray:
    return body_hu()


@pytest.fixture
def affine() -> np.ndarray:
    return canonical_affine()


@pytest.fixture
def refusal():
    """Read what must be refused; give the message, found to be one line that tells nothing of the patient."""

    def read(path) -> str:
        with pytest.raises(CTReadError) as caught:
            read_ct(path)
        message = str(caught.value)
        assert message.startswith(f"{path}")
        assert "\n" not in message and "; " in message
        assert "SECRET" not in message and "1.2.3.4.5" not in message and "1961" not in message
        # A traceback must not show the library's own error either: it quotes the header.
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return message

    return read


@pytest.fixture
def write_nifti(tmp_path):
    """Write raw numbers under a header made by hand, so that nothing rescales them on the way."""

    def write(
        raw,
        affine=None,
        name="scan.nii.gz",
        slope=np.nan,
        intercept=np.nan,
        qform=None,
        order="<",
        dtype=None,
        **fields,
    ) -> Path:
        raw = np.asarray(raw)
        header = nib.Nifti1Header(endianness=order)
        header.set_data_shape(raw.shape)
        header.set_data_dtype(dtype or raw.dtype)
        header.set_sform(affine, code=1 if affine is not None else 0)
        if qform is not None:
            header.set_qform(qform, code=1)
        header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, intercept, 352
        for field, value in fields.items():
            header[field] = value
        content = header.binaryblock + bytes(4) + raw.astype(header.get_data_dtype()).tobytes("F")
        path = tmp_path / name
        path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
        return path

    return write


def _image_fields(header: Dataset, frame: np.ndarray) -> None:
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = frame.shape[-2:]
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0


def _new_file(path: Path, sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    header.SOPClassUID, header.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    header.Modality, header.PatientName, header.PatientID = "CT", "SECRET^NAME", "SECRET-ID"
    header.PatientBirthDate, header.StudyDescription = "19610203", "SECRET STUDY"
    header.SeriesInstanceUID, header.FrameOfReferenceUID = "1.2.3.4.5.6789", "1.2.3.4.5.9876"
    return header


def dicom_slice(path: Path, hu: np.ndarray, position, slope=1.0, intercept=-1024.0) -> FileDataset:
    """One transverse slice as DICOM; rows run to the patient's left, columns to the back."""
    header = _new_file(path, CTImageStorage)
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.ImagePositionPatient = [float(number) for number in position]
    header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], list(SPACING[1:])
    header.RescaleSlope, header.RescaleIntercept = slope, intercept
    _image_fields(header, hu)
    header.PixelData = np.round((hu - intercept) / slope).astype("<u2").tobytes()
    return header


@pytest.fixture
def write_dicom(tmp_path):
    """Write `hu` as a series; `edit(index, header)` may change a slice, and drops it by returning False."""

    def write(hu, folder="series", edit=lambda index, header: None, prefix="IM") -> Path:
        folder = tmp_path / folder
        folder.mkdir(exist_ok=True)
        for index, picture in enumerate(hu):
            # Names run against the positions, so that an order by name is found out.
            path = folder / f"{prefix}{len(hu) - index:04d}"
            position = ORIGIN * (-1, -1, 1) + (0, 0, index * SPACING[0])
            header = dicom_slice(path, picture, position)
            if edit(index, header) is not False:
                header.save_as(path)
        return folder

    return write


@pytest.fixture
def write_enhanced(tmp_path):
    """Write `hu` as one enhanced CT file, its frames in a shuffled order."""

    def write(hu) -> Path:
        folder = tmp_path / "enhanced"
        folder.mkdir()
        header = _new_file(folder / "scan", EnhancedCTImageStorage)
        order = np.random.default_rng(1).permutation(len(hu))
        shared, measures, plane = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, plane.ImageOrientationPatient = list(SPACING[1:]), [1, 0, 0, 0, 1, 0]
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
        header.SharedFunctionalGroupsSequence, header.NumberOfFrames = [shared], len(hu)
        header.PerFrameFunctionalGroupsSequence = [_frame_group(int(index)) for index in order]
        _image_fields(header, hu)
        stored = [hu[index] - _intercept(index) for index in order]
        header.PixelData = np.array(stored).astype("<u2").tobytes()
        header.save_as(folder / "scan")
        return folder

    return write


def _intercept(index: int) -> int:
    return -1024 - int(index)


def _frame_group(index: int) -> Dataset:
    group, place, values = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [*(ORIGIN * (-1, -1, 1))[:2], float(ORIGIN[2] + index * SPACING[0])]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, _intercept(index), "HU"
    group.PlanePositionSequence, group.PixelValueTransformationSequence = [place], [values]
    return group
