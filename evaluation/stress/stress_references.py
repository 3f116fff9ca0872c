"""Read or make the reference reports of the stress test: a table's, a file's of JSON lines, or phantoms'."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from argus_processing.phantom.scans import report_of
from argus_processing.sources.table_files import open_table
from argus_processing.storage.file_hash import hash_file
from argus_processing.storage.foreign_files import ForeignFileError, cause_of, check_size
from argus_processing.storage.json_lines import MAX_LINES_BYTES, read_json_lines

from .sentences import apply_edits, capitalise, fix_articles, lower_first, read_sentences
from .vocabulary_files import read_vocabulary, words_pattern

# The columns of reports that are looked for; several are joined by a line end.
KNOWN_COLUMNS = (
    ("report",),
    ("report_text",),
    ("reference",),
    ("Findings_EN", "Impressions_EN"),
    ("Report_en",),
    ("impressions",),
)
_DETAIL_STREAM = 23


@dataclass(frozen=True)
class References:
    """Reference reports.

    Attributes:
        reports: distinct texts, none empty.
        source: where they are from, without a path.
        sha256: of the file; "" for phantoms.
        left_out: number of reports that were empty or equal to an earlier one.
    """

    reports: tuple[str, ...]
    source: str
    sha256: str = ""
    left_out: int = 0


def read_references(path: Path, columns: Sequence[str] = ()) -> References:
    """Read reports from a .csv, .tsv, .jsonl or .parquet file.

    Args:
        path: the file.
        columns: names of the columns of one report's text. Default: the first of `KNOWN_COLUMNS` that are there.

    Raises:
        FileNotFoundError: if it does not exist.
        ValueError: if it is of another kind, lacks the columns, is damaged, or holds fewer than two reports.
    """
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"{path}: is not one of {', '.join(_READERS)}; give a file of reports of such a kind")
    check_size(path, MAX_LINES_BYTES)
    texts = _READERS[path.suffix.lower()](path, tuple(columns))
    reports = tuple(dict.fromkeys(text for text in map(str.strip, texts) if text))
    if len(reports) < 2:
        raise ValueError(f"{path}: holds {len(reports)} different reports; the stress test needs at least 2")
    return References(reports, path.name, hash_file(path), len(texts) - len(reports))


def _read_table(path: Path, columns: tuple[str, ...]) -> list[str]:
    table = open_table(path, columns or [name for names in KNOWN_COLUMNS for name in names])
    chosen = _choose(path, table.header, columns)
    places = [table.header.index(name) for name in chosen]
    texts = []
    for line, cells in table.records():
        if cells is None or len(cells) < len(table.header):
            raise ForeignFileError(f"{path}: line {line} is no row of {len(table.header)} fields; repair the file")
        texts.append("\n".join(cells[place] for place in places))
    return texts


def _read_lines(path: Path, columns: tuple[str, ...]) -> list[str]:
    rows = read_json_lines(path, dict, fault="is no object", advice="take the file from its source again")
    chosen = _choose(path, list(dict.fromkeys(name for row in rows for name in row)), columns)
    return [_joined(path, row, chosen) for row in rows]


def _read_parquet(path: Path, columns: tuple[str, ...]) -> list[str]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        chosen = _choose(path, pq.read_schema(path).names, columns)
        rows = pq.read_table(path, columns=list(chosen)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ForeignFileError(f"{path}: cannot be read as Parquet ({cause_of(error)}); copy it again") from None
    return [_joined(path, row, chosen) for row in rows]


_READERS = {".csv": _read_table, ".tsv": _read_table, ".jsonl": _read_lines, ".parquet": _read_parquet}


def _choose(path: Path, there: Sequence[str], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns to read.

    Raises:
        ValueError: if one is not there; the message names those that are.
    """
    options = (columns,) if columns else KNOWN_COLUMNS
    for names in options:
        if set(names) <= set(there):
            return names
    wanted = ", ".join(columns) or ", ".join(" and ".join(names) for names in KNOWN_COLUMNS)
    raise ValueError(f"{path}: no column {wanted}; it has {', '.join(there) or 'no columns'}; name one by --column")


def _joined(path: Path, row: dict[str, Any], columns: tuple[str, ...]) -> str:
    values = [row.get(name) for name in columns]
    if any(not isinstance(value, str) for value in values if value is not None):
        raise ForeignFileError(f"{path}: a value of {', '.join(columns)} is no text; name another --column")
    return "\n".join(value for value in values if value)


def phantom_references(count: int, seed: int = 0) -> References:
    """Make the reports of phantoms, with a grade or a size written in where the vocabulary has one for a finding.

    Raises:
        ValueError: if fewer than two are asked for.
    """
    if count < 2:
        raise ValueError(f"the stress test needs at least 2 phantoms, got {count}")
    reports = dict.fromkeys(detailed_report(seed + number) for number in range(count))
    return References(tuple(reports), f"{count} phantom reports with sizes and grades", left_out=count - len(reports))


def detailed_report(seed: int) -> str:
    """Return a phantom's report with a grade or a size of each finding that the vocabulary has one for.

    A label has one grade and one size throughout the report.
    """
    report = report_of(seed)
    rng = np.random.default_rng([seed, _DETAIL_STREAM])
    words = read_vocabulary("phantoms")
    details: dict[str, dict[str, str]] = {}
    edits = []
    for sentence in read_sentences(report):
        for label in sorted(sentence.stated):
            grade, size = (
                words["grades"][int(rng.integers(len(words["grades"])))],
                int(rng.integers(*words["sizes_mm"])),
            )
            drawn = [("grades_of", grade), ("sizes_of", f"{size} mm")]
            of_label = details.setdefault(label, dict(drawn if rng.random() < 0.5 else reversed(drawn)))
            if text := _detailed(sentence.text, of_label):
                edits.append((sentence.start, sentence.end, fix_articles(text)))
                break
    return apply_edits(report, edits)


def _detailed(sentence: str, details: Mapping[str, str]) -> str | None:
    """Return a sentence with the first detail that fits before the name of its finding; None if none fits."""
    for topic, detail in details.items():
        if found := _nouns(topic).search(sentence):
            noun = found[0] if found.start() else lower_first(found[0])
            new = f"{sentence[: found.start()]}{detail} {noun}{sentence[found.end() :]}"
            return new if found.start() else capitalise(new)
    return None


@cache
def _nouns(topic: str) -> re.Pattern[str]:
    words = read_vocabulary("phantoms")
    return words_pattern(f"(?:{words['place']})?(?:{'|'.join(words[topic])})")
