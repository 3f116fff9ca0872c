"""Read the tables and volumes of a source's download, match them, and report problems."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from .table_files import Table, open_table

VOLUME_SUFFIXES = (".nii.gz", ".nii")
# Flaws of the releases themselves: counted and logged, but the owner of a download cannot fix them.
DUPLICATE_ROW, KNOWN_MISSING = "duplicate_row", "known_missing"
TOLERATED = (DUPLICATE_ROW, KNOWN_MISSING)
_SHOWN = 8  # names shown in an error
_TABLE_DEPTH = 2  # levels of folders below the root that are searched for tables


@dataclass(frozen=True)
class Problem:
    """A problem in a download that the user should look at; the run continues.

    Attributes:
        kind: row_without_volume, volume_without_row, broken_row, duplicate_id, not_unzipped, missing_list,
            unreadable_volume, unreadable_reconstruction, record_not_kept, or one of `TOLERATED`.
        where: the file and line, or the scan.
        detail: description of the problem.
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
        report: the source's text, findings and impression joined, cleaned of the source's own formatting.
        official_split: train, validation or test if the source has splits of its own.
        metadata: further columns, by name.
        other_volumes: further volumes of the same scan, used in this order if `volume` cannot be read.
        left_out: (reason, detail) of a scan that its source marks as unusable; its volume is not read.
    """

    source: str
    scan_id: str
    patient_id: str
    volume: str
    report: str
    official_split: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    other_volumes: tuple[str, ...] = ()
    left_out: tuple[str, str] | None = None


@dataclass
class Listing:
    """A source's scans sorted by id, its problems, and the numbers of rows and volumes."""

    scans: list[SourceScan]
    problems: list[Problem]
    counts: dict[str, int]


