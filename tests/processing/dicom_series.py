"""Small CT series as DICOM in every transfer syntax that can be written here, for tests and for fuzzing.

`write_series` writes one file a slice, `write_enhanced` one file of all frames. Both know their true values:
`hu` comes back as it went in, within `TOLERANCE_HU` for the lossy syntaxes.
"""

import base64
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import gdcm
import numpy as np
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_encoder
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, RLELossless, generate_uid

SHAPE = (12, 16, 20)  # D, H, W: all different, so that swapped axes show
SPACING = (2.5, 0.75, 0.5)
ORIGIN = np.array([-4.0, -7.0, -30.0])  # RAS mm of voxel (0, 0, 0)
TRANSVERSE = (1, 0, 0, 0, 1, 0)
HTJ2K_FRAMES = Path(__file__).with_name("htj2k_frames.json")  # OpenJPEG reads HTJ2K, and writes none


@dataclass(frozen=True)
class Syntax:
    """A transfer syntax and how a `(rows, columns)` array of stored numbers becomes its bytes."""

    uid: str
    encode: Callable[[np.ndarray], bytes] | None = None  # none where frames are stored plainly
    bits: int = 16
    tolerance_hu: float = 0.0


def _with_gdcm(kind: int, error: int = 0) -> Callable[[np.ndarray], bytes]:
    """Encode by way of files: gdcm ends the process when Python frees a picture made in memory."""

    def encode(stored: np.ndarray) -> bytes:
        change, codec = gdcm.ImageChangeTransferSyntax(), gdcm.JPEGLSCodec()
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        if error:
            codec.SetLossless(False)
            codec.SetLossyError(error)
            change.SetUserCodec(codec)
        with tempfile.TemporaryDirectory() as folder:
            plain, packed = f"{folder}/plain", f"{folder}/packed"
            header = new_file(plain, CTImageStorage)
            set_pixels(header, stored[None])
            header.save_as(plain)
            reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
            reader.SetFileName(plain)
            writer.SetFileName(packed)
            read = reader.Read()
            change.SetInput(reader.GetImage())
            changed = read and change.Change()
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            if not changed or not writer.Write():
                raise ValueError("gdcm cannot write this picture")
            return get_frame(dcmread(packed).PixelData, 0, number_of_frames=1)

    return encode


def _with_openjpeg(**options: object) -> Callable[[np.ndarray], bytes]:
    return lambda stored: bytes(encode_array(stored, **options))


