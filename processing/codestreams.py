"""Compare the header of a compressed picture with the DICOM header before the picture is decoded.

Some decoders end the process, or fill missing parts with zeros, if the two headers differ or bytes are lost.
"""

from dataclasses import dataclass

import numpy as np

RLE = "1.2.840.10008.1.2.5"
JPEG_8_BIT = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (90, 91, 201, 202, 203))
START, END, SCAN, TABLES, RESTART = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD
FRAME_MARKERS = dict.fromkeys(JPEG_8_BIT, (0xC0, 0xC1)) | dict.fromkeys(JPEG_LOSSLESS, (0xC3,))
FRAME_MARKERS |= dict.fromkeys(JPEG_LS, (0xF7,))


class CodestreamError(ValueError):
    """Error of a compressed picture; the message quotes none of its bytes."""


@dataclass(frozen=True)
class Codestream:
    """Size, precision and similar facts from the header of a compressed picture."""

    rows: int
    columns: int
    components: int
    precision: int  # bits
    signed: bool = False


def check_codestream(syntax: str, code: bytes, rows: int, columns: int, allocated: int) -> Codestream:
    """Return the facts of a compressed picture after checking them against the DICOM header and checking its end.

    Raises:
        CodestreamError: if the facts differ or bytes are missing.
    """
    if syntax == RLE:
        _check_run_lengths(code, allocated)
        return Codestream(rows, columns, 1, allocated)
    try:
        found = _jpeg_2000_facts(code) if syntax in JPEG_2000 else _jpeg_facts(code, FRAME_MARKERS[syntax])
    except IndexError:
        raise CodestreamError("is cut short") from None
    if (found.rows, found.columns) != (rows, columns):
        raise CodestreamError("has another size than the header states")
    if found.components != 1:
        raise CodestreamError("is in colour, where the header says grey")
    if not 2 <= found.precision <= min(allocated, 16):
        raise CodestreamError("has more bits than the header states")
    return found


def _check_run_lengths(code: bytes, allocated: int) -> None:
    """Check the header of 64 bytes: one segment for each byte of a number, in rising order."""
    if len(code) < 64:
        raise CodestreamError("is cut short")
    count, *places = np.frombuffer(code[:64], "<u4").tolist()
    places = places[:count]
    if count != allocated // 8 or places[0] != 64:
        raise CodestreamError("has another number of segments than the header states")
    if places != sorted(set(places)) or places[-1] >= len(code):
        raise CodestreamError("is cut short")


def _jpeg_facts(code: bytes, markers: tuple[int, ...]) -> Codestream:
    facts = None
    for marker, place, size in _segments(code):
        if marker in markers:
            precision, rows, columns = code[place], _word(code, place + 1), _word(code, place + 3)
            facts = Codestream(rows, columns, code[place + 5], precision)
        elif 0xC0 <= marker <= 0xCF and marker not in (TABLES, 0xC8, 0xCC) or marker == 0xF7:
            raise CodestreamError("is coded in another way than the header states")
        elif marker == SCAN and size < 1:
            raise CodestreamError("is damaged")
    if facts is None:
        raise CodestreamError("has no header of its own")
    scan_data(code)
    return facts


def _segments(code: bytes) -> list[tuple[int, int, int]]:
    """Return the marker segments up to the first scan: the marker, the start of its content, and its size."""
    if code[:2] != bytes((0xFF, START)):
        raise CodestreamError("does not start as its compression demands")
    found, place = [], 2
    while True:
        if code[place] != 0xFF:
            raise CodestreamError("is damaged")
        while code[place + 1] == 0xFF:  # fill bytes
            place += 1
        marker, size = code[place + 1], _word(code, place + 2)
        if marker == END or size < 2:
            raise CodestreamError("is damaged")
        found.append((marker, place + 4, size - 2))
        if marker == SCAN:
            return found
        place += 2 + size


def scan_data(code: bytes) -> bytes:
    """Return the entropy-coded bytes of a JPEG's scan.

    Raises:
        CodestreamError: if the end marker is missing.
    """
    _, place, size = _segments(code)[-1]
    end = code.rfind(bytes((0xFF, END)))
    if end < place + size or code[end + 2 :].strip(b"\0\xff"):
        raise CodestreamError("is cut short")
    return code[place + size : end].rstrip(b"\xff")


