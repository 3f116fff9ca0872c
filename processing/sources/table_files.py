"""Tables as people store them: comma, semicolon or tab, UTF-8, UTF-16 or a Western code page, any line ends."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

DELIMITERS = (",", "\t", ";", "|")
_LARGEST_FIELD = 1 << 24  # characters; the module's own limit cuts long reports' rows
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What a Western code page writes beyond ASCII. Other bytes there are damage, not letters.
_WESTERN = set(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýŠšŽžŒœŸ°±²³µ·ªº¹«»¿¡×÷–—‘’“”„•…€§©®´¨¼½¾\u00a0"
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
# A first line by which spreadsheet programs are told the delimiter.
_SEPARATOR_LINE = re.compile(r'\A"?sep=.?"?[^\S\r\n]*(?:\r\n|\r|\n)', re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """A table's header, its rows not yet read, and what the rows are separated by."""

    header: tuple[str, ...]
    text: str
    delimiter: str

    def records(self) -> Iterator[tuple[int, list[str] | None]]:
        """Rows below the header with the line they end in; None for one that cannot be parsed."""
        reader = _reader(self.text, self.delimiter)
        next(reader, None)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield reader.line_num, None
                continue
            if any(cells):
                yield reader.line_num, cells


def open_table(path: Path, wanted: Collection[str]) -> Table:
    """Read a table's text and find out its delimiter.

    Args:
        path: the file.
        wanted: column names; the delimiter is the one that gives most of them, the file's suffix deciding a draw.
    """
    text = _SEPARATOR_LINE.sub("", decode(path.read_bytes()))
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    best: tuple[tuple[int, int, int], str, list[str]] | None = None
    for delimiter in (usual, *(other for other in DELIMITERS if other != usual)):
        header = [name.strip() for name in _first_row(text, delimiter)]
        known = {name.casefold() for name in header}
        rank = (sum(name.casefold() in known for name in wanted), int(delimiter == usual), len(header))
        if best is None or rank > best[0]:
            best = rank, delimiter, header
    return Table(tuple(best[2]), text, best[1])


def decode(content: bytes) -> str:
    """Decode a table: by its mark, as UTF-16 without one, as UTF-8, or as a Western code page.

    Bytes that none of them explains become U+FFFD, so that only their rows are lost.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    head = content[:2000]
    for encoding, offset in (("utf-16-le", 1), ("utf-16-be", 0)):
        # Western text in UTF-16 has a zero in every second byte.
        if len(head) >= 4 and head[offset::2].count(0) > 0.8 * (len(head) // 2):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    text = content.decode("utf-8", errors="replace")
    has_utf8_letters = set(_NOT_ASCII.findall(text)) - {"\ufffd"}
    western = content.decode("cp1252", errors="replace")
    if not has_utf8_letters and set(_NOT_ASCII.findall(western)) <= _WESTERN:
        return western
    return text


def _reader(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LARGEST_FIELD)
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _first_row(text: str, delimiter: str) -> list[str]:
    try:
        return next(_reader(text, delimiter), [])
    except csv.Error:
        return []
