"""CT-RATE as it is downloaded (Hamamci et al.): volumes by patient, scan and reconstruction, reports in CSV."""

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

NAME = "ct-rate"
# Their folder and report table -> the split they stand for. The published test set is called "valid".
_SPLITS = {"train": ("train", "train_reports.csv"), "valid": ("test", "validation_reports.csv")}
_VOLUME_NAME = re.compile(r"(?P<scan>(?P<patient>(?:train|valid)_\d+)_[a-z]+)_(?P<number>\d+)$")


@dataclass(frozen=True)
class CTRateColumns:
    """Column names of the report tables."""

    volume: str = "VolumeName"
    findings: str = "Findings_EN"
    impression: str = "Impressions_EN"
    clinical: str = "ClinicalInformation_EN"
    technique: str = "Technique_EN"


def list_scans(root: Path, columns: CTRateColumns | None = None) -> Listing:
    """List one reconstruction of every scan with findings and impression joined.

    Of several reconstructions, the one with the lowest number whose volume is there is kept; the others are counted
    as `other_reconstruction`. Version 2's `train_fixed` and `valid_fixed` are taken before `train` and `valid`.

    Raises:
        ValueError: if a table or a column is missing.
    """
    columns = columns or CTRateColumns()
    base = "dataset" if (root / "dataset").is_dir() else "."
    scans: list[SourceScan] = []
    problems: list[Problem] = []
    counts = {"rows": 0, "other_reconstruction": 0}
    for folder, (split, table) in _SPLITS.items():
        if not any((root / base / name).is_dir() for name in (f"{folder}_fixed", folder)):
            continue
        path = find_file(root, f"{base}/radiology_text_reports/{table}", f"radiology_text_reports/{table}", table)
        rows = _rows_of(path, columns, problems)
        counts["rows"] += len(rows)
        fixed = f"{base}/{folder}_fixed"
        volumes = find_volumes(root, fixed if (root / fixed).is_dir() else f"{base}/{folder}")
        pairs = match_volumes(rows, {stem_of(volume): volume for volume in volumes}, path.name, problems)
        kept = _first_reconstructions(pairs)
        counts["other_reconstruction"] += len(pairs) - len(kept)
        scans += [_scan_of(row, volume, split) for row, volume in kept]
    if not counts["rows"]:
        find_file(root, f"{base}/train/", f"{base}/valid/")
    return listing_of(scans, problems, **counts)


def _rows_of(path: Path, columns: CTRateColumns, problems: list[Problem]) -> list[dict]:
    needed = {"id": columns.volume, "findings": columns.findings, "impression": columns.impression}
    optional = {"clinical": columns.clinical, "technique": columns.technique}
    rows = []
    for row in read_rows(path, needed, optional, problems):
        row["id"] = stem_of(row["id"].strip())
        if _VOLUME_NAME.match(row["id"]):
            rows.append(row)
        else:
            detail = f"{row['id']!r} is no volume name such as train_1_a_1.nii.gz"
            problems.append(Problem("broken_row", f"{path.name}, line {row['line']}", detail))
    return drop_duplicate_ids(rows, path.name, problems)


def _first_reconstructions(pairs: list[tuple[dict, str]]) -> list[tuple[dict, str]]:
    ordered = sorted(pairs, key=lambda pair: int(_VOLUME_NAME.match(pair[0]["id"])["number"]))
    first: dict[str, tuple[dict, str]] = {}
    for row, volume in ordered:
        first.setdefault(_VOLUME_NAME.match(row["id"])["scan"], (row, volume))
    return list(first.values())


def _scan_of(row: dict, volume: str, split: str) -> SourceScan:
    name = _VOLUME_NAME.match(row["id"])
    report = "\n".join(part for part in (row["findings"].strip(), row["impression"].strip()) if part)
    metadata = {role: row[role] for role in ("clinical", "technique") if role in row}
    return SourceScan(NAME, name["scan"], name["patient"], volume, report, split, metadata)
