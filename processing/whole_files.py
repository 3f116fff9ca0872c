"""Files that appear whole or not at all: the one place that writes under another name and renames."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4


def check_can_write(out: Path) -> Path:
    """Return `out` if a file can be put there; ask before hours of work, not after.

    Raises:
        FileNotFoundError: if the folder of `out` does not exist.
        IsADirectoryError: if `out` is itself a folder.
    """
    out = Path(out)
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out.is_dir():
        raise IsADirectoryError(f"{out}: is a folder; give a file name")
    return out


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """Give a temporary path beside `out` and move it onto `out` when the block ends without an error.

    The temporary name keeps the suffix of `out`, because writers such as matplotlib choose a format by it. It is new
    each time, so that two processes that write one file do not meet; the later one stays.
    """
    out = check_can_write(out)
    part = out.with_name(f".{out.stem}-{uuid4().hex[:8]}{out.suffix}")
    try:
        yield part
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of a cache or a run, whole or not at all, and the folders it lies in.

    Raises:
        OSError: if the disk fails; nothing is left of the attempt.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(content)


def write_text(out: Path, text: str) -> None:
    """Write UTF-8 `text` to `out`, whole or not at all."""
    with whole_file(out) as part:
        part.write_text(text, encoding="utf-8")


def write_json(out: Path, content: dict[str, Any]) -> None:
    """Write `content` to `out` as indented JSON, whole or not at all."""
    write_text(out, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that this program wrote.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it and start again") from error
