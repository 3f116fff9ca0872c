"""DICOM folders with other files beside the slices, and series whose slices do not all belong to one scan."""

import os
import shutil
import socket
import zlib

import numpy as np
import pytest
from dicom_series import SPACING, write_series
from pydicom.uid import generate_uid

from argus_processing.ct_volume import CTReadError
from argus_processing.dicom_files import encoding_of
from argus_processing.dicom_kind import DERIVED, LOCALIZER, derived_kind
from argus_processing.dicom_values import as_numbers, as_seconds, as_text, as_whole
from argus_processing.read_ct import read_ct

MIDDLE = "IM0006"


def only(place, change):
    """An edit of one slice."""
    return lambda index, header: change(header) if index == place else None


# Files that are no slices, and slices that are no longer


@pytest.mark.parametrize("name", [".DS_Store", "._IM0003", "Thumbs.db", "DICOMDIR", "notes.txt", "NOTES", "scan 2.pdf"])
def test_harmless_files_are_passed_over(hu, write_dicom, name):
    folder = write_dicom(hu)
    (folder / name).write_bytes(b"\0\x01\x02 not a slice")
    volume = read_ct(folder)
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.warnings == ()


@pytest.mark.parametrize("name", ["IM0001", MIDDLE, "IM0012"])
@pytest.mark.parametrize("content", [b"", b"\0" * 600, b"<html>not found</html>", b"version https://git-lfs"])
def test_a_slice_that_was_lost_is_named_wherever_it_lies(hu, write_dicom, name, content, refusal):
    folder = write_dicom(hu)
    (folder / name).write_bytes(content)
    assert f"{name}: may be a lost slice" in refusal(folder)


@pytest.mark.parametrize("size", [100, 140, 400, 700, 900])
@pytest.mark.parametrize("name", ["IM0001", MIDDLE])
def test_a_slice_cut_short_is_named(hu, write_dicom, name, size, refusal):
    folder = write_dicom(hu)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:size])
    assert f"{name}: " in refusal(folder)


def test_a_link_is_followed_and_one_that_leads_nowhere_is_named(hu, write_dicom, tmp_path, refusal):
    folder = write_dicom(hu)
    (folder / MIDDLE).rename(tmp_path / "elsewhere")
    (folder / MIDDLE).symlink_to(tmp_path / "elsewhere")
    np.testing.assert_array_equal(read_ct(folder).hu, hu)
    (tmp_path / "elsewhere").unlink()
    assert f"{MIDDLE}: may be a lost slice" in refusal(folder) and "leads nowhere" in refusal(folder)


def test_pipes_sockets_and_endless_links_are_never_waited_for(hu, write_dicom, tmp_path, monkeypatch):
    folder = write_dicom(hu)
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        (folder / ".loop").symlink_to(folder / ".loop")
        np.testing.assert_array_equal(read_ct(folder).hu, hu)


def test_too_many_files_are_refused_before_they_are_opened(tmp_path, monkeypatch, refusal):
    monkeypatch.setattr("argus_processing.dicom_files.MAX_FILES", 20)
    for number in range(25):
        (tmp_path / f"{number}").touch()
    assert "more than 20 files" in refusal(tmp_path)


@pytest.mark.parametrize("start", [128, 132])
def test_files_without_preamble_are_read(hu, write_dicom, start):
    folder = write_dicom(hu)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:] if start == 132 else path.read_bytes())
    np.testing.assert_array_equal(read_ct(folder).hu, hu)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big_endian"])
@pytest.mark.parametrize("bare", [True, False])
def test_files_that_do_not_tell_their_transfer_syntax_are_read(hu, tmp_path, syntax, bare):
    folder = write_series(tmp_path / "series", hu, syntax)
    for path in folder.iterdir():
        content = path.read_bytes()
        start = encoding_of(content).start
        path.write_bytes((b"" if bare else content[:132]) + content[start:])
    np.testing.assert_array_equal(read_ct(folder).hu, hu)


def test_compressed_files_without_a_transfer_syntax_are_refused_as_such(hu, write_dicom, refusal):
    folder = write_dicom(hu.repeat(4, 1).repeat(4, 2), syntax="jpeg_2000")
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:132] + content[encoding_of(content).start :])
    assert "the file does not say how they are stored" in refusal(folder)


# Bombs: what a file claims is bounded before it is allocated


