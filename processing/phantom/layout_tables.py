"""Read and write tables of phantom downloads, as CSV or, by their suffix, TSV."""

import csv
from pathlib import Path

Rows = list[dict[str, object]]


def write_table(path: Path, rows: Rows) -> None:
    """Write rows under the keys of the first one; without rows no file is written."""
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=_delimiter(path))
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> Rows:
    """Read a table that `write_table` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=_delimiter(path)))


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","
