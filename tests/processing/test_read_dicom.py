"""Reading DICOM series against known answers and against the same scan as NIfTI."""

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, RLELossless

from argus_processing.read_ct import read_ct


def test_one_scan_as_dicom_and_as_nifti_is_equal_voxel_for_voxel(hu, affine, write_nifti, write_dicom):
    from_dicom, from_nifti = read_ct(write_dicom(hu)), read_ct(write_nifti(hu, affine))
    np.testing.assert_array_equal(from_dicom.hu, from_nifti.hu)
    np.testing.assert_allclose(from_dicom.affine, from_nifti.affine, atol=1e-5)
    assert from_dicom.hu.dtype == np.int16
    assert from_dicom.original_orientation == "LPS"
    assert from_dicom.warnings == ()


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_slices_decode_to_the_same_values(hu, write_dicom, syntax):
    hu = hu.repeat(4, axis=1).repeat(4, axis=2)  # JPEG 2000's wavelets need 32 pixels a side

    def compress(index, header):
        header.compress(syntax)

    np.testing.assert_array_equal(read_ct(write_dicom(hu, edit=compress)).hu, hu)


def test_each_slice_has_its_own_rescale_applied_once(hu, write_dicom):
    def rescale(index, header):
        header.RescaleIntercept = -1024 - index
        header.PixelData = (hu[index] + 1024 + index).astype("<u2").tobytes()

    np.testing.assert_array_equal(read_ct(write_dicom(hu, edit=rescale)).hu, hu)


def test_broken_slope_gives_float32(hu, write_dicom):
    def rescale(index, header):
        header.RescaleSlope = 0.5
        header.PixelData = ((hu[index] + 1024) * 2).astype("<u2").tobytes()

    volume = read_ct(write_dicom(hu, edit=rescale))
    assert volume.hu.dtype == np.float32
    np.testing.assert_array_equal(volume.hu, hu)


def test_coronal_series_comes_out_like_the_transverse_one(hu, affine, write_dicom):
    rows_down, origin = hu[::-1].transpose(1, 0, 2), affine @ (len(hu) - 1, 0, 0, 1)

    def coronal(index, header):
        header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 0, -1], [2.5, 0.5]
        header.ImagePositionPatient = [-origin[0], -origin[1] + index * 0.75, origin[2]]

    volume = read_ct(write_dicom(rows_down, edit=coronal))
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)
    assert volume.original_orientation == "LIP"


def test_pixel_spacing_is_rows_first(hu, write_dicom):
    assert read_ct(write_dicom(hu)).spacing_mm == (2.5, 0.75, 0.5)


def test_gantry_tilt_is_read_with_a_warning(hu, write_dicom):
    drift = 2.5 * np.tan(np.radians(20.0))

    def tilt(index, header):
        header.ImagePositionPatient[1] += index * drift

    assert "20.0 degrees (gantry tilt)" in read_ct(write_dicom(hu, edit=tilt)).warnings[0]


def test_localizer_and_captures_and_other_files_are_left_out(hu, write_dicom):
    def localizer(index, header):
        header.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        return index == 0

    def capture(index, header):
        header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        return index == 0

    folder = write_dicom(hu)
    write_dicom(hu, edit=localizer, prefix="LOC")
    write_dicom(hu, edit=capture, prefix="SC")
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "deeper").mkdir()
    volume = read_ct(folder)
    np.testing.assert_array_equal(volume.hu, hu)
    assert sorted(note.split(" ")[1] for note in volume.warnings) == ["DICOM", "localizers"]


def test_blank_identifiers_as_left_by_anonymisation_are_no_obstacle(hu, write_dicom):
    def blank(index, header):
        header.SeriesInstanceUID = header.FrameOfReferenceUID = header.SOPClassUID = ""

    np.testing.assert_array_equal(read_ct(write_dicom(hu, edit=blank)).hu, hu)


def test_enhanced_multi_frame_file_is_read_frame_by_frame(hu, affine, write_enhanced):
    volume = read_ct(write_enhanced(hu))
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.affine, affine)