def test_a_deflated_bomb_is_not_inflated(hu, write_dicom, refusal):
    folder = write_dicom(hu, syntax="deflated")
    path = folder / MIDDLE
    content = path.read_bytes()
    start = encoding_of(content).start
    plain = zlib.decompress(content[start:], -15)
    packer = zlib.compressobj(9, wbits=-15)
    path.write_bytes(content[:start] + packer.compress(plain + bytes(64 * 2**20)) + packer.flush())
    assert read_ct(folder).hu.shape == hu.shape  # what follows the pixels is left where it is
    packer = zlib.compressobj(9, wbits=-15)
    private = b"\x09\0\x10\x10OB\0\0" + (64 * 2**20).to_bytes(4, "little") + bytes(64 * 2**20)
    path.write_bytes(content[:start] + packer.compress(private + plain) + packer.flush())
    assert f"{MIDDLE}: " in refusal(folder)


def test_an_enhanced_file_that_claims_a_huge_volume_is_refused(hu, write_enhanced, refusal):
    def claim(header):
        header.Rows = header.Columns = 8000

    assert "would take 1,464 MiB" in refusal(write_enhanced(hu, edit=claim))


def test_a_volume_beyond_memory_is_refused(hu, write_enhanced, monkeypatch, refusal):
    monkeypatch.setattr("argus_processing.ct_checks.MAX_VOLUME_BYTES", hu.size)
    assert "more than" in refusal(write_enhanced(hu))


# Slices that do not belong together


@pytest.mark.parametrize("keyword", ["RescaleIntercept", "RescaleSlope"])
@pytest.mark.parametrize("blank", [True, False])
def test_slices_without_the_rescale_that_others_have_are_refused(hu, write_dicom, keyword, blank, refusal):
    def strip(header):
        if blank:
            setattr(header, keyword, "")
        else:
            delattr(header, keyword)

    assert "1 of 12 slices have no rescale" in refusal(write_dicom(hu, edit=only(11, strip)))


def test_frames_without_the_rescale_that_others_have_are_refused(hu, write_enhanced, refusal):
    def strip(header):
        del header.PerFrameFunctionalGroupsSequence[3].PixelValueTransformationSequence

    assert "1 of 12 slices have no rescale" in refusal(write_enhanced(hu, edit=strip))


def test_a_rescale_that_changes_where_the_stored_numbers_do_not_is_refused(hu, write_dicom, refusal):
    def change(index, header):
        header.RescaleIntercept = 0 if index > 7 else -1024

    assert "where the rescale changes" in refusal(write_dicom(hu, edit=change))


@pytest.mark.parametrize("count", [11, 13])
def test_frames_and_their_descriptions_must_be_as_many(hu, write_enhanced, count, refusal):
    def change(header):
        header.NumberOfFrames = count

    assert "contradict each other" in refusal(write_enhanced(hu, edit=change))


@pytest.mark.parametrize(
    ("keyword", "what"), [("FrameOfReferenceUID", "frames of reference"), ("StudyInstanceUID", "studies")]
)
def test_slices_of_two_worlds_are_refused(hu, write_dicom, keyword, what, refusal):
    one, other = generate_uid(), generate_uid()

    def change(index, header):
        setattr(header, keyword, one if index < 6 else other)

    assert f"the slices are of 2 {what}" in refusal(write_dicom(hu, edit=change))


def long_scan(hu):
    """24 slices whose picture changes slowly."""
    return np.repeat(hu[4:5], 24, axis=0) + np.arange(24, dtype=np.int16)[:, None, None]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", [1, 2]),
        ("AcquisitionNumber", [1, None]),
        ("TemporalPositionIndex", [1, 2]),
        ("NominalPercentageOfCardiacPhase", [40.0, 75.0]),
        ("ConvolutionKernel", ["B30f", "B70f"]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "AXIAL", "A"], ["ORIGINAL", "PRIMARY", "AXIAL", "B"]]),
        ("SeriesDescription", ["arterial", "venous"]),
        ("AcquisitionTime", ["101500", "101640"]),
        ("ContentTime", ["101500.5", "101640.25"]),
        ("TriggerTime", [0.0, 400.0]),
        ("InstanceNumber", [1, 101]),
    ],
)
def test_two_phases_that_alternate_are_refused(hu, write_dicom, keyword, values, refusal):
    def label(index, header):
        value = values[index % 2]
        if isinstance(value, int) and keyword == "InstanceNumber":
            value += index // 2
        if value is not None:
            setattr(header, keyword, value)

    message = refusal(write_dicom(long_scan(hu), edit=label))
    assert f"alternate ({keyword}" in message and "arterial" not in message


def test_two_phases_that_nothing_but_the_picture_tells_apart_are_refused(hu, write_dicom, refusal):
    scan = long_scan(hu)
    scan[::2][scan[::2] > 0] += 150
    assert "as their pictures show" in refusal(write_dicom(scan))


