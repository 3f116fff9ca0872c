"""Header numbers of NIfTI files that mislead: the true volume comes out, or one line of refusal."""

import io
import warnings

import nibabel as nib
import numpy as np
import pytest
from nibabel.brikhead import AFNIArrayProxy

from argus_processing.ct_volume import CTReadError, CTVolume
from argus_processing.read_ct import read_ct

QUATERNION = ("quatern_b", "quatern_c", "quatern_d")


@pytest.fixture
def stored(hu) -> np.ndarray:
    """The scan in a file's own order, x to the right, y to the front, z to the head."""
    return np.ascontiguousarray(hu.transpose(2, 1, 0)[::-1, ::-1])


@pytest.fixture
def right() -> np.ndarray:
    """Affine under which `stored` is true: RAS."""
    made = np.diag([0.5, 0.75, 2.5, 1.0])
    made[:3, 3] = -4, -7, -30
    return made


def turned_about_z(affine) -> np.ndarray:
    """The affine that takes left for right and front for back."""
    return affine @ np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    "fields",
    [{}, {"pixdim": [0, 0.5, 0.75, 2.5, 0, 0, 0, 0]}, {"pixdim": [5, 0.5, 0.75, 2.5, 0, 0, 0, 0]}]
    + [{"pixdim": [1, -0.5, 0.75, 2.5, 0, 0, 0, 0]}, {"quatern_d": 1 + 1e-4}, {"quatern_d": 1 + 1e-3}],
)
def test_forms_that_name_different_sides_are_refused_however_odd_the_qform(stored, right, write_nifti, fields, refusal):
    path = write_nifti(stored, right, qform=turned_about_z(right), **fields)
    assert "sform says RAS and qform says LPS" in refusal(path)


def test_qform_alone_with_a_first_pixdim_of_zero_is_read(hu, stored, right, write_nifti):
    volume = read_ct(write_nifti(stored, None, qform=right, pixdim=[0, 0.5, 0.75, 2.5, 0, 0, 0, 0]))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.original_orientation == "RAS" and volume.warnings == ()


@pytest.mark.parametrize("qfac", [-1, 0, 1])
def test_qform_agrees_with_nibabel(hu, affine, write_nifti, qfac):
    turn = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.1, -0.2, 0.15) * (0.5, 0.75, 2.5 * (qfac or 1)), [1, 2, 3]
    )
    path = write_nifti(hu.transpose(2, 1, 0), None, qform=turn)
    header = nib.load(path).header
    volume = read_ct(write_nifti(hu.transpose(2, 1, 0), None, qform=turn, pixdim=[qfac, 0.5, 0.75, 2.5, 0, 0, 0, 0]))
    expected = nib.as_closest_canonical(nib.Nifti1Image(hu.transpose(2, 1, 0), header.get_qform()))
    assert volume.spacing_mm == pytest.approx((2.5, 0.75, 0.5))
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = np.array(expected.shape[:2]) - 1
    np.testing.assert_allclose(volume.affine[:, [2, 1, 0, 3]], expected.affine @ flip, atol=1e-4)


def test_negative_voxel_sizes_without_an_sform_are_refused(stored, right, write_nifti, refusal):
    path = write_nifti(stored, None, qform=right, pixdim=[1, -0.5, 0.75, 2.5, 0, 0, 0, 0])
    assert "pixdim is negative" in refusal(path)


@pytest.mark.parametrize("field", [*QUATERNION, "qoffset_x", "qoffset_z"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_qform_that_is_no_rotation_is_refused_beside_a_good_sform(stored, right, write_nifti, field, value, refusal):
    path = write_nifti(stored, right, qform=right, **{field: value})
    if value == 1.5 and field.startswith("qoffset"):
        assert "differ by" in read_ct(path).warnings[0]
    else:
        assert "the qform is not a valid rotation" in refusal(path)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)])