def _jpeg_of_8_bits(stored: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(stored.astype(np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


def _run_lengths(stored: np.ndarray) -> bytes:
    rows, columns = stored.shape
    facts = {"rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_allocated": 16, "bits_stored": 16}
    facts |= {"number_of_frames": 1, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2"}
    return get_encoder(RLELossless).encode(stored.tobytes(), encoding_plugin="pydicom", **facts)


SYNTAXES = {
    "implicit": Syntax("1.2.840.10008.1.2"),
    "explicit": Syntax("1.2.840.10008.1.2.1"),
    "big_endian": Syntax("1.2.840.10008.1.2.2"),
    "deflated": Syntax("1.2.840.10008.1.2.1.99"),
    "rle": Syntax("1.2.840.10008.1.2.5", _run_lengths),
    "jpeg_baseline": Syntax("1.2.840.10008.1.2.4.50", _jpeg_of_8_bits, bits=8, tolerance_hu=48),
    "jpeg_extended": Syntax("1.2.840.10008.1.2.4.51", _jpeg_of_8_bits, bits=8, tolerance_hu=48),
    "jpeg_lossless_57": Syntax("1.2.840.10008.1.2.4.57", _with_gdcm(gdcm.TransferSyntax.JPEGLosslessProcess14)),
    "jpeg_lossless_70": Syntax("1.2.840.10008.1.2.4.70", _with_gdcm(gdcm.TransferSyntax.JPEGLosslessProcess14_1)),
    "jpeg_ls": Syntax("1.2.840.10008.1.2.4.80", _with_gdcm(gdcm.TransferSyntax.JPEGLSLossless)),
    "jpeg_ls_near": Syntax(
        "1.2.840.10008.1.2.4.81", _with_gdcm(gdcm.TransferSyntax.JPEGLSNearLossless, error=2), tolerance_hu=2
    ),
    "jpeg_2000": Syntax("1.2.840.10008.1.2.4.90", _with_openjpeg()),
    "jpeg_2000_lossy": Syntax("1.2.840.10008.1.2.4.91", _with_openjpeg(compression_ratios=[4]), tolerance_hu=60),
}


def body_hu() -> np.ndarray:
    """A body of water in air with noise; no symmetry, so every flip shows."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[1:-1, 2:-2, 3:-3] = 40
    hu[3:6, 4:8, 5:9] = -850
    hu[-3:, 4:7, -6:-3] = 700
    return hu + np.random.default_rng(0).integers(-9, 10, SHAPE, dtype=np.int16)


def large_body_hu() -> np.ndarray:
    """The same, each voxel 4x4 times: JPEG 2000's wavelets need 32 pixels a side."""
    return body_hu().repeat(4, axis=1).repeat(4, axis=2)


def new_file(path: Path, sop_class: str, syntax: str = "explicit") -> FileDataset:
    """An empty DICOM file of a patient whose name and numbers must never show."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = SYNTAXES[syntax].uid, sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    implicit, little = syntax == "implicit", syntax != "big_endian"
    header = FileDataset(
        path, {}, file_meta=meta, preamble=bytes(128), is_implicit_VR=implicit, is_little_endian=little
    )
    header.SOPClassUID, header.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    header.Modality, header.PatientName, header.PatientID = "CT", "SECRET^NAME", "SECRET-ID"
    header.PatientBirthDate, header.StudyDescription = "19610203", "SECRET STUDY"
    header.SeriesInstanceUID, header.FrameOfReferenceUID = "1.2.3.4.5.6789", "1.2.3.4.5.9876"
    return header


def set_pixels(header: Dataset, frames: np.ndarray, syntax: str = "explicit") -> None:
    """Store `(frame, row, column)` numbers that are not negative, in the file's own syntax."""
    kind = SYNTAXES[syntax]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = frames.shape[-2:]
    header.BitsAllocated = header.BitsStored = kind.bits
    header.HighBit, header.PixelRepresentation = kind.bits - 1, 0
    stored = np.ascontiguousarray(frames, np.uint8 if kind.bits == 8 else np.uint16)
    if kind.encode:
        header.PixelData = encapsulate([kind.encode(frame) for frame in stored])
        header["PixelData"].VR = "OB"
    else:
        header.PixelData = stored.astype(">u2" if syntax == "big_endian" else "<u2").tobytes()
        header["PixelData"].VR = "OW"


def rescale_of(syntax: str) -> tuple[float, float]:
    """The slope and intercept that fit HU of -1024 to 1016 into the syntax's bits."""
    return (8.0, -1024.0) if SYNTAXES[syntax].bits == 8 else (1.0, -1024.0)


def dicom_slice(path: Path, hu: np.ndarray, position: np.ndarray, syntax: str = "explicit") -> FileDataset:
    """One transverse slice; rows run to the patient's left, columns to the back."""
    header = new_file(path, CTImageStorage, syntax)
    slope, intercept = rescale_of(syntax)
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.ImagePositionPatient = [float(number) for number in position]
    header.ImageOrientationPatient, header.PixelSpacing = list(TRANSVERSE), list(SPACING[1:])
    header.RescaleSlope, header.RescaleIntercept = slope, intercept
    set_pixels(header, np.round((hu[None] - intercept) / slope), syntax)
    return header


def position_of(index: int) -> np.ndarray:
    """Return the position of slice `index` in DICOM's LPS mm."""
    return ORIGIN * (-1, -1, 1) + (0, 0, index * SPACING[0])


def write_series(
    folder: Path,
    hu: np.ndarray,
    syntax: str = "explicit",
    edit: Callable[[int, Dataset], object] = lambda index, header: None,
    prefix: str = "IM",
) -> Path:
    """Write `hu` as a series; `edit(index, header)` may change a slice, and drops it by returning False."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(hu):
        # Names run against the positions, so that an order by name is found out.
        path = folder / f"{prefix}{len(hu) - index:04d}"
        header = dicom_slice(path, picture, position_of(index), syntax)
        if edit(index, header) is not False:
            header.save_as(path)
    return folder


def write_enhanced(
    folder: Path,
    hu: np.ndarray,
    syntax: str = "explicit",
    edit: Callable[[Dataset], object] = lambda header: None,
) -> Path:
    """Write `hu` as one enhanced CT file, its frames in a shuffled order; `edit(header)` may change it."""
    folder.mkdir(parents=True, exist_ok=True)
    header = new_file(folder / "scan", EnhancedCTImageStorage, syntax)
    slope = rescale_of(syntax)[0]
    order = np.random.default_rng(1).permutation(len(hu))
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = list(SPACING[1:]), list(TRANSVERSE)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    header.SharedFunctionalGroupsSequence, header.NumberOfFrames = [shared], len(hu)
    header.PerFrameFunctionalGroupsSequence = [_frame_group(int(index), syntax) for index in order]
    set_pixels(header, np.array([np.round((hu[index] - _intercept(index, syntax)) / slope) for index in order]), syntax)
    edit(header)
    header.save_as(folder / "scan")
    return folder


def _intercept(index: int, syntax: str) -> int:
    """Each frame has its own; HTJ2K frames are stored with the common one."""
    return -1024 - (0 if syntax == "htj2k" else int(index))


def _frame_group(index: int, syntax: str) -> Dataset:
    group, place, values = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [float(number) for number in position_of(index)]
    values.RescaleSlope, values.RescaleIntercept = rescale_of(syntax)[0], _intercept(index, syntax)
    values.RescaleType = "HU"
    group.PlanePositionSequence, group.PixelValueTransformationSequence = [place], [values]
    return group


def _stored_htj2k() -> dict[bytes, bytes]:
    """Frames of `large_body_hu` as HTJ2K, by their plain bytes."""
    codes = [base64.b64decode(code) for code in json.loads(HTJ2K_FRAMES.read_text())]
    plain = (large_body_hu() + 1024).astype(np.uint16)
    return {frame.tobytes(): code for frame, code in zip(plain, codes, strict=True)}


SYNTAXES["htj2k"] = Syntax("1.2.840.10008.1.2.4.201", lambda stored: _stored_htj2k()[stored.tobytes()])
