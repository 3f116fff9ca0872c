"""What a source's download holds: its tables, its volumes, and what does not fit together."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

VOLUME_SUFFIXES = (".nii.gz", ".nii")
_LARGEST_FIELD = 1 << 24  # characters; the module's own limit cuts long reports' rows
_SHOWN = 8  # names in an error


@dataclass(frozen=True)
class Problem:
    """Something in a download that a person should look at; the rest goes on.

    Attributes:
        kind: row_without_volume, volume_without_row, broken_row, duplicate_id, unreadable_volume or record_not_kept.
        where: the file and line, or the scan.
        detail: what is wrong.
    """

    kind: str
    where: str
    detail: str


@dataclass(frozen=True)
class SourceScan:
    """One scan as its source lists it.

    Attributes:
        source: "ct-rate", "bimcv-r" or "inspect".
        scan_id: unique in the source.
        patient_id: the source's own pseudonym.
        volume: path of the file below the download's root, with forward slashes.
        report: the source's text, untouched; findings and impression joined.
        official_split: train, validation or test where the source has splits of its own.
        metadata: further columns, by name.
    """

    source: str
    scan_id: str
    patient_id: str
    volume: str
    report: str
    official_split: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass
class Listing:
    """A source's scans in order of their id, its problems, and how many rows and volumes were seen."""

    scans: list[SourceScan]
    problems: list[Problem]
    counts: dict[str, int]


def find_file(root: Path, *names: str) -> Path:
    """Return the first of some files below a root that exists.

    Raises:
        ValueError: naming the file that is missing, and what is there instead.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    folder = (root / names[0]).parent
    while not folder.is_dir() and folder != root:
        folder = folder.parent
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "") or "nothing"
    raise ValueError(f"{root / names[0]}: no such file; {folder} holds {found}; see that the download is complete")


def read_rows(
    path: Path, columns: Mapping[str, str], optional: Mapping[str, str], problems: list[Problem]
) -> list[dict]:
    """Read a CSV (or, by its suffix, TSV) file into dicts by role.

    Args:
        path: the table.
        columns: role -> column name; all must be there.
        optional: the same for columns that may be missing.
        problems: rows that cannot be read are added here, and the rest goes on.

    Returns:
        One dict a row: the roles' values and, under "line", the row's last line in the file.

    Raises:
        ValueError: if the table is empty or lacks a column.
    """
    csv.field_size_limit(_LARGEST_FIELD)
    rows = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        header = next(reader, [])
        places = _places_of(path, header, columns, optional)
        for line, cells in _records(reader):
            if reason := _fault_of(cells, header):
                problems.append(Problem("broken_row", f"{path.name}, line {line}", reason))
                continue
            rows.append({role: cells[place] for role, place in places.items()} | {"line": line})
    return rows


def _places_of(
    path: Path, header: list[str], columns: Mapping[str, str], optional: Mapping[str, str]
) -> dict[str, int]:
    missing = [name for name in columns.values() if name not in header]
    if missing:
        found = ", ".join(header) or "no columns"
        raise ValueError(f"{path}: no column {missing[0]!r}; it has {found}; name the right one by --columns")
    wanted = dict(columns) | {role: name for role, name in optional.items() if name in header}
    return {role: header.index(name) for role, name in wanted.items()}


def _records(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str] | None]]:
    """Rows with their line, None for one that the reader cannot parse."""
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.line_num, None
            continue
        if cells:
            yield reader.line_num, cells


def _fault_of(cells: list[str] | None, header: list[str]) -> str | None:
    if cells is None:
        return "cannot be parsed as CSV"
    if len(cells) != len(header):
        return f"{len(cells)} fields where the header has {len(header)}"
    text = "".join(cells)
    if "\0" in text or "\ufffd" in text:
        return "holds bytes that are not text"
    return None


def find_volumes(root: Path, folder: str) -> Iterator[str]:
    """Paths of all volumes below a folder, relative to the root, in order; nothing is opened."""
    for where, folders, names in os.walk(root / folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(VOLUME_SUFFIXES):
                yield (Path(where) / name).relative_to(root).as_posix()


def stem_of(volume: str) -> str:
    """A volume's file name without folder and suffix."""
    name = volume.rsplit("/", 1)[-1]
    for suffix in VOLUME_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def drop_duplicate_ids(rows: list[dict], table: str, problems: list[Problem]) -> list[dict]:
    """Keep the first row of each `id`; the others become problems."""
    seen: dict[str, int] = {}
    kept = []
    for row in rows:
        first = seen.setdefault(row["id"], row["line"])
        if first == row["line"]:
            kept.append(row)
        else:
            detail = f"the same id as line {first}, which is kept"
            problems.append(Problem("duplicate_id", f"{table}, line {row['line']}: {row['id']}", detail))
    return kept


def match_volumes(
    rows: list[dict], volumes: Mapping[str, str], table: str, problems: list[Problem]
) -> list[tuple[dict, str]]:
    """Pair rows and volumes by id; what has no partner becomes a problem.

    Args:
        rows: each with an `id`.
        volumes: id -> path of the volume.
        table: the rows' file name.
        problems: added to.
    """
    pairs = []
    for row in rows:
        if volume := volumes.get(row["id"]):
            pairs.append((row, volume))
        else:
            where = f"{table}, line {row['line']}: {row['id']}"
            problems.append(Problem("row_without_volume", where, "no volume of that name is in the download"))
    known = {row["id"] for row in rows}
    for name in sorted(set(volumes) - known):
        problems.append(Problem("volume_without_row", volumes[name], f"no row for it in {table}"))
    return pairs


def listing_of(scans: list[SourceScan], problems: list[Problem], **counts: int) -> Listing:
    """Sort a source's scans and count its problems by kind."""
    kinds = Counter(problem.kind for problem in problems)
    return Listing(sorted(scans, key=lambda scan: scan.scan_id), problems, counts | dict(sorted(kinds.items())))
