"""DICOM folders that are no one complete CT are refused, and nothing of the patient shows."""

import warnings

import numpy as np
import pytest

from argus_processing.read_ct import read_ct


def test_empty_folder_is_refused(tmp_path, refusal):
    assert "no DICOM files" in refusal(tmp_path)


def test_folder_of_mr_is_refused_by_name(hu, write_dicom, refusal):
    def to_mr(index, header):
        header.Modality = "MR"

    assert "the slices are MR" in refusal(write_dicom(hu, edit=to_mr))


@pytest.mark.parametrize("uid", ["1.2.3.4.5.1", ""])
def test_two_series_are_refused_with_their_sizes(hu, write_dicom, uid, refusal):
    def other(index, header):
        header.SeriesInstanceUID, header.FrameOfReferenceUID = uid, "1.2.3.4.5.2"

    folder = write_dicom(hu)
    write_dicom(hu[:5], edit=other, prefix="OTHER")
    assert "2 series in one folder (12 and 5 slices)" in refusal(folder)


def test_pet_beside_ct_is_refused(hu, write_dicom, refusal):
    def to_pet(index, header):
        header.Modality = "PT"

    folder = write_dicom(hu)
    write_dicom(hu, edit=to_pet, prefix="PET")
    assert "12 of CT, 12 of PET" in refusal(folder)


@pytest.mark.parametrize("missing", [1, 5, 10])
def test_missing_slice_is_refused_with_the_gap(hu, write_dicom, missing, refusal):
    assert "a gap of 5 mm" in refusal(write_dicom(hu, edit=lambda index, header: index != missing))


def test_doubled_slice_is_refused(hu, write_dicom, refusal):
    folder = write_dicom(hu)
    (folder / "copy").write_bytes((folder / "IM0003").read_bytes())
    assert "1 slices lie where another does (IM0003 and copy)" in refusal(folder)


def test_localizers_only_are_refused(hu, write_dicom, refusal):
    def localizer(index, header):
        header.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    assert "only localizers" in refusal(write_dicom(hu, edit=localizer))


def test_captures_only_are_refused(hu, write_dicom, refusal):
    def capture(index, header):
        header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"

    assert "only other DICOM objects" in refusal(write_dicom(hu, edit=capture))


def test_too_few_slices_are_refused(hu, write_dicom, refusal):
    assert "only 2 CT slices" in refusal(write_dicom(hu[:2]))


def test_slice_without_pixels_is_refused_by_its_file(hu, write_dicom, refusal):
    def strip(index, header):
        if index == 4:
            del header.PixelData

    assert "IM0008: no pixel data" in refusal(write_dicom(hu, edit=strip))


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slice_without_its_geometry_is_refused_by_its_file(hu, write_dicom, keyword, refusal):
    def strip(index, header):
        if index == 4:
            delattr(header, keyword)

    assert f"IM0008: {keyword} is missing" in refusal(write_dicom(hu, edit=strip))


@pytest.mark.parametrize(
    ("keyword", "value", "fact"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 0.9962, 0.0872], "orientation"),
        ("PixelSpacing", [0.75, 0.7], "pixel spacing"),
        ("Rows", 8, "image size"),
    ],
)
def test_slices_that_are_not_alike_are_refused(hu, write_dicom, keyword, value, fact, refusal):
    def change(index, header):
        if index == 7:
            setattr(header, keyword, value)

    assert f"1 of 12 slices differ from the others in {fact}" in refusal(write_dicom(hu, edit=change))


def test_slices_off_their_line_are_refused(hu, write_dicom, refusal):
    def shift(index, header):
        header.ImagePositionPatient[0] += 40 * (index > 5)

    assert "do not lie on one line" in refusal(write_dicom(hu, edit=shift))


def test_unknown_compression_is_refused_by_its_name(hu, write_dicom, refusal):
    folder = write_dicom(hu)
    first = sorted(folder.iterdir())[0]
    plain, other = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4."
    first.write_bytes(first.read_bytes().replace(plain, other, 1))
    assert "not supported (an unknown transfer syntax)" in refusal(folder)


def test_video_compression_is_refused_by_its_name(hu, write_dicom, refusal):
    def relabel(index, header):
        header.compress("1.2.840.10008.1.2.5")
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"

    assert "MPEG2" in refusal(write_dicom(hu, edit=relabel))


def test_truncated_slice_is_refused(hu, write_dicom, refusal):
    folder = write_dicom(hu)
    first = sorted(folder.iterdir())[0]
    first.write_bytes(first.read_bytes()[:-100])
    assert "IM0001: the pixel data (Explicit VR Little Endian) is cut short" in refusal(folder)


def test_damaged_jpeg_2000_slice_is_refused(hu, write_dicom, refusal):
    def damage(index, header):
        header.compress("1.2.840.10008.1.2.4.90")
        if index == 4:
            header.PixelData = header.PixelData[:30] + bytes(len(header.PixelData) - 30)

    assert "is cut short" in refusal(write_dicom(hu.repeat(4, axis=1).repeat(4, axis=2), edit=damage))


def test_values_without_a_rescale_are_refused(hu, write_dicom, refusal):
    def strip(index, header):
        del header.RescaleSlope, header.RescaleIntercept

    assert "intercept is missing" in refusal(write_dicom(hu, edit=strip))


def test_electron_density_is_refused(hu, write_dicom, refusal):
    def relabel(index, header):
        header.RescaleType = "ED"

    assert "not Hounsfield units" in refusal(write_dicom(hu, edit=relabel))


# Privacy


def test_nothing_of_the_patient_shows_in_warnings_or_on_the_streams(hu, write_dicom, capfd):
    def plant(index, header):
        header.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"] if index == 0 else ["ORIGINAL"]
        header.SeriesInstanceUID = "SECRET^NAME"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's own complaints about writing such a file
        folder = write_dicom(hu, edit=plant)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        volume = read_ct(folder)
    streams = capfd.readouterr()
    assert volume.warnings == ("1 localizers left out",)
    assert not caught and streams.out == "" and streams.err == ""


@pytest.mark.parametrize("keyword", ["PixelSpacing", "RescaleSlope", "Rows"])
def test_a_name_in_the_wrong_field_is_not_quoted(hu, write_dicom, keyword, capfd, refusal):
    folder = write_dicom(hu)
    first = sorted(folder.iterdir())[0]
    content = first.read_bytes()
    tag = {"PixelSpacing": b"\x28\x00\x30\x00DS", "RescaleSlope": b"\x28\x00\x53\x10DS", "Rows": b"\x28\x00\x10\x00US"}
    start = content.index(tag[keyword])
    size = int.from_bytes(content[start + 6 : start + 8], "little")
    planted = b"SECRET^N"[:size].ljust(size)
    first.write_bytes(content[: start + 8] + planted + content[start + 8 + size :])
    message = refusal(folder)
    assert "SECRET"[:size] not in message.replace(str(folder), "")
    assert capfd.readouterr().err == ""


def test_a_slice_without_any_picture_among_others_is_refused_and_named(hu, write_dicom, refusal):
    def blank(index, header):
        if index == 5:
            header.PixelData = bytes(len(header.PixelData))

    message = refusal(write_dicom(hu, edit=blank))
    assert "IM0007" in message and "the pixels were lost" in message


def test_slices_of_air_at_the_ends_are_read(hu, write_dicom):
    hu[:2] = hu[-1] = -1000
    np.testing.assert_array_equal(read_ct(write_dicom(hu)).hu, hu)
