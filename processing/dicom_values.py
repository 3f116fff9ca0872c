"""Convert DICOM header values to numbers and words, safely for damaged files; all such conversions are here.

Values may be lists, empty, words, "nan", or bytes of an unknown type. A value that is not a number becomes None; values
are never quoted.
"""

import math
from collections.abc import Iterable
from typing import Any

MAX_PARTS = 64  # of a value; a damaged length may give millions
MAX_LETTERS = 1024


def as_parts(value: object) -> list[Any]:
    """Return a header value as a list: its parts, the value itself, or an empty list."""
    if value is None or value == "" or value == b"":
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return [value]
    return [part for _, part in zip(range(MAX_PARTS), value, strict=False)]


def as_numbers(value: object, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers, or None."""
    parts = as_parts(value)
    if len(parts) != count or any(isinstance(part, bytes | bool) for part in parts):
        return None
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def as_whole(value: object) -> int | None:
    """Return one whole number, or None."""
    numbers = as_numbers(value, 1)
    return int(numbers[0]) if numbers and numbers[0].is_integer() else None


def as_text(value: object) -> str:
    """Return a value's words on one line, only for comparing, never for a message."""
    return "\\".join(str(part).strip(" \0")[:MAX_LETTERS] for part in as_parts(value))


def as_seconds(value: object) -> float | None:
    """Convert DICOM's TM (HHMMSS.f) or DT (YYYYMMDDHHMMSS.f) to seconds that rise with time, or None."""
    text = as_text(value).split("+")[0].replace(":", "")
    whole, _, fraction = text.partition(".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()) or len(whole) not in (4, 6, 12, 14):
        return None
    clock = (whole[8:] if len(whole) > 6 else whole).ljust(6, "0")
    days = int(whole[:8]) if len(whole) > 6 else 0
    hours, minutes, seconds = int(clock[:2]), int(clock[2:4]), int(clock[4:6])
    return days * 86400.0 + hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")