@pytest.mark.parametrize("pattern", ["AABB", "ABB", "AAB", "AAABBB", "ABBABAABABBABAABBAABABBA"])
def test_phases_alternating_in_twos_or_threes_are_refused_by_pictures(hu, write_dicom, pattern, refusal):
    scan = long_scan(hu)
    for index, picture in enumerate(scan):
        if pattern[index % len(pattern)] == "B":
            picture[picture > 0] += 100
    assert "as their pictures show" in refusal(write_dicom(scan))


@pytest.mark.parametrize("keyword", ["ContentTime", "AcquisitionTime", "InstanceNumber"])
@pytest.mark.parametrize("pattern", ["AB", "AABB", "ABB", "ABC", "AAABBB"])
def test_alternating_phases_are_refused_by_each_ones_running_clock(hu, write_dicom, keyword, pattern, refusal):
    def label(index, header):
        phase = "ABC".index(pattern[index % len(pattern)])
        number = index // 2 + 1 + 50 * phase
        setattr(header, keyword, number if keyword == "InstanceNumber" else f"10{10 + phase}{10 + index}.5")

    assert f"({keyword} jumps to and fro)" in refusal(write_dicom(long_scan(hu), edit=label))


@pytest.mark.parametrize("pattern", ["AB", "AABB"])
def test_phases_that_are_numbered_each_from_1_are_refused(hu, write_dicom, pattern, refusal):
    count = {"A": 0, "B": 0}

    def label(index, header):
        count[pattern[index % len(pattern)]] += 1
        header.InstanceNumber = count[pattern[index % len(pattern)]]

    assert "(InstanceNumber jumps to and fro)" in refusal(write_dicom(long_scan(hu), edit=label))


@pytest.mark.parametrize(
    "numbers",
    [
        [*range(1, 25)],
        [*range(24, 0, -1)],
        [7] * 24,
        [1 + index % 12 for index in range(24)],  # two tables' worth, one after the other
        sorted(range(1, 25), key=str),
        np.argsort(sorted(range(24), key=str)).tolist(),
        [*range(13, 25), *range(1, 13)],
        np.random.default_rng(0).permutation(24).tolist(),
    ],
)
def test_slices_of_one_scan_may_be_numbered_in_many_ways(hu, write_dicom, numbers):
    def label(index, header):
        header.InstanceNumber = numbers[index]

    scan = long_scan(hu)
    np.testing.assert_array_equal(read_ct(write_dicom(scan, edit=label)).hu, scan)


def test_slices_of_one_rotation_may_share_a_time(hu, write_dicom):
    def label(index, header):
        header.AcquisitionTime = f"1015{10 + index // 4}.5"

    scan = long_scan(hu)
    np.testing.assert_array_equal(read_ct(write_dicom(scan, edit=label)).hu, scan)


@pytest.mark.parametrize("pattern", ["AB", "AABB", "ABB"])
def test_two_phases_at_the_same_places_are_refused_in_any_order(hu, write_dicom, pattern, refusal):
    scan = long_scan(hu)
    place = {"A": 0, "B": 0}

    def stack(index, header):
        phase = pattern[index % len(pattern)]
        header.ImagePositionPatient = [*header.ImagePositionPatient[:2], 5.0 * place[phase]]
        place[phase] += 1

    assert "slices lie where another does" in refusal(write_dicom(scan, edit=stack))


def test_acquisitions_one_after_the_other_are_one_scan(hu, write_dicom):
    scan = long_scan(hu)

    def label(index, header):
        header.AcquisitionNumber, header.InstanceNumber = 1 + index // 8, 24 - index
        header.AcquisitionTime = f"1015{index:02d}.5"

    np.testing.assert_array_equal(read_ct(write_dicom(scan, edit=label)).hu, scan)


# Where slices lie


def placed(places):
    def place(index, header):
        header.ImagePositionPatient[2] = float(places[index])

    return place


def test_positions_rounded_to_one_decimal_are_read_with_the_true_spacing(hu, write_dicom):
    places = [round(0.625 * index, 1) for index in range(24)]
    volume = read_ct(write_dicom(long_scan(hu), edit=placed(places)))
    assert volume.spacing_mm[0] == pytest.approx(0.625, abs=0.003)
    assert volume.affine[2, 3] == pytest.approx(0, abs=0.05)


def test_spacing_that_drifts_is_refused_though_no_gap_stands_out(hu, write_dicom, refusal):
    scan = np.repeat(long_scan(hu), 4, axis=0)
    places = [index + 0.09 * max(0, index - 48) for index in range(96)]
    assert "not evenly spaced: IM0048 lies 1.1 mm from its place" in refusal(write_dicom(scan, edit=placed(places)))


