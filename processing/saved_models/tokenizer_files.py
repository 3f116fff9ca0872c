"""Check tokenizer files that somebody else may have written: their steps must not make a text many times longer."""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from ..storage.foreign_files import ForeignFileError, read_bounded, values_of
from .config_limits import MAX_NAMES

MAX_TOKENIZER_BYTES = 256 << 20  # Gemma's has 33 MB
MAX_STEPS = 64  # of normalizer and pre-tokenizer; published ones have up to about ten
MAX_GROWTH = 256
# At each such step a character outside ASCII becomes several characters that are outside ASCII too.
_BYTES_GROWTH = 4


def check_tokenizer_file(path: Path) -> None:
    """Refuse a tokenizer.json whose steps together could make a short text fill the memory.

    Raises:
        ForeignFileError: naming the file and what is wrong.
    """
    try:
        content = json.loads(read_bounded(path, MAX_TOKENIZER_BYTES))
    except (RecursionError, ValueError) as error:
        if isinstance(error, ForeignFileError):
            raise
        raise ForeignFileError(f"{path}: is damaged (no JSON that can be read); copy it again") from None
    if not isinstance(content, dict):
        raise ForeignFileError(f"{path}: must be a mapping of names to values; copy it again")
    added = content.get("added_tokens")
    if isinstance(added, list) and len(added) > MAX_NAMES:
        raise ForeignFileError(f"{path}: added_tokens has {len(added):,} entries, more than {MAX_NAMES:,}")
    _check_merges(path, content.get("model"))
    steps = [step for part in ("normalizer", "pre_tokenizer") for step in _steps(path, content.get(part))]
    if len(steps) > MAX_STEPS:
        raise ForeignFileError(f"{path}: has {len(steps)} steps before the words, more than {MAX_STEPS}")
    if prod(map(_growth, steps)) > MAX_GROWTH:
        raise ForeignFileError(f"{path}: its steps make a text more than {MAX_GROWTH} times as long; it is refused")


def _check_merges(path: Path, model: Any) -> None:
    """Refuse merges without the prefix that their tokenizer removes: it would panic and print a traceback."""
    prefix = model.get("continuing_subword_prefix") if isinstance(model, dict) else None
    if not prefix or not isinstance(prefix, str):
        return
    merges = model.get("merges")
    for merge in merges if isinstance(merges, list) else ():
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if isinstance(parts, list) and len(parts) == 2 and not str(parts[1]).startswith(prefix):
            raise ForeignFileError(f"{path}: its merges lack their continuing_subword_prefix; copy it again")


def _steps(path: Path, part: Any) -> Iterator[dict[str, Any]]:
    for _, value in values_of(path, part):
        if isinstance(value, dict) and "type" in value:
            yield value


def _growth(step: dict[str, Any]) -> int:
    """Return the largest factor by which one step can make a text longer, rounded up."""
    if step["type"] == "ByteLevel":
        return _BYTES_GROWTH
    if step["type"] != "Replace" or not isinstance(step.get("content"), str):
        return 1
    pattern = step.get("pattern")
    said = pattern.get("String") if isinstance(pattern, dict) else None
    # The replacement of a blank, such as "▁", is longer in bytes but is not replaced again.
    length = 1 if len(step["content"]) == 1 else len(step["content"].encode())
    if not isinstance(said, str) or not said:
        return length + 1  # a regular expression may match between letters and replace none
    return max(1, -(-length // len(said.encode())))
