"""Positions of the elements of a DICOM file in its bytes."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

PREAMBLE_BYTES = 132
CODESTREAM_MARKS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xfe\xff\x00\xe0", b"\xe0\x7f\x10\x00")


@dataclass(frozen=True)
class ElementMap:
    """Positions of the parts of a file.

    Attributes:
        start: of the data set, behind the preamble and the file meta group.
        deflated: whether the data set is packed.
        implicit: whether elements lack their type.
        spans: start of each element's head, start and end of its value, in bytes of the unpacked file.
        pixels: start of the pixels or of their codestream.
    """

    start: int
    deflated: bool
    implicit: bool
    spans: tuple[tuple[int, int, int], ...]
    pixels: int

    @classmethod
    def of(cls, content: bytes) -> "ElementMap":
        """Find the elements of one whole file."""
        file = BytesIO(content)
        file.seek(PREAMBLE_BYTES)
        syntax = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group > 2).TransferSyntaxUID
        start, deflated = file.tell(), syntax == DeflatedExplicitVRLittleEndian
        plain = inflated(content, start) if deflated else content
        file = BytesIO(plain)
        file.seek(start)
        dataset = read_dataset(file, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
        spans = tuple(sorted(set(_spans(dataset))))
        marks = [place for mark in CODESTREAM_MARKS if (place := plain.find(mark, start)) > 0]
        return cls(start, deflated, syntax == ImplicitVRLittleEndian, spans, max(marks, default=start))


def inflated(content: bytes, start: int) -> bytes:
    """Unpack the data set of a deflated file, which starts at `start`."""
    return content[:start] + zlib.decompress(content[start:], -zlib.MAX_WBITS)


def _spans(dataset: Dataset) -> Iterator[tuple[int, int, int]]:
    """Yield the places of the elements, those inside sequences too."""
    for tag in dataset.keys():
        raw = dataset.get_item(tag)
        place, length = getattr(raw, "value_tell", None), getattr(raw, "length", None)
        if place and length is not None and length != 0xFFFFFFFF:
            yield place - 8, place, place + length
        if tag.group != 0x7FE0 and dataset[tag].VR == "SQ":
            for item in dataset[tag].value:
                yield from _spans(item)
