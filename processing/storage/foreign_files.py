"""Read small JSON and YAML files that somebody else may have written, within limits, with errors of one line."""

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MAX_JSON_BYTES = 8 << 20
MAX_YAML_BYTES = 256 << 10
# Values of a file with all YAML aliases expanded: a few hundred letters of aliases can mean billions of values.
MAX_VALUES = 200_000
MAX_DEPTH = 64
_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))


class ForeignFileError(ValueError):
    """Error that names in one line the refused file and the reason."""


def check_regular(path: Path) -> int:
    """Return the size of a regular file; others are refused: reading a pipe or a device could wait or run for ever.

    Raises:
        FileNotFoundError: if it does not exist.
        ForeignFileError: if it is not a regular file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "a device")
        raise ForeignFileError(f"{path}: is {kind} and no file")
    return status.st_size


def check_size(path: Path, max_bytes: int) -> None:
    """Check that a path is a regular file of at most `max_bytes`.

    Raises:
        FileNotFoundError: if it does not exist.
        ForeignFileError: if it is not a regular file, or is larger.
    """
    size = check_regular(path)
    if size > max_bytes:
        raise ForeignFileError(f"{path}: has {size:,} bytes, more than the {max_bytes:,} such a file can need")


def read_bounded(path: Path, max_bytes: int) -> str:
    """Read a UTF-8 text file of at most `max_bytes`.

    Raises:
        FileNotFoundError: if it does not exist.
        ForeignFileError: if it is not a regular file, is larger, or is not UTF-8.
    """
    check_size(path, max_bytes)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ForeignFileError(f"{path}: is not UTF-8 text; copy it again") from None


def read_json_object(
    path: Path, max_bytes: int = MAX_JSON_BYTES, max_values: int | None = MAX_VALUES
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        max_bytes: most bytes of the file.
        max_values: most values in it; None means no limit but the file's length.

    Raises:
        FileNotFoundError: if it does not exist.
        ForeignFileError: if it is not a JSON object, too large or too deep.
    """
    text = read_bounded(path, max_bytes)
    try:
        content = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise ForeignFileError(f"{path}: is damaged ({cause_of(error)}); copy it again") from None
    check_extent(path, content, max_values)
    return checked_object(path, content)


def read_yaml(path: str | os.PathLike) -> Any:
    """Read YAML with plain values only; return None for an empty file.

    Raises:
        FileNotFoundError: if it does not exist.
        ForeignFileError: if it is not YAML, too large or too deep.
    """
    path = Path(path)
    text = read_bounded(path, MAX_YAML_BYTES)
    try:
        content = yaml.safe_load(text)
    except (RecursionError, ValueError, TypeError, yaml.YAMLError) as error:
        raise ForeignFileError(f"{path}: cannot be read as YAML ({cause_of(error)})") from None
    check_extent(path, content, MAX_VALUES)
    return content


def read_yaml_object(path: str | os.PathLike) -> dict[str, Any]:
    """Read a YAML mapping as `read_yaml` does; an empty file is an empty mapping."""
    content = read_yaml(path)
    return checked_object(Path(path), {} if content is None else content)


def cause_of(error: BaseException) -> str:
    """Describe in one line why content could not be read."""
    if isinstance(error, RecursionError):
        return "nested too deep"
    return next(iter(str(error).splitlines()), type(error).__name__)


def checked_object(path: Path | str, content: Any) -> dict[str, Any]:
    """Return `content` if it is a mapping.

    Raises:
        ForeignFileError: if it is not; the message names `path`.
    """
    if not isinstance(content, dict):
        raise ForeignFileError(f"{path}: must be a mapping of names to values, is a {type(content).__name__}")
    return content


def check_extent(path: Path | str, content: Any, max_values: int | None) -> None:
    """Check that content is not larger or deeper than in any valid file.

    Raises:
        ForeignFileError: if `content` has more than `max_values`, or is nested too deep; the message names `path`.
    """
    for count, _ in enumerate(values_of(path, content), start=1):
        if max_values is not None and count > max_values:
            raise ForeignFileError(f"{path}: stands for more than {max_values:,} values; no such file needs them")


def values_of(path: Path | str, content: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings and lists with its dotted name, containers before their content.

    Raises:
        ForeignFileError: if they are nested deeper than any valid file, or contain themselves.
    """
    if depth > MAX_DEPTH:
        raise ForeignFileError(f"{path}: nested deeper than {MAX_DEPTH} levels")
    yield name, content
    if isinstance(content, dict):
        for key, value in content.items():
            yield from values_of(path, value, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(content, list | tuple):
        for value in content:
            # An element has the name of its list: a rule for a setting applies to each of its numbers.
            yield from values_of(path, value, name, depth + 1)


def is_finite(value: Any) -> bool:
    """Return whether a value is not NaN and not an infinite number."""
    return not isinstance(value, float) or math.isfinite(value)