def test_identity_affine_is_refused_whichever_way_it_was_turned(stored, write_nifti, signs, refusal):
    identity = np.diag([*signs, 1.0])
    assert "the affine is the identity" in refusal(write_nifti(stored, identity))
    assert "the affine is the identity" in refusal(write_nifti(stored, None, qform=identity))
    turned = nib.orientations.apply_orientation(stored, nib.orientations.axcodes2ornt("SPL"))
    image = nib.Nifti1Image(stored, identity).as_reoriented(nib.orientations.axcodes2ornt("SPL"))
    assert "the affine is the identity" in refusal(write_nifti(turned, image.affine))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.MGHImage, nib.spatialimages.SpatialImage])
def test_identity_affine_of_an_image_in_memory_is_told(stored, kind):
    assert "identity" in CTVolume.from_nibabel(kind(stored.astype(np.float32), np.eye(4))).warnings[0]


def test_voxels_of_one_millimetre_with_a_place_in_the_patient_are_read(stored, write_nifti):
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = 180, 160, -720
    assert read_ct(write_nifti(stored, affine)).warnings == ()


@pytest.mark.parametrize("pixdim", [(4, 4, 5), (0.5, 0.75, 5), (0.7, 0.75, 2.5), (np.nan, 0.75, 2.5), (np.inf, 1, 1)])
def test_sform_that_contradicts_the_voxel_sizes_is_refused(stored, right, write_nifti, pixdim, refusal):
    assert "pixdim" in refusal(write_nifti(stored, right, pixdim=[1, *pixdim, 0, 0, 0, 0]))


def test_gantry_tilt_agrees_with_either_way_to_measure_slices(stored, right, write_nifti):
    right[1, 2] = 2.5 * np.tan(np.radians(20.0))
    for step in (2.5, 2.5 / np.cos(np.radians(20.0))):
        volume = read_ct(write_nifti(stored, right, pixdim=[1, 0.5, 0.75, step, 0, 0, 0, 0]))
        assert "gantry tilt" in volume.warnings[0]


def test_lengths_in_metres_are_taken_as_such(hu, stored, right, write_nifti):
    right[:3] /= 1000
    volume = read_ct(write_nifti(stored, right, qform=right, xyzt_units=1))
    assert volume.spacing_mm == pytest.approx((2.5, 0.75, 0.5), rel=1e-4)
    np.testing.assert_allclose(volume.affine[:3, 3], [5.5, 4.25, -30], rtol=1e-4)
    assert volume.warnings == ("the header's lengths are in metres; they were taken as such",)


def test_lengths_in_micrometres_are_taken_as_such(stored, right, write_nifti, refusal):
    assert "outside" in refusal(write_nifti(stored, right, xyzt_units=3))
    right[:3] *= 1000
    assert read_ct(write_nifti(stored, right, xyzt_units=3 + 8)).spacing_mm == pytest.approx((2.5, 0.75, 0.5))


@pytest.mark.parametrize("code", [4, 5, 6, 7])
def test_unknown_units_are_refused(stored, right, write_nifti, code, refusal):
    assert "unit of length" in refusal(write_nifti(stored, right, xyzt_units=code))


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("offset", [0, 100, 348, 351, -352, 352.5, np.nan, np.inf, -np.inf, 1e30])
def test_impossible_place_of_the_first_voxel_is_refused(stored, right, write_nifti, name, offset, refusal):
    assert "vox_offset" in refusal(write_nifti(stored, right, name=name, vox_offset=offset))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_slope_is_refused(stored, right, write_nifti, value, refusal):
    assert "scl_slope" in refusal(write_nifti(stored, right, slope=value, intercept=0))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_intercept_that_is_not_finite_is_refused(stored, right, write_nifti, value, refusal):
    assert "scl_inter" in refusal(write_nifti(stored, right, slope=1, intercept=value))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_dimensions_that_are_too_small_for_the_voxels_are_refused(stored, right, write_nifti, axis, refusal):
    dim = [3, *stored.shape, 1, 1, 1, 1]
    dim[axis] -= 1
    for name in ("scan.nii", "scan.nii.gz"):
        assert "more voxels than" in refusal(write_nifti(stored, right, name=name, dim=dim))


