"""Make text safe to print: no escape codes, no hidden changes of text direction, no broken characters.

File names, a model's reports and files from other people may hold such characters. On a terminal they would move the
cursor, change colours or show a name backwards.
"""

import json
import unicodedata
from typing import Any

# Unicode categories. Cc: control characters; Cf: invisible ones (directions, joiners); Cs: halves of a character, as in
# names that are not UTF-8; Zl, Zp: rare line and paragraph ends.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def _is_unsafe(letter: str) -> bool:
    return not letter.isprintable() and unicodedata.category(letter) in _UNSAFE


def plain(text: object) -> str:
    """Replace unsafe characters by visible escapes such as `\\x1b`; line ends too, so that a name stays on one line."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(letter.encode("unicode_escape").decode() if _is_unsafe(letter) else letter for letter in text)


def plain_lines(text: str) -> str:
    """Replace unsafe characters as `plain` does, but keep the line ends and tabs."""
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))


def printable_json(content: Any, indent: int | None = None) -> str:
    """Write `content` as JSON that reads back the same and is safe to print: unsafe characters are escaped."""
    return escaped_json(json.dumps(content, indent=indent, ensure_ascii=False))


def escaped_json(text: str) -> str:
    """Escape the unsafe characters of JSON; they can only be inside its strings."""
    if text.isprintable():
        return text
    return "".join(json.dumps(letter)[1:-1] if letter != "\n" and _is_unsafe(letter) else letter for letter in text)


def ascii_json(text: str) -> str:
    """Escape every non-ASCII character of JSON, for an output that takes only ASCII."""
    return "".join(letter if letter.isascii() else json.dumps(letter)[1:-1] for letter in text)
