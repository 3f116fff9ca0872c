"""Reading NIfTI files against known answers and against nibabel's own values."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from argus_processing.read_ct import read_ct


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "SCAN.NII.GZ"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_compressed_or_not_give_the_same_volume(hu, affine, write_nifti, name, order):
    volume = read_ct(write_nifti(hu, affine, name=name, order=order))
    assert volume.hu.dtype == np.int16 and volume.hu.dtype.isnative
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.affine, affine)


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(1, -1024, (1, -1024)), (2, -500, (2, -500)), (0, 77, (1, 0)), (np.nan, 77, (1, 0)), (1, 0, (1, 0))],
)
def test_whole_slope_and_intercept_are_applied_once_and_keep_int16(hu, affine, write_nifti, slope, intercept, expected):
    raw = (hu - expected[1]) // expected[0]
    volume = read_ct(write_nifti(raw.astype(np.int16), affine, slope=slope, intercept=intercept))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, raw * expected[0] + expected[1])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_values_agree_with_nibabel_for_a_broken_slope(hu, affine, write_nifti, dtype):
    path = write_nifti((2 * hu.astype(int) + 2048).astype(dtype), affine, slope=0.5, intercept=-1020.5)
    volume = read_ct(path)
    reference = nib.as_closest_canonical(nib.load(path)).get_fdata()[::-1, ::-1].transpose(2, 1, 0)
    assert volume.hu.dtype == np.float32
    np.testing.assert_allclose(volume.hu, reference, atol=1e-3)


def test_qform_alone_is_enough(hu, write_nifti):
    qform = np.diag([0.5, 0.75, 2.5, 1.0])
    volume = read_ct(write_nifti(hu.transpose(2, 1, 0), None, qform=qform))
    assert volume.original_orientation == "RAS"
    np.testing.assert_array_equal(volume.hu, hu[:, ::-1, ::-1])


def test_forms_that_differ_by_a_shift_are_told(hu, affine, write_nifti):
    shifted = affine.copy()
    shifted[2, 3] += 30
    volume = read_ct(write_nifti(hu, affine, qform=shifted))
    assert "differ by 30.0 mm" in volume.warnings[0]


def test_data_may_start_after_header_extensions(hu, affine, tmp_path):
    image = nib.Nifti1Image(hu, affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
    nib.save(image, tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(read_ct(tmp_path / "scan.nii.gz").hu, hu)


def test_nifti_2_is_read(hu, affine, tmp_path):
    nib.save(nib.Nifti2Image(hu, affine), tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(read_ct(tmp_path / "scan.nii.gz").hu, hu)


def test_a_sibling_without_gz_is_never_read_instead(hu, affine, write_nifti):
    packed = write_nifti(hu, affine, name="scan.nii.gz")
    write_nifti(np.where(hu > 0, hu + 500, hu).astype(np.int16), affine, name="scan.nii")
    np.testing.assert_array_equal(read_ct(packed).hu, hu)


def test_file_of_several_gzip_members_is_read_whole(hu, affine, write_nifti):
    path = write_nifti(hu, affine, name="scan.nii")
    content = path.read_bytes()
    packed = path.with_name("scan.nii.gz")
    packed.write_bytes(gzip.compress(content[:3000]) + gzip.compress(content[3000:]))
    np.testing.assert_array_equal(read_ct(packed).hu, hu)