def _jpeg_2000_facts(code: bytes) -> Codestream:
    """Read SIZ and follow the tile parts to the end marker; a JP2 wrapper, which DICOM forbids, is skipped."""
    start = code.find(b"\xff\x4f\xff\x51")
    if start < 0 or (start and code[4:8] != b"jP  "):
        raise CodestreamError("does not start as its compression demands")
    code = code[start:]
    numbers = [int.from_bytes(code[place : place + 4], "big") for place in range(8, 40, 4)]
    right, bottom, left, top = numbers[:4]
    depth = code[42]
    place = 2
    while code[place : place + 2] != b"\xff\x90":
        place += 2 + _word(code, place + 2)
    while code[place : place + 2] == b"\xff\x90":
        size = int.from_bytes(code[place + 6 : place + 10], "big")
        if size < 14:  # 0: up to the end
            place = code.rfind(b"\xff\xd9") if size == 0 else -1
            break
        place += size
    if place < 0 or code[place : place + 2] != b"\xff\xd9":
        raise CodestreamError("is cut short")
    if code[43:45] != b"\x01\x01":
        raise CodestreamError("is subsampled")
    return Codestream(bottom - top, right - left, _word(code, 40), (depth & 0x7F) + 1, depth > 0x7F)


def _word(code: bytes, place: int) -> int:
    return code[place] << 8 | code[place + 1]


def check_lossless_jpeg(code: bytes, pixels: np.ndarray) -> None:
    """Check decoded `(row, column)` numbers against the bytes, by encoding their differences again.

    A decoder that loses its place in a damaged scan continues without an error: it then has too many bits, or too few.

    Raises:
        CodestreamError: if the numbers need more or fewer bits than there are, or codes that the table lacks.
    """
    segments = _segments(code)
    if any(marker == RESTART and _word(code, place) for marker, place, _ in segments):
        return  # the prediction restarts within the scan
    precision = next(code[place] for marker, place, _ in segments if marker == 0xC3)
    _, place, size = segments[-1]
    predictor, shift = code[place + size - 3], code[place + size - 1] & 15
    lengths = _code_lengths(code, segments, table=code[place + 2] >> 4)
    differences = _differences(pixels.astype(np.int32) >> shift, predictor, 1 << (precision - shift - 1))
    sizes = _bit_lengths(differences)
    bits = lengths[sizes]
    data = scan_data(code)
    spare = 8 * (len(data) - data.count(b"\xff\0")) - int(bits.sum() + np.where(sizes < 16, sizes, 0).sum())
    tail = data[-1:] if data[-2:] != b"\xff\0" else b"\xff"
    padding = tail[0] & ((1 << spare) - 1) if tail and 0 <= spare < 8 else -1
    if not bits.all() or padding not in (0, (1 << max(spare, 0)) - 1):
        raise CodestreamError("is damaged")


def _code_lengths(code: bytes, segments: list[tuple[int, int, int]], table: int) -> np.ndarray:
    """Return the number of bits of the code of each size in the scan's Huffman table; 0 if it has none."""
    lengths = np.zeros(256, np.int64)
    for marker, place, size in segments:
        end = place + size
        while marker == TABLES and place + 17 <= end:
            counts = code[place + 1 : place + 17]
            if code[place] == table:
                values = np.frombuffer(code[place + 17 : place + 17 + sum(counts)], np.uint8)
                lengths[:] = 0
                lengths[values] = np.repeat(np.arange(1, 17), list(counts))[: len(values)]
            place += 17 + sum(counts)
    return lengths


def _differences(pixels: np.ndarray, predictor: int, start: int) -> np.ndarray:
    """Return each number minus its prediction, modulo 2^16 in the range -32767 to 32768 (ITU T.81, annex H)."""
    left, above, corner = np.zeros((3, *pixels.shape), np.int32)
    left[:, 1:], above[1:], corner[1:, 1:] = pixels[:, :-1], pixels[:-1], pixels[:-1, :-1]
    predictions = (
        np.zeros_like(pixels),
        left,
        above,
        corner,
        left + above - corner,
        left + ((above - corner) >> 1),
        above + ((left - corner) >> 1),
        (left + above) >> 1,
    )
    if not 1 <= predictor <= 7:
        raise CodestreamError("is damaged")
    guess = predictions[predictor].copy()
    guess[0], guess[1:, 0], guess[0, 0] = left[0], above[1:, 0], start
    return 32768 - ((32768 - (pixels - guess)) & 0xFFFF)


def _bit_lengths(differences: np.ndarray) -> np.ndarray:
    return np.frexp(np.abs(differences).astype(np.float32))[1]
