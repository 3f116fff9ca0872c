"""Orientation, geometry and the checks on values, on arrays and nibabel images in memory."""

import itertools
import pickle

import nibabel as nib
import numpy as np
import pytest

from argus_processing.ct_checks import rescale_to_hu
from argus_processing.ct_volume import CTReadError, CTVolume

TURNS = list(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))


def turned(hu, affine, order, flips):
    """The same scan as a file with other axes would hold it, index by index from the definition."""
    data = np.transpose(hu, order)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[source, axis] = -1 if flip else 1
        matrix[source, 3] = hu.shape[source] - 1 if flip else 0
        data = np.flip(data, axis) if flip else data
    return np.ascontiguousarray(data), affine @ matrix


@pytest.mark.parametrize(("order", "flips"), TURNS)
def test_all_48_ways_to_store_a_scan_give_the_same_array_and_affine(hu, affine, order, flips):
    data, file_affine = turned(hu, affine, order, flips)
    volume = CTVolume.from_nibabel(nib.Nifti1Image(data, file_affine))
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    assert volume.spacing_mm == pytest.approx((2.5, 0.75, 0.5))
    assert volume.original_orientation == "".join(nib.aff2axcodes(file_affine))


@pytest.mark.parametrize(
    ("codes", "corner"),
    [("RAS", (0, -1, -1)), ("LPS", (-1, 0, -1)), ("LAS", (-1, -1, -1)), ("RPI", (0, 0, 0)), ("SPL", (-1, 0, -1))],
)
def test_left_anterior_superior_corner_is_top_right_of_the_last_slice(codes, corner):
    data = np.full((16, 16, 16), -1000, np.int16)
    data[4:12, 4:12, 4:12] = 40
    data[corner] = 1234
    affine = np.linalg.inv(nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(tuple(codes)), data.shape))
    volume = CTVolume.from_nibabel(nib.Nifti1Image(data, affine))
    assert nib.aff2axcodes(affine) == tuple(codes)
    assert np.argwhere(volume.hu == 1234).tolist() == [[15, 0, 15]]


def test_turning_copies_nothing(hu, affine):
    data, file_affine = turned(hu, affine, (2, 1, 0), (True, True, False))
    assert np.shares_memory(CTVolume.from_nibabel(nib.Nifti1Image(data, file_affine)).hu, data)


def test_from_array_keeps_a_canonical_array_as_it_is(hu):
    volume = CTVolume.from_array(hu, (4.0, 1.0, 0.5))
    assert np.shares_memory(volume.hu, hu)
    assert volume.spacing_mm == (4.0, 1.0, 0.5)
    assert nib.aff2axcodes(volume.affine) == ("S", "P", "L")
    assert volume.original_orientation == "SPL"


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64, ">i2"])
def test_wider_arrays_come_out_as_int16_or_float32(hu, dtype):
    volume = CTVolume.from_array(hu.astype(dtype), (1, 1, 1))
    assert volume.hu.dtype == (np.float32 if dtype is np.float64 else np.int16)
    np.testing.assert_array_equal(volume.hu, hu)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, ">u2"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, -100), (-3, 50), (1, 0)])
def test_whole_rescale_agrees_with_plain_arithmetic(dtype, slope, intercept):
    raw = np.arange(100, dtype=dtype)
    result = rescale_to_hu(raw.copy(), slope, intercept)
    assert result.dtype == np.int16
    assert result.tolist() == [number * slope + intercept for number in range(100)]


def test_uint16_above_int16_is_rescaled_without_overflow():
    raw = np.array([32768, 40000, 60000], np.uint16)
    assert rescale_to_hu(raw, 1, -40000).tolist() == [-7232, 0, 20000]


def test_rescale_that_does_not_fit_int16_or_is_not_whole_gives_float32():
    assert rescale_to_hu(np.array([0, 30000], np.int16), 2, 0).tolist() == [0.0, 60000.0]
    broken = rescale_to_hu(np.array([0, 3], np.int16), 0.5, -1000)
    assert broken.dtype == np.float32 and broken.tolist() == [-1000.0, -998.5]