def find_file(root: Path, *names: str) -> Path:
    """Return the first of some files below a root that exists.

    Raises:
        ValueError: naming the missing file, and the files that are there instead.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    folder = (root / names[0]).parent
    while not folder.is_dir() and folder != root:
        folder = folder.parent
    raise ValueError(f"{root / names[0]}: no such file; {_holding(folder)}; see that the download is complete")


def find_tables(root: Path, *patterns: str) -> list[Path]:
    """Return the tables in a root or up to two folders below whose names match a pattern, ignoring case.

    They are sorted by pattern, then nearest to the root first, then latest name first, which is the latest release.
    """
    files = list(_files_in(root, _TABLE_DEPTH))
    found = []
    for pattern in patterns:
        matching = [path for path in files if fnmatch(path.name.lower(), pattern.lower())]
        matching.sort(key=lambda path: path.name, reverse=True)
        found += sorted(matching, key=lambda path: len(path.parts))
    return list(dict.fromkeys(found))


def _files_in(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the files, other than volumes, of a folder and of folders up to `depth` below it."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.lower().endswith(VOLUME_SUFFIXES):
                continue
            if entry.is_file():
                yield Path(entry.path)
            elif depth and entry.is_dir():
                yield from _files_in(Path(entry.path), depth - 1)


def missing_table(root: Path, pattern: str) -> ValueError:
    """Return the error for a table that is missing in a download, with the tables that are there instead."""
    return ValueError(f"{root / pattern}: no such file; {_holding(root)}; see that the download is complete")


def _holding(folder: Path) -> str:
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return f"{folder} holds " + (", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "") or "nothing")


def read_rows(
    path: Path, columns: Mapping[str, str], optional: Mapping[str, str], problems: list[Problem]
) -> list[dict]:
    """Read a table into dicts by role.

    Args:
        path: the table, see `table_files`.
        columns: role -> column name; all must exist.
        optional: the same for columns that may be missing.
        problems: rows that cannot be read are added here, and reading continues.

    Returns:
        One dict per row: the roles' values and, under "line", the number of the row's last line in the file.

    Raises:
        ValueError: if the table is empty or lacks a column.
    """
    table = open_table(path, [*columns.values(), *optional.values()])
    places = _places_of(path, table, columns, optional)
    rows = []
    for line, cells in table.records():
        where = f"{path.name}, line {line}"
        if cells is None:
            problems.append(Problem("broken_row", where, "cannot be parsed as a table"))
        elif reason := _fault_of(cells, len(table.header)):
            problems.append(Problem("broken_row", where, reason))
        else:
            rows.append({role: cells[place] for role, place in places.items()} | {"line": line})
    return rows


def _places_of(path: Path, table: Table, columns: Mapping[str, str], optional: Mapping[str, str]) -> dict[str, int]:
    names = [name.casefold() for name in table.header]
    missing = [name for name in columns.values() if name.casefold() not in names]
    if missing:
        found = ", ".join(table.header) or "no columns"
        raise ValueError(f"{path}: no column {missing[0]!r}; it has {found}; name the right one by --columns")
    wanted = dict(columns) | {role: name for role, name in optional.items() if name.casefold() in names}
    return {role: names.index(name.casefold()) for role, name in wanted.items()}


def _fault_of(cells: list[str], width: int) -> str | None:
    # Spreadsheet programs add empty cells to the right.
    if len(cells) < width or any(cell.strip() for cell in cells[width:]):
        return f"{len(cells)} fields where the header has {width}"
    text = "".join(cells)
    if "\0" in text or "\ufffd" in text:
        return "holds bytes that are not text"
    return None


def refuse_zipped(root: Path, patterns: Sequence[str]) -> None:
    """Raise a ValueError if a download still holds archives instead of their content; likeliest pattern first."""
    if found := next(filter(None, (find_tables(root, pattern) for pattern in patterns)), None):
        more = f" ({len(found)} such)" if len(found) > 1 else ""
        raise ValueError(f"{found[0]}: still zipped{more}; unzip first, in the download's folder")


def find_volumes(root: Path, folder: str = ".") -> Iterator[str]:
    """Return the paths of all volumes below a folder, relative to the root and sorted, also through links."""
    start = root / folder
    if start.is_dir():
        yield from (Path(path).relative_to(root).as_posix() for path in _volumes_in(start, (os.path.realpath(start),)))


def _volumes_in(folder: str | Path, above: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                # A link to one of its own parent folders would loop for ever.
                real = os.path.realpath(entry.path)
                if real not in above:
                    yield from _volumes_in(entry.path, (*above, real))
            elif entry.name.lower().endswith(VOLUME_SUFFIXES):
                yield entry.path


def volumes_by_name(root: Path, folders: Sequence[str]) -> dict[str, str]:
    """Return the volumes below some folders by their names without suffix; of equal names the first one."""
    found: dict[str, str] = {}
    for folder in folders:
        for volume in find_volumes(root, folder):
            found.setdefault(stem_of(volume), volume)
    return found


def stem_of(volume: str) -> str:
    """Return a volume's file name without folder and suffix, for paths of any system."""
    name = volume.strip().replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    for suffix in VOLUME_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def drop_duplicate_ids(rows: list[dict], table: str, problems: list[Problem]) -> list[dict]:
    """Keep the first row of each `id`; further equal rows are tolerated, different ones are problems."""
    seen: dict[str, dict] = {}
    kept = []
    for row in rows:
        first = seen.setdefault(row["id"], row)
        if first is row:
            kept.append(row)
            continue
        where = f"{table}, line {row['line']}: {row['id']}"
        if first | {"line": 0} == row | {"line": 0}:
            problems.append(Problem(DUPLICATE_ROW, where, f"the same row as line {first['line']}"))
        else:
            problems.append(Problem("duplicate_id", where, f"the same id as line {first['line']}, which is kept"))
    return kept


def match_volumes(
    rows: list[dict],
    volumes: Mapping[str, str],
    table: str,
    problems: list[Problem],
    known_missing: Collection[str] = (),
) -> list[tuple[dict, str]]:
    """Match rows and volumes by id; those without a partner become problems.

    Args:
        rows: each with an `id`.
        volumes: id -> path of the volume.
        table: the rows' file name.
        problems: new problems are added here.
        known_missing: ids of volumes that the release itself lacks.
    """
    pairs = []
    for row in rows:
        if volume := volumes.get(row["id"]):
            pairs.append((row, volume))
        else:
            where = f"{table}, line {row['line']}: {row['id']}"
            kind = KNOWN_MISSING if row["id"] in known_missing else "row_without_volume"
            problems.append(Problem(kind, where, "no volume of that name is in the download"))
    known = {row["id"] for row in rows}
    for name in sorted(set(volumes) - known):
        problems.append(Problem("volume_without_row", volumes[name], f"no row for it in {table}"))
    return pairs


def listing_of(scans: list[SourceScan], problems: list[Problem], **counts: int) -> Listing:
    """Sort a source's scans and count its problems by kind."""
    kinds = Counter(problem.kind for problem in problems)
    return Listing(sorted(scans, key=lambda scan: scan.scan_id), problems, counts | dict(sorted(kinds.items())))
