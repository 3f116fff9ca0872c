"""Read files of JSON lines, one object per line, within limits; errors are one line with the bad line's number.

Lines end only at a line feed: a report may contain other separators.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from .foreign_files import (
    MAX_JSON_BYTES,
    MAX_VALUES,
    ForeignFileError,
    cause_of,
    check_extent,
    check_size,
    checked_object,
)

MAX_LINES_BYTES = 1 << 30  # most bytes of a file: the reports of 100,000 scans take about half of this
_BREAK = b"\n"
Made = TypeVar("Made")
Make = Callable[[dict[str, Any]], Made]


def json_line(content: dict[str, Any]) -> str:
    """Return an object as one line, with its line feed."""
    return json.dumps(content, ensure_ascii=False) + "\n"


def read_json_lines(
    path: Path, make: Make[Made], *, fault: str, advice: str, max_bytes: int = MAX_LINES_BYTES
) -> list[Made]:
    """Read every line of a file that somebody else may have written; empty lines are skipped.

    Args:
        path: the file.
        make: makes a result from a line's object.
        fault: description of a line that cannot be used, such as "is not a prediction".
        advice: advice for that error.
        max_bytes: most bytes of the file.

    Raises:
        FileNotFoundError: if it does not exist.
        ForeignFileError: if it is not a regular file or is too large, or a line is not an object that `make` accepts.
    """
    return [_made(path, line, make, fault, advice) for line in _lines_of(path, max_bytes)]


def read_finished_lines(
    path: Path, make: Make[Made], *, fault: str, advice: str, max_bytes: int = MAX_LINES_BYTES
) -> list[Made]:
    """Read as `read_json_lines` does, without a last line that a crash left without its line feed."""
    lines = (line for line in _lines_of(path, max_bytes) if line[1].endswith(_BREAK))
    return [_made(path, line, make, fault, advice) for line in lines]


def finished_bytes(path: Path) -> int:
    """Return the number of bytes of complete lines, which a writer that continues the file keeps."""
    with path.open("rb") as file:
        return sum(len(line) for line in file if line.endswith(_BREAK))


def _lines_of(path: Path, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, with their numbers from 1."""
    check_size(path, max_bytes)
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_JSON_BYTES + 1):
            number += 1
            if len(line) > MAX_JSON_BYTES:
                raise ForeignFileError(f"{path}: line {number} has more than the {MAX_JSON_BYTES:,} bytes one can need")
            if line.strip(b"\r\n"):
                yield number, line


def _made(path: Path, line: tuple[int, bytes], make: Make[Made], fault: str, advice: str) -> Made:
    number, text = line
    try:
        content = json.loads(text.decode("utf-8"))
        check_extent(f"line {number}", content, MAX_VALUES)
        return make(checked_object(f"line {number}", content))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ForeignFileError(f"{path}: line {number} {fault} ({cause_of(error)}); {advice}") from None