def test_float_image_saved_by_nibabel_is_scaled_once(hu, affine, tmp_path):
    image = nib.Nifti1Image(hu.astype(np.float64) + 0.25, affine)
    image.set_data_dtype(np.int16)  # nibabel picks slope and intercept of its own
    nib.save(image, tmp_path / "scan.nii")
    volume = CTVolume.from_nibabel(nib.load(tmp_path / "scan.nii"))
    assert volume.hu.dtype == np.float32
    np.testing.assert_allclose(volume.hu, hu + 0.25, atol=0.05)


def test_what_datasets_decodes_to_is_read(hu, affine, write_nifti):
    nifti = pytest.importorskip("datasets").Nifti()
    image = nifti.decode_example(
        {"path": None, "bytes": write_nifti(hu + 1024, affine, intercept=-1024, slope=1).read_bytes()}
    )
    np.testing.assert_array_equal(CTVolume.from_nibabel(image).hu, hu)


def test_decoded_image_without_orientation_is_refused(hu, write_nifti):
    image = nib.load(write_nifti(hu, None, name="scan.nii"))
    with pytest.raises(CTReadError, match="upload 7: the orientation is missing"):
        CTVolume.from_nibabel(image, name="upload 7")


def rotation(degrees: float) -> np.ndarray:
    turn = np.eye(4)
    angle = np.radians(degrees)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn


def test_oblique_axes_are_read_with_a_warning_that_names_the_degrees(hu, affine):
    volume = CTVolume.from_nibabel(nib.Nifti1Image(hu, rotation(12.0) @ affine))
    assert "12.0 degrees" in volume.warnings[0]
    np.testing.assert_array_equal(volume.hu, hu)
    assert CTVolume.from_nibabel(nib.Nifti1Image(hu, rotation(3.0) @ affine)).warnings == ()


def test_gantry_tilt_is_read_with_a_warning_that_names_the_degrees(hu, affine):
    affine[1, 0] = 2.5 * np.tan(np.radians(15.0))
    volume = CTVolume.from_nibabel(nib.Nifti1Image(hu, affine))
    assert "15.0 degrees (gantry tilt)" in volume.warnings[0]


def test_axes_between_two_patient_axes_are_refused(hu, affine):
    with pytest.raises(CTReadError, match="ambiguous"):
        CTVolume.from_nibabel(nib.Nifti1Image(hu, rotation(45.0) @ affine))


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_padding_below_air_is_normal(hu, padding):
    hu[:, :2] = padding
    assert CTVolume.from_array(hu, (1, 1, 1)).hu.min() == padding


def test_phantom_of_16_voxels_a_side_passes():
    hu = np.full((16, 16, 16), -1000.0)
    hu[4:12, 4:12, 4:12] = 0
    assert CTVolume.from_array(hu, (1, 1, 1)).hu.shape == (16, 16, 16)


def test_trailing_axis_of_one_is_dropped(hu, affine):
    volume = CTVolume.from_nibabel(nib.Nifti1Image(hu[..., None], affine))
    np.testing.assert_array_equal(volume.hu, hu)


def test_errors_survive_the_way_back_from_a_worker_process():
    error = CTReadError("scan.nii: cause; advice")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


def test_a_volume_cannot_be_built_askew(hu):
    with pytest.raises(ValueError, match="axes"):
        CTVolume(hu, np.eye(4), "RAS")
    with pytest.raises(ValueError, match="float64"):
        CTVolume(hu.astype(np.float64), np.eye(4), "RAS")


@pytest.mark.parametrize("place", [np.s_[:, :, 0], np.s_[:, -1], np.s_[:, 0, 3:6]])
def test_padding_brighter_than_metal_at_the_border_is_refused(hu, affine, place):
    scan = hu.astype(np.float32)
    scan[place] = 64_511  # 65,535 less 1,024
    with pytest.raises(CTReadError, match="reach the picture's border|filled with"):
        CTVolume.from_nibabel(nib.Nifti1Image(scan, affine))


@pytest.mark.parametrize("intercept", [0, -1024])
def test_air_that_was_wrapped_to_the_top_of_16_bits_is_told(hu, affine, intercept):
    scan = hu.astype(np.float32)
    scan[2:-2, 3, 3:9] = 65_535 + intercept - np.arange(6)
    with pytest.raises(CTReadError, match="wrapped to the top of 16 bits"):
        CTVolume.from_nibabel(nib.Nifti1Image(scan, affine))
