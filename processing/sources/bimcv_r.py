"""List the scans of a BIMCV-R download (Chen et al.): zipped parts, tables with machine-translated reports."""

import re
from dataclasses import dataclass
from pathlib import Path

from .bimcv_r_text import clean_text, is_placeholder
from .tables import (
    VOLUME_SUFFIXES,
    Listing,
    Problem,
    SourceScan,
    drop_duplicate_ids,
    find_tables,
    listing_of,
    match_volumes,
    missing_table,
    read_rows,
    refuse_zipped,
    stem_of,
    volumes_by_name,
)

NAME = "bimcv-r"
# The table of all rows, and the curated one, which has fewer columns. If a row is in both, the first table is used.
TABLES = ("BIMCV_meta.csv", "curated_ct_report_path_En.csv")
_PATIENT = re.compile(r"sub-[A-Za-z0-9]+")
_PART = re.compile(r"ct[ _-]?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class BimcvRColumns:
    """Column names of the report tables; `ct_path` names the file, or `path` if there is no `ct_path`."""

    path: str = "path"
    ct_path: str = "ct_path"
    report: str = "Report_en"
    patient: str = "PatientID"


def list_scans(root: Path, columns: BimcvRColumns | None = None) -> Listing:
    """List the scans of `CT*/ct/` that have a report, identified by the volume's name.

    A row whose report is only the mark of a failed translation is left out as `placeholder_report`.

    Raises:
        ValueError: if there is no table, a column is missing, or the volumes are still zipped.
    """
    columns = columns or BimcvRColumns()
    tables = find_tables(root, *TABLES)
    if not tables:
        refuse_zipped(root, ("meta*.zip", "*.zip"))
        raise missing_table(root, TABLES[0])
    parts = sorted(path.name for path in root.iterdir() if path.is_dir() and _PART.fullmatch(path.name))
    problems: list[Problem] = []
    rows: dict[str, dict] = {}
    for path in tables:
        for row in _rows_of(path, columns, problems):
            if row["id"] not in rows or is_placeholder(rows[row["id"]]["report"]):
                rows[row["id"]] = row
    volumes = volumes_by_name(root, parts) or volumes_by_name(root, ["."])
    if not volumes:
        refuse_zipped(root, ("ct*.zip", "*.zip"))
    packed = [path.name for path in find_tables(root, "ct*.zip") if path.stem not in parts]
    problems += [Problem("not_unzipped", name, "unzip it, or its scans stay out") for name in packed]
    names = " or ".join(path.name for path in tables)
    pairs = match_volumes(list(rows.values()), volumes, names, problems)
    return listing_of([_scan_of(row, volume) for row, volume in pairs], problems, rows=len(rows))


def _rows_of(path: Path, columns: BimcvRColumns, problems: list[Problem]) -> list[dict]:
    """Return the rows by the name of their volume, without the table's own duplicates."""
    optional = {"ct_path": columns.ct_path, "path": columns.path, "patient": columns.patient}
    rows = read_rows(path, {"report": columns.report}, optional, problems)
    if rows and not {"ct_path", "path"} & set(rows[0]):
        read_rows(path, {"path": columns.path}, {}, [])  # its error names the missing column
    named = []
    for row in rows:
        if name := _volume_name(row):
            named.append({"id": name, "report": row["report"], "patient": row.get("patient", ""), "line": row["line"]})
        else:
            problems.append(Problem("broken_row", f"{path.name}, line {row['line']}", "names no volume"))
    return drop_duplicate_ids(named, path.name, problems)


def _volume_name(row: dict) -> str:
    """Return the volume that a row names: if there is a `ct_path`, `path` is a folder, unless it ends like a volume."""
    ct_path, path = (row.get(role, "").strip() for role in ("ct_path", "path"))
    if ct_path and ct_path.lower() != "nan":
        return stem_of(ct_path)
    return stem_of(path) if path.lower().endswith(VOLUME_SUFFIXES) or "ct_path" not in row else ""


def _scan_of(row: dict, volume: str) -> SourceScan:
    left_out = None
    if is_placeholder(row["report"]):
        left_out = "placeholder_report", "the source marks its report as wrong"
    elif not row["report"].strip() or row["report"].strip().lower() == "nan":
        left_out = "no_report", "the report is empty"
    patient = row["patient"].strip()
    if patient.lower() in ("", "nan"):
        found = _PATIENT.match(row["id"])
        patient = found[0] if found else row["id"]
    report = "" if left_out else clean_text(row["report"])
    return SourceScan(NAME, row["id"], patient, volume, report, left_out=left_out)
