"""Files that do not hold one whole NIfTI: the content is named, whatever the file's name, and never waited for."""

import gzip
import os
import socket
import zipfile

import numpy as np
import pytest

from argus_processing import ArgusImageProcessor, ct_checks, read_nifti
from argus_processing.ct_volume import CTReadError
from argus_processing.read_ct import read_ct, read_ct_row
from argus_processing.read_nifti import read_nifti_bytes

NOT_NIFTI = {
    "a Git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 7\n",
    "an HTML page": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "JSON text": b'{"error": "SECRET"}',
    "an XML document": b"<?xml version='1.0'?><Error>AccessDenied</Error>",
    "a text file": b"404: Not Found",
    "an NRRD file": b"NRRD0004\ntype: short\n",
    "a MetaImage": b"ObjectType = Image\nNDims = 3\n",
    "a DICOM file": bytes(128) + b"DICM" + bytes(300),
    "a PNG picture": b"\x89PNG\r\n\x1a\n" + bytes(300),
    "an HDF5": b"\x89HDF\r\n\x1a\n" + bytes(300),
    "a gzip file compressed a second time": gzip.compress(b"x" * 500),
    "zeros alone": bytes(400),
    "empty": b"",
}


@pytest.mark.parametrize("kind", NOT_NIFTI)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_nifti_is_named(tmp_path, kind, packed, refusal):
    content = NOT_NIFTI[kind]
    if packed or content.startswith(b"\x1f\x8b"):
        content = gzip.compress(content)
    (tmp_path / "scan.nii.gz").write_bytes(content)
    assert f"not a NIfTI file but {kind}" in refusal(tmp_path / "scan.nii.gz")


def test_zip_archive_is_named(tmp_path, refusal):
    with zipfile.ZipFile(tmp_path / "scan.nii.gz", "w") as archive:
        archive.writestr("scan.nii", "x")
    assert "a ZIP archive; unzip it first" in refusal(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("after", [b"\n", b"\r\n", b"\0", bytes(1000), b"garbage", b"\x1f"])
def test_compressed_file_with_something_after_it_is_read_and_told(hu, affine, write_nifti, after):
    path = write_nifti(hu, affine)
    path.write_bytes(path.read_bytes() + after)
    volume = read_ct(path)
    np.testing.assert_array_equal(volume.hu, hu)
    assert "follows the compressed data" in volume.warnings[0]


@pytest.mark.parametrize("cuts", [(100,), (348,), (352, 353, 5000), tuple(range(100, 7000, 100))])
def test_members_that_follow_each_other_are_one_content(hu, affine, write_nifti, cuts):
    content = write_nifti(hu, affine, name="scan.nii").read_bytes()
    members = [content[start:end] for start, end in zip((0, *cuts), (*cuts, len(content)), strict=True)]
    volume = read_nifti_bytes(b"".join(gzip.compress(member) for member in members))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.warnings == ()


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_voxels_that_two_blocks_share_are_whole(hu, affine, write_nifti, monkeypatch, name, dtype):
    path = write_nifti(hu.astype(dtype), affine, name=name)
    monkeypatch.setattr(read_nifti, "CHUNK_BYTES", 997)
    monkeypatch.setattr(read_nifti, "PACKED_BYTES", 31)
    np.testing.assert_array_equal(read_ct(path).hu, hu)


def test_wrong_checksum_of_an_earlier_member_is_refused(hu, affine, write_nifti):
    content = write_nifti(hu, affine, name="scan.nii").read_bytes()
    first = bytearray(gzip.compress(content[:3000]))
    first[-6] ^= 1
    with pytest.raises(CTReadError, match="damaged"):
        read_nifti_bytes(bytes(first) + gzip.compress(content[3000:]))


def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path, refusal):
    os.mkfifo(tmp_path / "scan.nii.gz")
    assert "a pipe, socket or device" in refusal(tmp_path / "scan.nii.gz")
    with pytest.raises(CTReadError, match="a pipe, socket or device"):
        read_nifti.read_nifti(tmp_path / "scan.nii.gz")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.nii"))
        assert "a pipe, socket or device" in refusal(tmp_path / "s.nii")


