"""INSPECT as it is downloaded (Huang et al.): CT pulmonary angiograms, impressions in one table."""

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

NAME = "inspect"
TABLE = "Final_Impressions.csv"
FOLDER = "CTPA"
# Tables that may tell which patient a scan is of, and the source's own split.
_PATIENT_TABLES = ("study_mapping*.tsv", "study_mapping*.csv")
_SPLIT_TABLE = "splits.csv"
_SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class InspectColumns:
    """Column names of the tables."""

    impression_id: str = "impression_id"
    impression: str = "impressions"
    person: str = "person_id"
    split: str = "split"


def list_scans(root: Path, columns: InspectColumns | None = None) -> Listing:
    """List the scans of `CTPA/` that have an impression.

    A scan whose patient no table names is taken for a patient of its own, and counted as `no_patient_id`.

    Raises:
        ValueError: if the table or a column is missing.
    """
    columns = columns or InspectColumns()
    path = find_file(root, TABLE)
    problems: list[Problem] = []
    needed = {"id": columns.impression_id, "report": columns.impression}
    rows = read_rows(path, needed, {"person": columns.person}, problems)
    for row in rows:
        row["id"] = row["id"].strip()
    rows = drop_duplicate_ids(rows, path.name, problems)
    persons = _persons_of(root, rows, columns, problems)
    splits = _splits_of(root, columns, problems)
    volumes = {stem_of(volume): volume for volume in find_volumes(root, FOLDER)}
    scans = [
        SourceScan(NAME, row["id"], persons.get(row["id"]) or row["id"], volume, row["report"], splits.get(row["id"]))
        for row, volume in match_volumes(rows, volumes, path.name, problems)
    ]
    nameless = sum(not persons.get(scan.scan_id) for scan in scans)
    return listing_of(scans, problems, rows=len(rows), no_patient_id=nameless)


def _persons_of(root: Path, rows: list[dict], columns: InspectColumns, problems: list[Problem]) -> dict[str, str]:
    persons = {row["id"]: row["person"].strip() for row in rows if "person" in row}
    for pattern in _PATIENT_TABLES:
        for table in sorted(root.glob(pattern)):
            needed = {"id": columns.impression_id, "person": columns.person}
            persons |= {row["id"].strip(): row["person"].strip() for row in read_rows(table, needed, {}, problems)}
    return persons


def _splits_of(root: Path, columns: InspectColumns, problems: list[Problem]) -> dict[str, str]:
    table = root / _SPLIT_TABLE
    if not table.is_file():
        return {}
    rows = read_rows(table, {"id": columns.impression_id, "split": columns.split}, {}, problems)
    return {row["id"].strip(): _SPLITS[row["split"].strip()] for row in rows if row["split"].strip() in _SPLITS}
