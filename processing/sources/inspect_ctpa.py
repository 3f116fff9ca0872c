"""List the scans of an INSPECT download (Huang et al.): CT pulmonary angiograms, impressions in dated tables."""

from dataclasses import dataclass
from pathlib import Path

from .inspect_ctpa_text import clean_text
from .tables import (
    KNOWN_MISSING,
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

NAME = "inspect"
FOLDER = "CTPA"
# The release of 2025-06 has dates in the names of its tables; "Final_Impressions.csv" is from the older release.
_IMPRESSIONS = ("impressions*.tsv", "impressions*.csv", "final_impressions*.csv", "final_impressions*.tsv")
_MAPPINGS = ("study_mapping*.tsv", "study_mapping*.csv")
_SPLIT_TABLES = ("splits*.tsv", "splits*.csv")
_SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
_NUM_KNOWN_MISSING = 8  # volumes in the release's tables that its archive lacks


@dataclass(frozen=True)
class InspectColumns:
    """Column names of the tables."""

    impression_id: str = "impression_id"
    impression: str = "impressions"
    person: str = "person_id"
    image: str = "image_id"
    split: str = "split"


def list_scans(root: Path, columns: InspectColumns | None = None) -> Listing:
    """List the scans of `CTPA/` that have an impression, identified by the volume's name.

    A volume is named by the mapping's `image_id`, in older copies by `impression_id`. A scan whose patient is in no
    table counts as a patient of its own, and is reported as `no_patient_id`.

    Raises:
        ValueError: if the table or a column is missing.
    """
    columns = columns or InspectColumns()
    tables = find_tables(root, *_IMPRESSIONS)
    if not tables:
        refuse_zipped(root, ("*impressions*.zip", "*.zip"))
        raise missing_table(root, _IMPRESSIONS[0])
    problems: list[Problem] = []
    needed = {"id": columns.impression_id, "report": columns.impression}
    optional = {"person": columns.person, "image": columns.image}
    rows = _unique(tables[0], read_rows(tables[0], needed, optional, problems), problems)
    mapping = _table_of(root, _MAPPINGS, columns, problems)
    splits = _table_of(root, _SPLIT_TABLES, columns, problems)
    folders = [path.relative_to(root).as_posix() for path in (root, tables[0].parent) if (path / FOLDER).is_dir()]
    volumes = volumes_by_name(root, [f"{folder}/{FOLDER}" for folder in folders] or ["."])
    named = drop_duplicate_ids(_with_volumes(rows, mapping, volumes), tables[0].name, problems)
    spare = {name for row in named for name in row["spare"]}
    first = {name: volume for name, volume in volumes.items() if name not in spare}
    scans, nameless = [], 0
    for row, volume in match_volumes(named, first, tables[0].name, problems):
        number = row["impression_id"]
        known = (mapping.get(number, {}), splits.get(number, {}), row)
        patient = next((name for entry in known if (name := _id_of(entry.get("person", ""))) not in ("", "nan")), "")
        nameless += not patient
        split = _SPLITS.get(splits.get(number, {}).get("split", "").strip().lower())
        report = clean_text(row["report"])
        left_out = None if report else ("no_report", "the impression holds no sentence on the scan")
        others = tuple(volumes[name] for name in row["spare"])
        scan = SourceScan(NAME, row["id"], patient or row["id"], volume, report, split, {}, others, left_out)
        scans.append(scan)
    missing = [problem for problem in problems if problem.kind == "row_without_volume"]
    if len(missing) <= _NUM_KNOWN_MISSING:
        problems = [
            Problem(KNOWN_MISSING, problem.where, problem.detail) if problem in missing else problem
            for problem in problems
        ]
    return listing_of(scans, problems, rows=len(rows), no_patient_id=nameless)


def _table_of(
    root: Path, patterns: tuple[str, ...], columns: InspectColumns, problems: list[Problem]
) -> dict[str, dict]:
    """Return the rows of the latest matching table by impression, each with all its `images`; empty without a table."""
    for path in find_tables(root, *patterns)[:1]:
        optional = {"person": columns.person, "image": columns.image, "split": columns.split}
        images: dict[str, list[str]] = {}
        rows = []
        for row in read_rows(path, {"id": columns.impression_id}, optional, problems):
            image = stem_of(row.pop("image", ""))
            known = images.setdefault(_id_of(row["id"]), [])
            # A second image of one impression is a second volume of its scan, not a duplicate row.
            if not known or image in known:
                rows.append(row)
            known += [image] if image not in known else []
        return {row["id"]: row | {"images": images[row["id"]]} for row in _unique(path, rows, problems)}
    return {}


def _unique(path: Path, rows: list[dict], problems: list[Problem]) -> list[dict]:
    for row in rows:
        row["id"] = _id_of(row["id"])
    return drop_duplicate_ids(rows, path.name, problems)


def _id_of(cell: str) -> str:
    """Return an id as text; some programs take ids for numbers and write "123.0"."""
    return stem_of(cell).removesuffix(".0")


def _with_volumes(rows: list[dict], mapping: dict[str, dict], volumes: dict[str, str]) -> list[dict]:
    """Key rows by the name of their volume: the mapping's image, the table's own image, or the impression's id."""
    named = []
    for row in rows:
        number = row["id"]
        images = [*mapping.get(number, {}).get("images", ()), stem_of(row.get("image", "")), number]
        names = [name for name in dict.fromkeys(images) if name and name.lower() != "nan"]
        there = [name for name in names if name in volumes] or names[:1]
        named.append(row | {"id": there[0], "spare": tuple(there[1:]), "impression_id": number})
    return named