def test_padding_after_the_voxels_is_no_obstacle(hu, stored, right, write_nifti):
    path = write_nifti(stored, right, name="scan.nii")
    path.write_bytes(path.read_bytes() + bytes(5000))
    np.testing.assert_array_equal(read_ct(path).hu, hu)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint32, np.int64, np.uint64])
def test_every_whole_type_comes_out_as_int16(hu, stored, right, write_nifti, dtype):
    small = np.iinfo(dtype).bits == 8
    raw = (stored + 1024) // 16 - (64 if dtype is np.int8 else 0) if small else stored + 1024
    slope, intercept = (16, 0 if dtype is np.int8 else -1024) if small else (1, -1024)
    volume = read_ct(write_nifti(raw.astype(dtype), right, slope=slope, intercept=intercept))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu[:, ::-1, ::-1].transpose(2, 1, 0), raw.astype(int) * slope + intercept)


@pytest.mark.parametrize("place", [(0, 0, 0), (-1, -1, -1)])
def test_metal_above_int16_is_read_as_float32(hu, stored, right, write_nifti, place):
    raw = stored.astype(np.int32)
    raw[place] = 40_000
    volume = read_ct(write_nifti(raw, right))
    assert volume.hu.dtype == np.float32 and volume.hu.max() == 40_000
    assert (volume.hu != hu).sum() == 1


def test_scaling_that_an_image_keeps_to_itself_is_applied(hu, stored, right):
    """AFNI's factors lie neither in a slope nor in an intercept."""

    class Header:
        def get_data_shape(self):
            return stored.shape

        def get_data_dtype(self):
            return np.dtype(np.int16)

        def get_data_offset(self):
            return 0

        def get_slope_inter(self):
            return None, None

        def get_data_scaling(self):
            return np.array(0.5)

        def copy(self):
            return self

    content = io.BytesIO((stored * 2).tobytes("F"))
    image = nib.spatialimages.SpatialImage(stored, right)
    image._dataobj = AFNIArrayProxy(content, Header())
    volume = CTVolume.from_nibabel(image)
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.hu.dtype == np.float32


def test_image_whose_slope_is_not_finite_is_refused(stored, right):
    image = nib.spatialimages.SpatialImage(stored, right)
    image._dataobj = nib.arrayproxy.ArrayProxy(io.BytesIO(b""), ((8, 8, 8), np.int16, 0, np.inf, 0.0))
    with pytest.raises(CTReadError):
        CTVolume.from_nibabel(image)


@pytest.mark.parametrize(("order", "size"), [("<", "little"), (">", "big")])
def test_voxels_within_announced_extensions_are_refused(stored, right, write_nifti, order, size, refusal):
    path = write_nifti(stored, right, name="scan.nii", order=order)
    plain = path.read_bytes()
    extension = b"\1\0\0\0" + (32).to_bytes(4, size) + (6).to_bytes(4, size) + b"a comment".ljust(24)
    path.write_bytes(plain[:348] + extension + plain[352:])
    assert "vox_offset lies within the extensions" in refusal(path)
    where = np.array([384], f"{order}f4").tobytes()
    path.write_bytes(plain[:108] + where + plain[112:348] + extension + plain[352:])
    np.testing.assert_array_equal(read_ct(path).hu, stored[::-1, ::-1].transpose(2, 1, 0))


def test_an_announced_extension_that_is_not_there_costs_nothing(stored, right, write_nifti):
    path = write_nifti(stored, right, name="scan.nii")
    plain = path.read_bytes()
    path.write_bytes(plain[:348] + b"\1\0\0\0" + plain[352:])
    np.testing.assert_array_equal(read_ct(path).hu, stored[::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize("field", ["pixdim", "srow_x", "qoffset_y", "quatern_c"])
def test_a_signalling_nan_is_refused_without_a_word_on_the_streams(stored, right, write_nifti, field, refusal):
    path = write_nifti(stored, right, name="scan.nii", qform=right)
    place = nib.Nifti1Header.template_dtype.fields[field][1] + (8 if field == "pixdim" else 0)
    content = bytearray(path.read_bytes())
    content[place : place + 4] = (0x7F800001).to_bytes(4, "little")
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refusal(path)
