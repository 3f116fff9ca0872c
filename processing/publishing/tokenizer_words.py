"""Check that a tokenizer's vocabulary files hold a vocabulary, and no secret among its words.

Words of a vocabulary look like anything, so paths and names are not searched for in them. That makes such a file a good
place to overlook something else under the same name.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ..storage.foreign_files import ForeignFileError, read_bounded
from .private_text import PrivateText, tokens_in_words

NO_VOCABULARY = "other file"
MAX_VOCABULARY_BYTES = 64 << 20
_RANKED = re.compile(rb"(?:[A-Za-z0-9+/]+=* \d+\r?\n)+")
# A SentencePiece file begins with its first piece: field 1, its length, its text as field 1 of that.
_SENTENCEPIECE = re.compile(rb"\x0a[\x03-\x7f]\x0a")


def private_in_vocabulary(path: Path) -> Iterator[PrivateText]:
    """Yield why a file is no vocabulary of its name's form, or the tokens among its words.

    Raises:
        ForeignFileError: if it is larger than any vocabulary.
    """
    words = _FORMS[path.name](path)
    if words is None:
        yield PrivateText(NO_VOCABULARY, "holds no vocabulary of a tokenizer; take it out of the folder")
    else:
        yield from tokens_in_words(words)


def _numbered_words(path: Path) -> list[str] | None:
    try:
        content = json.loads(read_bounded(path, MAX_VOCABULARY_BYTES))
    except (ForeignFileError, RecursionError, ValueError):
        return None
    if not isinstance(content, dict) or not all(type(number) is int for number in content.values()):
        return None
    return list(content)


def _merged_pairs(path: Path) -> list[str] | None:
    lines = _lines(path)
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    return lines if lines and all(line.count(" ") == 1 for line in lines) else None


def _one_word_a_line(path: Path) -> list[str] | None:
    lines = _lines(path)
    return lines if lines and not any(re.search(r"[ \t]", line) for line in lines) else None


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in read_bounded(path, MAX_VOCABULARY_BYTES).split("\n") if line]
    except ForeignFileError:
        return []


def _binary_words(path: Path) -> list[str] | None:
    """Return the content of a vocabulary of SentencePiece or of tiktoken as one text."""
    if path.stat().st_size > MAX_VOCABULARY_BYTES:
        return None
    content = path.read_bytes()
    known = _SENTENCEPIECE.match(content) or _RANKED.fullmatch(content.rstrip() + b"\n")
    return [content.decode("latin-1")] if known else None


_FORMS: dict[str, Callable[[Path], list[str] | None]] = {
    "vocab.json": _numbered_words,
    "merges.txt": _merged_pairs,
    "vocab.txt": _one_word_a_line,
    "tokenizer.model": _binary_words,
}
VOCABULARIES = frozenset(_FORMS)