def test_pipe_in_a_dicom_folder_is_not_waited_for(hu, write_dicom):
    folder = write_dicom(hu)
    os.mkfifo(folder / "IM9999")
    np.testing.assert_array_equal(read_ct(folder).hu, hu)


@pytest.mark.parametrize("name", ["x" * 300 + ".nii", "a\0b.nii", "x" * 5000])
def test_impossible_names_are_refused(name):
    with pytest.raises(CTReadError, match="cannot be opened"):
        read_ct(name)


def test_loop_of_links_is_refused(tmp_path, refusal):
    (tmp_path / "a.nii").symlink_to(tmp_path / "b.nii")
    (tmp_path / "b.nii").symlink_to(tmp_path / "a.nii")
    assert "cannot be opened" in refusal(tmp_path / "a.nii")


# Memory


def test_bomb_is_refused_before_anything_is_allocated(affine, write_nifti, monkeypatch, refusal):
    monkeypatch.setattr(read_nifti.np, "empty", lambda *_: pytest.fail("allocated"))
    path = write_nifti(np.zeros((8, 8, 8), np.int16), affine, dim=[3, 1024, 1024, 1024, 1, 1, 1, 1])
    path.write_bytes(path.read_bytes() + bytes(3 << 20))  # as much as a real one holds
    assert "more than the 1,280 allowed" in refusal(path)


def test_sparse_file_is_refused_by_its_header(affine, write_nifti, monkeypatch, refusal):
    monkeypatch.setattr(read_nifti.np, "empty", lambda *_: pytest.fail("allocated"))
    path = write_nifti(np.zeros((8, 8, 8), np.int16), affine, name="scan.nii", dim=[3, 1024, 1024, 2500, 1, 1, 1, 1])
    with open(path, "r+b") as file:
        file.truncate(5 << 30)
    assert "more than the 1,280 allowed" in refusal(path)


def test_endless_content_after_the_voxels_is_not_inflated(hu, affine, write_nifti, refusal):
    path = write_nifti(hu, affine, name="scan.nii")
    packed = path.with_name("scan.nii.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()) + gzip.compress(bytes(1 << 24), 1) * 1000)
    assert "more voxels" in refusal(packed)


def test_memory_that_runs_out_is_told(hu, affine, write_nifti, monkeypatch, refusal):
    path = write_nifti(hu, affine)
    monkeypatch.setattr(ct_checks, "free_memory", lambda: 1000.0)
    assert "of memory are free" in refusal(path)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(ct_checks, "free_memory", lambda: 1e12)
    monkeypatch.setattr(read_nifti.np, "empty", fail)
    assert "does not fit into memory" in refusal(path)


# Rows of a data set


def test_bytes_of_a_row_are_read_whatever_lies_under_its_name(hu, affine, write_nifti, tmp_path, monkeypatch):
    mine = write_nifti(hu, affine, name="mine.nii").read_bytes()
    write_nifti(np.where(hu > 100, 300, hu).astype(np.int16), affine, name="scan.nii")
    monkeypatch.chdir(tmp_path)
    row = {"path": "scan.nii", "bytes": mine}
    np.testing.assert_array_equal(read_ct_row(row).hu, hu)
    image_processor = ArgusImageProcessor((8, 16, 16))
    assert (image_processor(row)["pixel_values"] == image_processor("mine.nii")["pixel_values"]).all()
    assert (image_processor(row)["pixel_values"] != image_processor("scan.nii")["pixel_values"]).any()
    for kind in (bytearray, memoryview):
        np.testing.assert_array_equal(read_ct_row({"path": None, "bytes": kind(mine)}).hu, hu)


def test_damaged_bytes_of_a_row_are_refused_and_the_path_is_not_tried(hu, affine, write_nifti, tmp_path, monkeypatch):
    write_nifti(hu, affine, name="scan.nii")
    monkeypatch.chdir(tmp_path)
    for content in (b"", b"x" * 400):
        with pytest.raises(CTReadError, match=r"^scan.nii: not a NIfTI"):
            read_ct_row({"path": "folder/scan.nii", "bytes": content})
    with pytest.raises(CTReadError, match="neither bytes nor a path"):
        read_ct_row({"path": None, "bytes": None})
