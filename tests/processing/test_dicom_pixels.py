"""Stored numbers become the Hounsfield units that were written, in every transfer syntax, or are refused."""

import importlib
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from dicom_series import SYNTAXES, large_body_hu
from pydicom.encaps import encapsulate, get_frame

import argus_processing
from argus_processing.codestreams import CodestreamError, check_codestream, check_lossless_jpeg
from argus_processing.pixel_process import PIXEL_PROCESS, PixelProcess
from argus_processing.read_ct import read_ct

PACKED = [name for name, syntax in SYNTAXES.items() if syntax.encode]


@pytest.fixture
def large_hu():
    return large_body_hu()


def picture_of(syntax):
    stored = (large_body_hu()[5] + 1024).astype(np.uint16)
    return stored if SYNTAXES[syntax].bits == 16 else (stored // 8).astype(np.uint8)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_gives_the_values_that_were_written(large_hu, write_dicom, write_enhanced, syntax):
    for folder in (write_dicom(large_hu, syntax=syntax), write_enhanced(large_hu, syntax=syntax)):
        found = read_ct(folder).hu
        assert np.abs(found.astype(int) - large_hu).max() <= SYNTAXES[syntax].tolerance_hu


@pytest.mark.parametrize("syntax", ["rle", "jpeg_lossless_70", "jpeg_ls", "jpeg_2000"])
def test_signed_numbers_of_12_bits_are_read_from_compressed_files(large_hu, write_dicom, syntax):
    def sign(index, header):
        stored = (large_hu[index].clip(-1024, 1000).astype(np.int16)).view(np.uint16) & 0xFFF
        header.PixelData = encapsulate([SYNTAXES[syntax].encode(stored)])
        header.BitsStored, header.HighBit, header.PixelRepresentation, header.RescaleIntercept = 12, 11, 1, 0

    np.testing.assert_array_equal(read_ct(write_dicom(large_hu, syntax=syntax, edit=sign)).hu, large_hu)


# Where the numbers lie in their 16 bits


def store(header, hu, shift=0, stored=16, high_bit=None):
    header.PixelData = ((hu + 1024).astype(np.uint16) << shift).astype("<u2").tobytes()
    header.BitsStored, header.HighBit = stored, stored - 1 if high_bit is None else high_bit


def test_left_justified_numbers_are_read_as_high_bit_says(hu, write_dicom):
    volume = read_ct(write_dicom(hu, edit=lambda index, header: store(header, hu[index], 4, 12, 15)))
    np.testing.assert_array_equal(volume.hu, hu)
    assert "left-justified" in volume.warnings[0]


@pytest.mark.parametrize(
    ("shift", "stored", "high_bit", "cause"),
    [
        (0, 12, 15, "the bits below the number are not empty"),  # right-justified, whatever HighBit says
        (4, 12, 11, "more than the 12 bits"),  # left-justified, whatever HighBit says
        (4, 16, 15, "a multiple of 16"),  # left-justified, and nothing says so
        (4, 16, 11, "so their values cannot be told"),
        (0, 17, 15, "contradict each other"),
        (0, 12, 16, "contradict each other"),
        (0, 0, 11, "contradict each other"),
    ],
)
def test_bits_that_contradict_the_header_are_refused(hu, write_dicom, shift, stored, high_bit, cause, refusal):
    def edit(index, header):
        store(header, hu[index], shift, stored, high_bit)

    assert cause in refusal(write_dicom(hu, edit=edit))


def test_an_overlay_above_the_number_is_not_part_of_it(hu, write_dicom):
    def overlay(index, header):
        store(header, hu[index], 0, 12)
        numbers = np.frombuffer(header.PixelData, "<u2") | (np.arange(hu[index].size) % 2 << 15)
        header.PixelData = numbers.astype("<u2").tobytes()
        header.add_new(0x60000102, "US", 15)

    np.testing.assert_array_equal(read_ct(write_dicom(hu, edit=overlay)).hu, hu)


# Padding


def pad(header, hu, value, limit=None, kind="US", signed=False):
    intercept = 0 if signed else -1024
    numbers = (hu.astype(np.int64) - intercept).ravel()
    numbers[: hu.shape[1]] = value
    header.PixelData = (numbers % 2**16).astype("<u2").tobytes()
    header.PixelRepresentation, header.RescaleIntercept = int(signed), intercept
    header.add_new(0x00280120, kind, value if limit is None else limit)
    if limit is not None:
        header.add_new(0x00280121, kind, value)


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (65535, {}),
        (65535, {"limit": 65000}),
        (4095, {}),
        (32767, {"signed": True, "kind": "SS"}),
        (3500, {"signed": True, "kind": "US"}),
    ],
)
def test_padding_above_air_becomes_air(hu, write_dicom, value, options):
    volume = read_ct(write_dicom(hu, edit=lambda index, header: pad(header, hu[index], value, **options)))
    expected = hu.copy()
    expected[:, 0] = -1000
    np.testing.assert_array_equal(volume.hu, expected)


def test_padding_below_air_stays_as_nifti_files_keep_it(hu, write_dicom):
    def edit(index, header):
        pad(header, hu[index], -2000, signed=True, kind="SS")

    assert (read_ct(write_dicom(hu, edit=edit)).hu[:, 0] == -2000).all()


@pytest.mark.parametrize("place", [np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -2:], np.s_[3:6, 0]])
def test_padding_that_the_header_does_not_state_is_refused(hu, write_dicom, place, refusal):
    def edit(index, header):
        numbers = (hu[index] + 1024).astype("<u2")
        numbers[place] = 65535
        header.PixelData = numbers.tobytes()

    assert "padding that the header does not state" in refusal(write_dicom(hu, edit=edit))


