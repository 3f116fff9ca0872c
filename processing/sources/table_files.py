"""Read tables in common formats: comma, semicolon or tab, UTF-8, UTF-16 or a Western code page, any line ends."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

DELIMITERS = (",", "\t", ";", "|")
_LARGEST_FIELD = 1 << 24  # characters; the default limit of `csv` is too low for long reports
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Letters of a Western code page beyond ASCII. Other bytes in this range are damage, not letters.
_WESTERN = set(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýŠšŽžŒœŸ°±²³µ·ªº¹«»¿¡×÷–—‘’“”„•…€§©®´¨¼½¾\u00a0"
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
# A first line that states the delimiter for spreadsheet programs.
_SEPARATOR_LINE = re.compile(r'\A"?sep=.?"?[^\S\r\n]*(?:\r\n|\r|\n)', re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """A table's header, its unread rows, and its delimiter."""

    header: tuple[str, ...]
    text: str
    delimiter: str

    def records(self) -> Iterator[tuple[int, list[str] | None]]:
        """Yield rows below the header with the number of their last line; None for a row that cannot be parsed."""
        reader = csv.reader(_lines(self.text), delimiter=self.delimiter)
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
    """Read a table's text and determine its delimiter.

    Args:
        path: the file.
        wanted: column names; the delimiter that gives most of them is used, and the file's suffix decides a tie.
    """
    text = _SEPARATOR_LINE.sub("", decode(path.read_bytes()))
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    found = []
    for delimiter in (usual, *(other for other in DELIMITERS if other != usual)):
        header = [name.strip() for name in _first_row(text, delimiter)]
        known = {name.casefold() for name in header}
        rank = (sum(name.casefold() in known for name in wanted), int(delimiter == usual), len(header))
        found.append((rank, delimiter, header))
    _, delimiter, header = max(found, key=lambda entry: entry[0])
    return Table(tuple(header), text, delimiter)


def decode(content: bytes) -> str:
    """Decode a table: by its byte order mark, as UTF-16 without a mark, as UTF-8, or as a Western code page.

    Bytes that are invalid in all of them become U+FFFD, so that only their rows are lost.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    head = content[:2000]
    for encoding, offset in (("utf-16-le", 1), ("utf-16-be", 0)):
        # In UTF-16 every second byte of Western text is zero.
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


def _lines(text: str) -> io.StringIO:
    """Return a text's lines for `csv`, whose limit of a field is raised to that of a long report."""
    csv.field_size_limit(_LARGEST_FIELD)
    return io.StringIO(text, newline="")


def _first_row(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(_lines(text), delimiter=delimiter), [])
    except csv.Error:
        return []
