"""Text that nothing in it can turn against a reader: no escape code, no hidden turn of direction, no broken letter.

File names, reports of a model and other people's files may hold such characters. On a terminal they would move the
cursor, change colours or show a name backwards.
"""

import json
import unicodedata
from typing import Any

# Cc: control characters, Cf: invisible ones (directions, joiners), Cs: halves of a character, as in names that are
# not UTF-8; Zl, Zp: line ends that few know.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def _is_unsafe(letter: str) -> bool:
    return not letter.isprintable() and unicodedata.category(letter) in _UNSAFE


def plain(text: object) -> str:
    """Write out what is not to be printed, such as `\\x1b`; a line end too, so that a name stays on its line."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(letter.encode("unicode_escape").decode() if _is_unsafe(letter) else letter for letter in text)


def plain_lines(text: str) -> str:
    """Do the same for text of several lines, whose line ends and tabs stay."""
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))


def to_json(content: Any, indent: int | None = None) -> str:
    """Write `content` as JSON that reads back the same and is safe to print: unsafe characters are escaped."""
    return escaped_json(json.dumps(content, indent=indent, ensure_ascii=False))


def escaped_json(text: str) -> str:
    """Escape the unsafe characters of JSON; they stand in its strings only."""
    if text.isprintable():
        return text
    return "".join(json.dumps(letter)[1:-1] if letter != "\n" and _is_unsafe(letter) else letter for letter in text)


def ascii_json(text: str) -> str:
    """Escape all of JSON that is not ASCII, for an output that takes nothing else."""
    return "".join(letter if letter.isascii() else json.dumps(letter)[1:-1] for letter in text)