@pytest.mark.parametrize("index", [0, 11])
def test_a_first_or_last_slice_off_its_place_is_refused(hu, write_dicom, index, refusal):
    places = np.arange(12) * SPACING[0]
    places[index] += 1.0 if index else -1.0
    assert "a gap of 3.5 mm" in refusal(write_dicom(hu, edit=placed(places)))


# Attributes


@pytest.mark.parametrize("keyword", "Rows Columns BitsAllocated BitsStored PixelRepresentation Modality".split())
@pytest.mark.parametrize("index", [0, 5])
def test_an_attribute_that_one_slice_lacks_is_named_with_the_file(hu, write_dicom, keyword, index, refusal):
    message = refusal(write_dicom(hu, edit=only(index, lambda header: delattr(header, keyword))))
    assert f"IM{12 - index:04d}: " in message


@pytest.mark.parametrize(
    ("image_type", "description", "kind"),
    [
        ("ORIGINAL PRIMARY AXIAL", "Thorax 1.0 B30f", ""),
        ("ORIGINAL PRIMARY AXIAL", "1.25 mm for MPR", ""),
        ("ORIGINAL PRIMARY AXIAL", "VRT 0.75 B20f", ""),
        ("ORIGINAL PRIMARY AXIAL", "Planning CT", ""),
        ("DERIVED PRIMARY AXIAL", "iterative, thin", ""),
        ("ORIGINAL PRIMARY AXIAL", "Thorax MIP 10mm", DERIVED),
        ("DERIVED SECONDARY MPR", "", DERIVED),
        ("DERIVED|SECONDARY|OTHER|CSA MPR||CSAPARALLEL", "", DERIVED),
        ("DERIVED SECONDARY REFORMATTED AVERAGE", "", DERIVED),
        ("DERIVED|SECONDARY|PROJECTION IMAGE", "", DERIVED),
        ("DERIVED PRIMARY VOLUME MAXIMUM", "", DERIVED),
        ("DERIVED SECONDARY AXIAL MIN_IP", "", DERIVED),
        ("", "COR_MIP_5mm", DERIVED),
        ("", "MinIP lungs", DERIVED),
        ("", "curved reformat", DERIVED),
        ("", "Abd. MPR cor", DERIVED),
        ("", "RAYSUM", DERIVED),
        ("", "Volume Rendering", DERIVED),
        ("", "Dose Report", DERIVED),
        ("", "Topogramm 0.6 T20f", LOCALIZER),
        ("", "SURVIEW", LOCALIZER),
        ("ORIGINAL PRIMARY SCOUT", "", LOCALIZER),
        ("", "MPRAGE", ""),
        ("", "Tampa abdomen", ""),
    ],
)
def test_vendors_words_for_pictures_that_are_no_slices(image_type, description, kind):
    values = tuple(image_type.split("|" if "|" in image_type else " ")) if image_type else ()
    assert derived_kind(tuple(value.replace("_", " ") for value in values), [description]) == kind


@pytest.mark.parametrize("keyword", ["SeriesDescription", "ImageComments"])
def test_a_series_of_projections_is_refused_without_its_words(hu, write_dicom, keyword, refusal):
    def describe(index, header):
        header.ImageType = ["DERIVED", "SECONDARY"]
        setattr(header, keyword, "SECRET MIP")

    assert "only projections" in refusal(write_dicom(hu, edit=describe))


@pytest.mark.parametrize("value", [None, "", "SECRET", [1, 2], b"\xff\xff", "nan", "1e999", [], "--1", object()])
def test_what_is_no_number_is_none(value):
    assert as_numbers(value, 1) is None and as_whole(value) is None and as_seconds(value) is None


