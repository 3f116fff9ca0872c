"""BIMCV-R as it is downloaded (Chen et al.): volumes in parts, one table with translated reports."""

import re
from dataclasses import dataclass
from pathlib import Path

from .source_tables import (
    Listing,
    Problem,
    SourceScan,
    drop_duplicate_ids,
    find_file,
    find_volumes,
    listing_of,
    match_volumes,
    read_rows,
    stem_of,
)

NAME = "bimcv-r"
TABLE = "meta/curated_ct_report_path_En.csv"
_PATIENT = re.compile(r"sub-[A-Za-z0-9]+")


@dataclass(frozen=True)
class BimcvRColumns:
    """Column names of the report table."""

    path: str = "path"
    report: str = "Report_en"


def list_scans(root: Path, columns: BimcvRColumns | None = None) -> Listing:
    """List the scans of `CT*/ct/` that have a report; a patient is the `sub-` part of a file's name.

    Raises:
        ValueError: if the table or a column is missing.
    """
    columns = columns or BimcvRColumns()
    path = find_file(root, TABLE, Path(TABLE).name)
    problems: list[Problem] = []
    rows = read_rows(path, {"id": columns.path, "report": columns.report}, {}, problems)
    for row in rows:
        row["id"] = stem_of(row["id"].strip().replace("\\", "/"))
    rows = drop_duplicate_ids(rows, path.name, problems)
    parts = sorted(part.name for part in root.glob("CT*") if part.is_dir())
    volumes = {stem_of(volume): volume for part in parts for volume in find_volumes(root, part)}
    scans = [
        SourceScan(NAME, row["id"], _patient_of(row["id"]), volume, row["report"])
        for row, volume in match_volumes(rows, volumes, path.name, problems)
    ]
    return listing_of(scans, problems, rows=len(rows))


def _patient_of(name: str) -> str:
    found = _PATIENT.match(name)
    return found[0] if found else name
