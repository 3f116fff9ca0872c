"""Scans and embeddings that come with a request."""

import base64
import io
import os
import tempfile
import zipfile
from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save

from argus_inference.scan_files import ScanNotReadError
from argus_inference.serving import sent_scans
from argus_inference.serving.sent_embeddings import MEDIA_TYPE, check_embeddings, read_embeddings
from argus_inference.serving.sent_scans import read_sent, received
from argus_inference.serving.serve_requests import AllowedScans, RefusedError
from argus_processing import read_ct

SLICE = "patient DOE^JOHN/series/{}.dcm"


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A folder with one small series as DICOM."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder, frame, uid = tmp_path_factory.mktemp("series"), generate_uid(), generate_uid()
    hu = np.random.default_rng(0).integers(-900, 900, (6, 16, 20)).astype(np.int16)
    for index, picture in enumerate(hu):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        header = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        header.Modality, header.SeriesInstanceUID, header.FrameOfReferenceUID = "CT", uid, frame
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        header.PatientName, header.PatientID = "DOE^JOHN", "4711"
        header.Rows, header.Columns = picture.shape
        header.PixelSpacing, header.SliceThickness = [0.75, 0.5], 2.5
        header.ImageOrientationPatient, header.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * index]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
        header.RescaleSlope, header.RescaleIntercept, header.RescaleType = 1, 0, "HU"
        header.PixelData, header.InstanceNumber = picture.tobytes(), index + 1
        header.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def zipped(members: dict[str, bytes], **options) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def address(content: bytes, kind: str = "application/zip") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def slices(series) -> dict[str, bytes]:
    return {SLICE.format(path.stem): path.read_bytes() for path in series.iterdir()}


def test_a_zip_is_read_as_the_folder_is(series):
    beside = {"DICOMDIR": b"junk", "__MACOSX/._0.dcm": b"junk", "series/.DS_Store": b"junk", "notes.txt": b"text"}
    read = AllowedScans(None).read(address(zipped(slices(series) | beside)))
    expected = read_ct(series)
    np.testing.assert_array_equal(read.hu, expected.hu)
    np.testing.assert_allclose(read.affine, expected.affine)


def test_a_zip_leaves_no_name_of_a_slice_on_the_disk(series, tmp_path, monkeypatch):
    private = tmp_path / "private"
    private.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    seen = []

    def look(folder):
        seen.extend(folder.iterdir())
        assert list(temporary.iterdir()) == []
        return read_ct(folder)

    monkeypatch.setattr(sent_scans, "read_ct", look)
    with received(address(zipped(slices(series)))) as sent:
        read_sent(sent, private)
    assert len(seen) == 6 and all(path.is_symlink() and "DOE" not in path.name for path in seen)


def encrypted(content: bytes) -> bytes:
    """Set the mark of encryption in the local and the central header."""
    content = bytearray(content)
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + place] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped({"a/b.txt": b"text"}), "no"),
        (zipped({"1.dcm": b"hello" * 100}), "the scan"),
        (zipped({"1.dcm": b"hello" * 100})[:-60], "damaged"),
        (encrypted(zipped({"1.dcm": b"hello" * 100})), "encrypted"),
        (zipped({"../../etc/passwd": b"root"}), "the scan"),
        (zipped({}), "the scan: no DICOM files in this zip; zip the DICOM files of one CT series"),
        (zipped({"scan.nii.gz": b"x"}), "the scan: no DICOM files in this zip; zip the DICOM files of one CT series"),
    ],
    ids=["no slice", "no DICOM", "cut off", "encrypted", "outside the folder", "empty", "NIfTI"],
)
def test_a_zip_that_is_no_series_is_refused_in_one_line(content, said):
    with pytest.raises(RefusedError, match=said) as refused:
        AllowedScans(None).read(address(content))
    assert "\n" not in str(refused.value) and "passwd" not in str(refused.value) and "/tmp" not in str(refused.value)


def test_a_zip_larger_than_a_scan_is_refused_while_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(sent_scans, "MAX_UNPACKED_BYTES", 1 << 20)
    with received(address(zipped({f"{number}.dcm": bytes(1 << 19) for number in range(4)}))) as sent:
        with pytest.raises(ScanNotReadError, match="more than a scan"):
            read_sent(sent, tmp_path)


def test_a_zip_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sent_scans, "MAX_FILES", 3)
    with received(address(zipped({f"{number}.dcm": b"x" for number in range(4)}))) as sent:
        with pytest.raises(ScanNotReadError, match="more than 3 files"):
            read_sent(sent, tmp_path)
        assert os.pread(sent.descriptor, 2, 0) == b"PK"


def test_a_nifti_file_is_still_told_by_its_first_bytes():
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([2.0, 2, 2, 1])).to_bytes()
    with received(address(image, "application/octet-stream")) as sent:
        assert sent.suffix == ".nii"


embeddings_url = partial(address, kind=MEDIA_TYPE)


def test_embeddings_come_as_safetensors():
    tokens = torch.arange(6.0).view(2, 3)
    read = AllowedScans(None).read(embeddings_url(save({"image_embeds": tokens})))
    assert torch.equal(read, tokens)
    assert check_embeddings(read, 2, 3) is read
    with pytest.raises(ScanNotReadError, match=r"\(4, 3\), got \(2, 3\)"):
        check_embeddings(read, 4, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"no safetensors",
        save({"other": torch.zeros(2, 3)}),
        save({"image_embeds": torch.zeros(3)}),
        save({"image_embeds": torch.zeros(2, 3, dtype=torch.int64)}),
        save({"image_embeds": torch.full((2, 3), float("nan"))}),
    ],
    ids=["no safetensors", "another name", "one dimension", "integers", "not a number"],
)
def test_other_embeddings_are_refused(content):
    with pytest.raises(ScanNotReadError, match="embeddings"):
        read_embeddings(embeddings_url(content))


def test_pickled_embeddings_are_never_opened(tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    pickled = io.BytesIO()
    torch.save({"image_embeds": Harm()}, pickled)
    with pytest.raises(RefusedError, match="no safetensors"):
        AllowedScans(None).read(embeddings_url(pickled.getvalue()))
    assert not (tmp_path / "ran").exists()
