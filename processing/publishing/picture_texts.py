"""Find what is private in a picture besides its pixels: in its texts and EXIF data, and anything after its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from .file_signatures import SCAN
from .private_text import PrivateText, private_in_values

MAX_PICTURE_BYTES = 32 << 20
# Last bytes of a file, by the name that Pillow gives to its format.
_ENDS = {"PNG": b"IEND\xaeB\x60\x82", "JPEG": b"\xff\xd9"}


def private_in_picture(path: Path) -> Iterator[tuple[str, PrivateText]]:
    """Yield what is private in a PNG's or a JPEG's texts, each with its place, and what else the file holds."""
    if path.stat().st_size > MAX_PICTURE_BYTES:
        yield "", PrivateText(SCAN, f"larger than {MAX_PICTURE_BYTES >> 20} MB, more than a figure needs")
        return
    try:
        with Image.open(path, formats=tuple(_ENDS)) as image:
            image.load()
            told: dict[str, Any] = {str(name): _text(value) for name, value in image.info.items()}
            told |= {f"EXIF {tag}": _text(value) for tag, value in image.getexif().items()}
            end = _ENDS[str(image.format)]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        yield "", PrivateText(SCAN, "a damaged picture, or none")
        return
    if not path.read_bytes().endswith(end):
        yield "", PrivateText(SCAN, "a picture with something after its end")
    yield from private_in_values(told)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
