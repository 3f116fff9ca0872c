"""Paths, NIfTI files and arrays that are no CT are refused: one line with the file, the cause and what to do."""

import gzip
import warnings

import nibabel as nib
import numpy as np
import pytest

from argus_processing.ct_volume import CTReadError, CTVolume
from argus_processing.read_ct import read_ct


def value_refusal(hu) -> str:
    with pytest.raises(CTReadError) as caught:
        CTVolume.from_array(hu, (1.0, 1.0, 1.0), name="upload")
    assert str(caught.value).startswith("upload: ") and "\n" not in str(caught.value)
    return str(caught.value)


# Paths


def test_missing_path_is_refused(tmp_path, refusal):
    assert "no such file" in refusal(tmp_path / "nowhere.nii.gz")


@pytest.mark.parametrize("name", ["slice.dcm", "IM0001"])
def test_single_dicom_file_is_refused_with_the_advice_to_give_the_folder(tmp_path, name, refusal):
    (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    assert "give the folder" in refusal(tmp_path / name)


def test_unknown_format_is_refused(tmp_path, refusal):
    (tmp_path / "scan.mha").write_bytes(b"ObjectType = Image")
    assert "not a format that is read" in refusal(tmp_path / "scan.mha")


def test_line_break_in_a_name_does_not_break_the_line(tmp_path):
    with pytest.raises(CTReadError, match=r"a b\.nii: no such file"):
        read_ct(tmp_path / "a\nb.nii")


# Damaged NIfTI files


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("kept", [0.9, 0.3, 0.02])
def test_truncated_file_is_refused(hu, affine, write_nifti, name, kept, refusal):
    path = write_nifti(hu, affine, name=name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("lost", [1, 4, 8])
def test_compressed_file_without_its_last_bytes_is_refused(hu, affine, write_nifti, lost, refusal):
    path = write_nifti(hu, affine)
    path.write_bytes(path.read_bytes()[:-lost])
    assert "truncated" in refusal(path)


def test_wrong_checksum_is_refused(hu, affine, write_nifti, refusal):
    path = write_nifti(hu, affine)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_header_that_promises_too_much_is_refused_unallocated(affine, write_nifti, refusal):
    dim = [3, 8000, 8000, 8000, 1, 1, 1, 1]
    assert "truncated" in refusal(write_nifti(np.zeros((8, 8, 8), np.int16), affine * [0.1, 0.1, 0.1, 1], dim=dim))


@pytest.mark.parametrize("content", [b"", b"hello", bytes(400), gzip.compress(b"x" * 1000, mtime=0)])
def test_what_is_no_nifti_is_refused(tmp_path, content, refusal):
    (tmp_path / "scan.nii.gz").write_bytes(content)
    assert "not a NIfTI file" in refusal(tmp_path / "scan.nii.gz")


def test_pair_header_is_refused(hu, affine, write_nifti, refusal):
    assert ".hdr/.img" in refusal(write_nifti(hu, affine, magic=b"ni1"))


def test_unknown_data_type_is_refused(hu, affine, write_nifti, refusal):
    path = write_nifti(hu, affine, name="scan.nii")
    content = bytearray(path.read_bytes())
    content[70:72] = (999).to_bytes(2, "little")
    path.write_bytes(content)
    assert "data type is unknown" in refusal(path)


# Shape, spacing, orientation


def test_2d_image_is_refused(hu, affine, write_nifti, refusal):
    assert "2D" in refusal(write_nifti(hu[0], affine))
    assert "2D" in refusal(write_nifti(hu[:1], affine))


def test_4d_image_is_refused(hu, affine, write_nifti, refusal):
    assert "4D" in refusal(write_nifti(np.stack([hu, hu], axis=-1), affine))


def test_tiny_image_is_refused(hu, affine, write_nifti, refusal):
    assert "too small" in refusal(write_nifti(hu[:2], affine))
    assert "too small" in refusal(write_nifti(hu[:4, :4, :4], affine))


def test_rgb_image_is_refused(affine, write_nifti, refusal):
    colour = np.zeros((16, 16, 16), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "colour" in refusal(write_nifti(colour, affine))


def test_complex_image_is_refused(hu, affine, write_nifti, refusal):
    assert "complex" in refusal(write_nifti(hu.astype(np.complex64), affine))


@pytest.mark.parametrize("spacing", [0.0, 0.001, 500.0])
def test_zero_and_absurd_spacing_are_refused(hu, affine, write_nifti, spacing, refusal):
    affine[2, 0] = spacing
    assert "spacing" in refusal(write_nifti(hu, affine))


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, np.nan, 1), (1, 1), (0.001, 1, 1)])
def test_array_with_a_bad_spacing_is_refused(hu, spacing):
    with pytest.raises(CTReadError, match="^array: .*spacing"):
        CTVolume.from_array(hu, spacing)


