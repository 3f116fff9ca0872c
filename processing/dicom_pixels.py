"""Read the stored numbers of DICOM pictures, and find the padding among them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from .codestreams import JPEG_LOSSLESS, CodestreamError, check_codestream, check_lossless_jpeg
from .ct_checks import MAX_SIDE, CTReadError, read_error
from .dicom_files import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, BoundedReader, Encoding, data_set_stream, opened
from .dicom_library import UID, Dataset, generate_frames
from .dicom_values import as_parts, as_text, as_whole
from .pixel_process import PIXEL_PROCESS
from .pixel_worker import DECODERS

PLAIN = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)
SLACK_BYTES = 2**20  # allowed beside the pixels
FRAME_SLACK_BYTES = 2**12  # for tables of offsets and a compressed picture's own headers
UNDEFINED = 0xFFFFFFFF
INT16_MAX = 0x7FFF
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
PIXEL_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)


@dataclass(frozen=True)
class PixelFormat:
    """Format and place of the numbers stored in a file."""

    encoding: Encoding
    place: int | None  # place of the pixel data's element in the data set
    frames: int
    rows: int
    columns: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    overlays: tuple[int, ...] = ()  # bits of each number that an overlay uses
    padding: tuple[int, int] | None = None  # lowest and highest stored number that mean "no voxel here"

    @property
    def frame_bytes(self) -> int:
        """Return the bytes of one frame that is not compressed."""
        return self.rows * self.columns * self.allocated // 8


def pixel_format(path: Path, header: Dataset, encoding: Encoding, place: int | None, frames: int) -> PixelFormat:
    """Read the pixel format from a header.

    Raises:
        CTReadError: if an attribute is missing, or two contradict each other.
    """
    names = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    numbers = []
    for name in names:
        number = as_whole(header.get(name))
        if number is None:
            raise read_error(path, f"{name} is missing or unreadable", "copy or export the file again")
        numbers.append(number)
    rows, columns, allocated, stored, signed = numbers
    colour = as_text(header.get("PhotometricInterpretation"))
    if as_whole(header.get("SamplesPerPixel", 1)) != 1 or (colour and not colour.startswith("MONOCHROME")):
        raise read_error(path, "the header says colour, and a CT slice is grey", "give the original CT series")
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE):
        raise read_error(path, "Rows or Columns is not a size that a CT has", "copy or export the file again")
    high_bit = as_whole(header.get("HighBit"))
    high_bit = stored - 1 if high_bit is None else high_bit
    if (
        allocated not in (8, 16, 32)
        or not 1 <= stored <= allocated
        or not 0 <= high_bit < allocated
        or signed not in (0, 1)
    ):
        cause = "BitsAllocated, BitsStored, HighBit and PixelRepresentation contradict each other"
        raise read_error(path, cause, "export the series again")
    tags = [group << 16 | 0x0102 for group in OVERLAY_GROUPS]
    positions = [as_whole(header[tag].value) for tag in tags if tag in header]
    overlays = tuple(bit for bit in positions if bit is not None and 0 < bit < allocated)
    padding = _padding(header, allocated, bool(signed))
    return PixelFormat(
        encoding, place, frames, rows, columns, allocated, stored, high_bit, bool(signed), overlays, padding
    )


def _padding(header: Dataset, allocated: int, signed: bool) -> tuple[int, int] | None:
    """Return the padding's range in the type of the pixels, even if the header stores it in another type."""
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = header.get(keyword)
        if isinstance(value, bytes) and len(value) == 2:  # of a type that is not stated
            value = int.from_bytes(value, "little")
        parts = as_parts(value)
        number = as_whole(parts[0]) if parts else None
        if number is not None and -(2**31) <= number < 2**32:
            number %= 1 << allocated
            ends.append(number - (1 << allocated) if signed and number >= 1 << (allocated - 1) else number)
        elif keyword == "PixelPaddingValue":
            return None
    return min(ends), max(ends)


def read_frames(path: Path, form: PixelFormat, indices: list[int]) -> Iterator[np.ndarray]:
    """Yield frames in rising order as `(row, column)` unsigned integers: the bits as they are stored.

    Raises:
        CTReadError: if they cannot be decoded, are incomplete, or do not match the header.
    """
    if form.place is None:
        raise read_error(path, "no pixel data can be found", "copy the file again, or export it with its images")
    advice = "copy the file again, or export the series uncompressed"
    with opened(path) as file:
        try:
            yield from (
                _plain(file, form, form.place, indices)
                if form.encoding.syntax in PLAIN
                else _packed(file, form, form.place, indices, path)
            )
        except CodestreamError as error:
            raise read_error(path, f"the pixel data ({_name(form.encoding)}) {error}", advice) from None
        except (CTReadError, OSError):
            raise
        except Exception:  # damaged bytes may raise anything
            raise read_error(path, f"the pixel data ({_name(form.encoding)}) cannot be decoded", advice) from None