def test_tissue_that_has_the_padding_value_stays_tissue(hu, write_dicom):
    hu[:, 6, 8] = 0

    def edit(index, header):
        header.PixelPaddingValue = 1024  # 0 HU

    np.testing.assert_array_equal(read_ct(write_dicom(hu, edit=edit)).hu, hu)


def test_metal_beyond_16_bits_is_read(hu, write_dicom):
    hu = hu.astype(np.int32)
    hu[5, 8, 9] = 40_000

    def metal(index, header):
        header.PixelData = (hu[index] + 1024).astype("<u2").tobytes()

    np.testing.assert_array_equal(read_ct(write_dicom(hu, edit=metal)).hu, hu)


# Damage


@pytest.mark.parametrize("syntax", PACKED)
def test_a_picture_of_another_size_is_refused_before_it_is_decoded(large_hu, write_dicom, syntax, refusal):
    def edit(index, header):
        if index == 4:
            header.Rows, header.Columns = header.Columns, header.Rows

    folder = write_dicom(large_hu, syntax=syntax, edit=edit)
    assert "differ from the others in image size" in refusal(folder)
    code = SYNTAXES[syntax].encode(picture_of(syntax))
    if syntax != "rle":
        with pytest.raises(CodestreamError, match="another size"):
            check_codestream(SYNTAXES[syntax].uid, code, 80, 64, SYNTAXES[syntax].bits)


@pytest.mark.parametrize("syntax", PACKED)
def test_a_picture_cut_short_is_refused_by_its_file(large_hu, write_dicom, syntax, refusal):
    def cut(index, header):
        if index == 4:
            code = get_frame(header.PixelData, 0, number_of_frames=1)
            header.PixelData = encapsulate([code[: len(code) // 2]])

    message = refusal(write_dicom(large_hu, syntax=syntax, edit=cut))
    assert "IM0008: the pixel data" in message


@pytest.mark.parametrize("syntax", ["jpeg_lossless_70", "jpeg_baseline", "jpeg_ls"])
def test_a_picture_that_lost_bytes_within_is_refused(large_hu, write_dicom, syntax, refusal):
    def damage(index, header):
        if index == 4:
            code = bytearray(get_frame(header.PixelData, 0, number_of_frames=1))
            del code[len(code) // 2 : len(code) // 2 + 40]
            header.PixelData = encapsulate([bytes(code)])

    assert "IM0008: the pixel data" in refusal(write_dicom(large_hu, syntax=syntax, edit=damage))


@pytest.mark.parametrize("predictor", range(1, 8))
def test_differences_of_every_predictor_count_the_bits_of_a_lossless_jpeg(predictor):
    # A picture of one number: the first difference is 10 - 2^7 (7 bits), all others are 0; codes of 1 and 2 bits.
    pixels = np.full((3, 5), 10)
    bits = "10" + format(~118 & 127, "07b") + "0" * 14
    data = int(bits.ljust(24, "1"), 2).to_bytes(3, "big")
    counts = bytes([1, 1] + [0] * 14)
    code = b"\xff\xd8\xff\xc3\0\x0b\x08\0\x03\0\x05\x01\x01\x11\0\xff\xc4\0\x15\0" + counts + b"\0\x07"
    code += b"\xff\xda\0\x08\x01\x01\0" + bytes([predictor]) + b"\0\0" + data + b"\xff\xd9"
    check_lossless_jpeg(code, pixels)
    with pytest.raises(CodestreamError, match="damaged"):
        check_lossless_jpeg(code.replace(data, data + b"\xa5"), pixels)
    with pytest.raises(CodestreamError, match="damaged"):
        check_lossless_jpeg(code, pixels + np.eye(3, 5, dtype=int))


# The process that decodes


def decode(syntax="jpeg_2000", process=PIXEL_PROCESS):
    stored = picture_of(syntax)
    code = SYNTAXES[syntax].encode(stored)
    facts = check_codestream(SYNTAXES[syntax].uid, code, *stored.shape, SYNTAXES[syntax].bits)
    return bool((process.decode(SYNTAXES[syntax].uid, code, facts) == stored).all())


def test_a_decoder_that_dies_is_named_and_the_next_picture_is_decoded():
    process = PixelProcess()
    assert decode(process=process)
    os.kill(process.worker.pid, signal.SIGKILL)
    process.worker.wait()
    with pytest.raises(CodestreamError, match="ends the decoder"):
        decode(process=process)
    assert decode(process=process)
    process.close()


def test_threads_take_turns():
    found = []
    threads = [threading.Thread(target=lambda: found.append(decode())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_a_forked_process_has_a_decoder_of_its_own():
    assert decode()
    mine = PIXEL_PROCESS.worker.pid
    child = os.fork()
    if not child:
        try:
            os._exit(0 if decode("rle") and PIXEL_PROCESS.worker.pid != mine else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert decode() and PIXEL_PROCESS.worker.pid == mine


def test_a_shipped_copy_elsewhere_finds_its_decoder(tmp_path, large_hu, write_dicom):
    # Loaded as remote code, the files lie in a cache under another package's name.
    here = Path(argus_processing.__file__).parent
    copy = tmp_path / "copied_remote_code"
    shutil.copytree(here, copy, ignore=shutil.ignore_patterns("__init__.py", "__pycache__"))
    (copy / "__init__.py").touch()
    sys.path.insert(0, str(tmp_path))
    try:
        module = importlib.import_module("copied_remote_code.read_dicom")
        volume = module.read_dicom(write_dicom(large_hu, syntax="jpeg_2000"))
        np.testing.assert_array_equal(volume.hu, large_hu)
        importlib.import_module("copied_remote_code.pixel_process").PIXEL_PROCESS.close()
    finally:
        sys.path.remove(str(tmp_path))