def test_absurd_extent_is_refused(affine, write_nifti, refusal):
    assert "longest side" in refusal(write_nifti(np.zeros((400, 8, 8), np.int16), affine * [8, 1, 1, 1]))


def test_missing_affine_is_refused(hu, write_nifti, refusal):
    assert "orientation is missing" in refusal(write_nifti(hu))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_affine_that_is_not_finite_is_refused(hu, affine, write_nifti, value, refusal):
    affine[0, 3] = value
    assert "finite" in refusal(write_nifti(hu, affine))


def test_singular_affine_is_refused(hu, affine, write_nifti, refusal):
    affine[:3, 1] = affine[:3, 0]
    assert "singular" in refusal(write_nifti(hu, affine))


def test_forms_that_disagree_about_left_and_right_are_refused(hu, write_nifti, refusal):
    left, right = np.diag([-1.0, 1, 1, 1]), np.eye(4)
    assert "sform says RAS and qform says LAS" in refusal(write_nifti(hu, right, qform=left))


def test_formats_without_orientation_are_refused(hu):
    with pytest.raises(CTReadError, match="no orientation"):
        CTVolume.from_nibabel(nib.AnalyzeImage(hu, np.eye(4)))


# Values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinite_voxels_are_refused(hu, affine, write_nifti, value, dtype, refusal):
    voxels = hu.astype(dtype)
    voxels[2, 3, 4] = value
    assert "NaN or infinite" in refusal(write_nifti(voxels, affine))


def test_numbers_beyond_float32_are_refused_without_a_warning(hu, affine, write_nifti, refusal):
    voxels = hu.astype(np.float64)
    voxels[2, 3, 4] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "infinite" in refusal(write_nifti(voxels, affine))


def test_mr_is_refused():
    mr = np.random.default_rng(0).gamma(2.0, 150.0, (16, 16, 16))
    assert "MR or PET" in value_refusal(mr)


def test_normalised_pictures_are_refused(hu):
    unit = (hu.astype(np.float32) + 1010) / 2000
    assert "between 0 and 1" in value_refusal(unit)
    assert "no air or lung" in value_refusal(unit * 2 - 1)


def test_8_bit_picture_is_refused(hu):
    assert "between 0 and 255" in value_refusal(((hu + 1010) / 8).astype(np.uint8))


def test_constant_image_is_refused(hu):
    assert "every voxel is 0" in value_refusal(np.zeros_like(hu))
    assert "air only" in value_refusal(np.full_like(hu, -1000))


def test_missing_intercept_is_told(hu):
    assert "intercept is missing" in value_refusal((hu + 1024).astype(np.uint16))
    padded = hu + 1024
    padded[:, :2] = -2000
    assert "intercept was not applied" in value_refusal(padded.astype(np.int16))


@pytest.mark.parametrize("intercept", [-1024, -1000])
@pytest.mark.parametrize("padding", [None, -1024])
def test_double_rescale_is_told(hu, intercept, padding):
    if padding:
        hu[:, :2] = padding
    assert "applied twice" in value_refusal(hu + intercept)


def test_double_rescale_in_a_file_is_told(hu, affine, write_nifti, refusal):
    assert "applied twice" in refusal(write_nifti(hu, affine, slope=1, intercept=-1024))


def test_values_that_no_tissue_has_are_refused(hu):
    voxels = hu.astype(np.float32)
    voxels[0, 0, 0] = 1e6
    assert "no tissue" in value_refusal(voxels)