def _name(encoding: Encoding) -> str:
    """Return the name of the transfer syntax; a private one is never quoted."""
    name = UID(encoding.syntax).name
    name = name if name != encoding.syntax else "an unknown transfer syntax"
    return name if encoding.stated else f"{name}, as the file does not say how they are stored"


def _pixel_element(stream: BinaryIO | BoundedReader, encoding: Encoding, place: int) -> int:
    """Move to the value of the pixel data's element, which is at `place`, and return its length."""
    order: Literal["little", "big"] = "little" if encoding.little else "big"
    stream.seek(place)
    start = stream.read(8)
    if start[4:6] in (b"OB", b"OW", b"UN"):
        return int.from_bytes(stream.read(4), order)
    return int.from_bytes(start[4:], order)


def _plain(file: BinaryIO, form: PixelFormat, place: int, indices: list[int]) -> Iterator[np.ndarray]:
    """Read frames that are not compressed, one at a time."""
    expected = form.frames * form.frame_bytes
    stream = data_set_stream(file, form.encoding, place + expected + SLACK_BYTES)
    length = _pixel_element(stream, form.encoding, place)
    if length == UNDEFINED:
        raise CodestreamError("is compressed, which the header denies or leaves open")
    start, end = stream.tell(), stream.seek(0, os.SEEK_END)
    if min(length, end - start) < expected:
        raise CodestreamError("is cut short")
    if length >= expected + max(2, form.columns * form.allocated // 8):
        raise CodestreamError("has another size than the header states")
    kind = np.dtype(f"{'<' if form.encoding.little else '>'}u{form.allocated // 8}")
    for index in indices:
        stream.seek(start + index * form.frame_bytes)
        frame = np.frombuffer(stream.read(form.frame_bytes), kind)
        yield frame.astype(kind.newbyteorder("="), copy=False).reshape(form.rows, form.columns)


def _packed(file: BinaryIO, form: PixelFormat, place: int, indices: list[int], path: Path) -> Iterator[np.ndarray]:
    """Decode compressed frames in a separate process, after the header of each was compared with the DICOM header."""
    syntax = form.encoding.syntax
    if syntax not in DECODERS or form.allocated > 16 or find_spec(DECODERS[syntax][1]) is None:
        cause = f"the pixels are compressed in a way that is not supported ({_name(form.encoding)})"
        raise read_error(path, cause, "install all that argus-ct requires, or export the series uncompressed")
    stream = BoundedReader(file, SLACK_BYTES + form.frames * (2 * form.frame_bytes + FRAME_SLACK_BYTES))
    _pixel_element(stream, form.encoding, place)
    frames = generate_frames(BytesIO(stream.read()), number_of_frames=form.frames)
    wanted, left = set(indices), len(indices)
    for index, code in enumerate(frames):
        if index in wanted:
            yield _decoded(code, form)
            left -= 1
    if left:
        raise CodestreamError("is cut short")


def _decoded(code: bytes, form: PixelFormat) -> np.ndarray:
    facts = check_codestream(form.encoding.syntax, code, form.rows, form.columns, form.allocated)
    pixels = PIXEL_PROCESS.decode(form.encoding.syntax, code, facts)
    if form.encoding.syntax in JPEG_LOSSLESS:
        check_lossless_jpeg(code, pixels)
    if facts.signed and not form.signed and pixels.max() > INT16_MAX:
        raise CodestreamError("is signed, which the header denies")
    return pixels.astype(np.uint8) if form.allocated == 8 else pixels


def stored_values(bits: np.ndarray, form: PixelFormat, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert stored bits to the numbers that they represent.

    Args:
        bits: unsigned integers of the allocated size.
        form: the pixel format, with the bits that hold the number.
        path: the file, for errors.

    Returns:
        The numbers, and a mask of the padding; None if no padding is stated.

    Raises:
        CTReadError: if bits are set that the header states as unused, so that the numbers are not certain.
    """
    whole = bits.view(bits.dtype.str.replace("u", "i")) if form.signed else bits
    padding = None if form.padding is None else (whole >= form.padding[0]) & (whole <= form.padding[1])
    shift = max(0, form.high_bit + 1 - form.stored)
    used = min(form.stored, form.high_bit + 1 - shift)
    if shift:
        if (bits & ((1 << shift) - 1)).any():
            cause = "HighBit and BitsStored contradict the pixels: the bits below the number are not empty"
            raise read_error(path, cause, "export the series again")
        whole = whole >> shift
    spare = form.allocated - shift - used
    if not spare:
        return whole, padding
    room = 8 * bits.itemsize - used
    values = (whole << room) >> room  # for signed numbers an arithmetic shift: the sign fills the bits above
    odd = (values != whole) & (whole >> used != 0)
    if padding is not None:
        odd &= ~padding
    if odd.any() and not any(bit >= shift + used for bit in form.overlays):
        cause = (
            f"the pixels use more than the {form.stored} bits that BitsStored states, so their values cannot be told"
        )
        raise read_error(path, cause, "export the series again")
    return values, padding