def test_numbers_times_and_words_of_a_header():
    assert as_numbers(["1.5", 2], 2) == (1.5, 2.0) and as_whole("12") == 12 and as_whole(12.5) is None
    assert as_seconds("101530.25") == 36930.25 and as_seconds("20200102101530") - as_seconds("20200101101530") == 86400
    assert as_text([" CT ", "A\0"]) == "CT\\A"


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("SeriesNumber", (2, 3)),
        ("SeriesTime", ("101010", "111111")),
        ("AcquisitionDate", ("20200101", "20200102")),
        ("IrradiationEventUID", ("1.2.3.1", "1.2.3.2")),
        ("ProtocolName", ("ONE", "OTHER")),
        ("ContrastBolusVolume", (0, 80)),
        ("RevolutionTime", (0.28, 0.5)),
        ("NominalCardiacTriggerDelayTime", (300, 600)),
    ],
)
@pytest.mark.parametrize("block", [1, 2])
def test_labels_that_go_to_and_fro_are_refused_one_by_one_or_two_by_two(
    hu, write_dicom, keyword, values, block, refusal
):
    def edit(index, header):
        setattr(header, keyword, values[index // block % 2])

    assert f"alternate ({keyword})" in refusal(write_dicom(hu, edit=edit))


def test_acquisition_times_that_alternate_two_by_two_are_refused(hu, write_dicom, refusal):
    def edit(index, header):
        header.AcquisitionTime = ("101010.25", "101110.75")[index // 2 % 2]

    assert "alternate (AcquisitionTime)" in refusal(write_dicom(hu, edit=edit))


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("KVP", ("120", "120.0")),
        ("SliceThickness", (2.5, 2.501)),
        ("ReconstructionDiameter", (360, 360.0001)),
        ("NominalCardiacTriggerDelayTime", (300, 304, 308)),
        ("ImageComments", ("75 %, HR 61 BPM", "75 %, HR 62 BPM", "75 %, HR 60 BPM")),
        ("AcquisitionNumber", tuple(range(1, 13))),
        ("ContentTime", tuple(f"10{minute:02d}01.5" for minute in range(12))),
    ],
)
def test_labels_that_say_the_same_in_other_words_are_read(hu, write_dicom, keyword, values):
    def edit(index, header):
        setattr(header, keyword, values[index % len(values)])

    np.testing.assert_array_equal(read_ct(write_dicom(hu, edit=edit)).hu, hu)


@pytest.mark.parametrize("keyword", ["PatientName", "PatientBirthDate", "PatientPosition"])
def test_slices_of_two_patients_or_positions_are_refused(hu, write_dicom, keyword, refusal):
    values = {"PatientName": "SECRET^OTHER", "PatientBirthDate": "19610204", "PatientPosition": "FFS"}

    def edit(index, header):
        header.PatientPosition = "HFS"
        if index > 5:
            setattr(header, keyword, values[keyword])

    assert "the slices are of 2 patient" in refusal(write_dicom(hu, edit=edit))


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1100), (1.2, -1024), (1, -900)])
def test_rescale_that_differs_a_little_while_the_numbers_do_not_is_refused(hu, write_dicom, slope, intercept, refusal):
    def edit(index, header):
        if index > 7:
            header.RescaleSlope, header.RescaleIntercept = slope, intercept

    assert "where the rescale changes" in refusal(write_dicom(hu, edit=edit))


@pytest.mark.parametrize("content", [b"", bytes(999)])
def test_lost_slices_are_found_where_names_have_no_digits(hu, write_dicom, content):
    folder = write_dicom(hu)
    for index, path in enumerate(sorted(folder.iterdir())):
        named = path.rename(folder / f"a{chr(97 + index)}")
        if index > 9:
            named.write_bytes(content)
    with pytest.raises(CTReadError, match="may be a lost slice"):
        read_ct(folder)


def test_slices_of_the_series_in_a_subfolder_are_refused_and_named(hu, write_dicom, refusal):
    folder = write_dicom(hu)
    rest = folder / "more" / "of it"
    rest.mkdir(parents=True)
    for path in sorted(folder.glob("*"))[-4:]:
        if path.is_file():
            path.rename(rest / path.name)
    assert "further slices of this series lie in its subfolder more" in refusal(folder)


def test_copies_and_other_series_in_a_subfolder_are_let_be(hu, write_dicom):
    folder = write_dicom(hu)
    (folder / "copy").mkdir()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            shutil.copy(path, folder / "copy" / path.name)
    (folder / "copy" / "damaged").write_bytes(bytes(128) + b"DICM" + bytes(20))
    (folder / "copy" / "notes").write_text("of no use")

    def other(index, header):
        header.SeriesInstanceUID = "1.2.3.4.5.77"
        header.ImagePositionPatient = [*header.ImagePositionPatient[:2], 900 + 5 * index]

    write_dicom(hu, folder="series/other", edit=other)
    np.testing.assert_array_equal(read_ct(folder).hu, hu)


def test_of_a_tree_of_folders_the_first_that_holds_dicom_files_is_named(hu, write_dicom, tmp_path, refusal):
    write_dicom(hu, folder="disc/PAT1/ST1/SE1")
    (tmp_path / "disc" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "disc" / "PAT1" / "README").write_text("of no use")
    assert "below it, in PAT1/ST1/SE1 first" in refusal(tmp_path / "disc")
