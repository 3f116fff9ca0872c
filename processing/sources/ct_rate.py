"""List the scans of a CT-RATE download (Hamamci et al.): volumes by patient, scan, reconstruction; reports in CSV."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from .ct_rate_text import given_text
from .ct_rate_version import Rescale, check_version
from .table_files import decode
from .tables import (
    Listing,
    Problem,
    SourceScan,
    drop_duplicate_ids,
    find_file,
    find_tables,
    listing_of,
    match_volumes,
    read_rows,
    stem_of,
    volumes_by_name,
)

NAME = "ct-rate"
# Folder, report table and metadata table -> their split. The published test set is called "valid".
_SPLITS = {
    "train": ("train", "train_reports.csv", "train_metadata.csv"),
    "valid": ("test", "validation_reports.csv", "validation_metadata.csv"),
}
_VOLUME_NAME = re.compile(r"(?P<scan>(?P<patient>(?:train|valid)_\d+)_[a-z]+)_(?P<number>\d+)$")
_SCAN_NAME = re.compile(r"(?:train|valid)_\d+_[a-z]+(?=_\d+$|$)")
_KNOWN_MISSING = ("train_14384_a_2", "valid_251_a_2")


@dataclass(frozen=True)
class CTRateColumns:
    """Column names of the report and metadata tables."""

    volume: str = "VolumeName"
    findings: str = "Findings_EN"
    impression: str = "Impressions_EN"
    clinical: str = "ClinicalInformation_EN"
    technique: str = "Technique_EN"
    slope: str = "RescaleSlope"
    intercept: str = "RescaleIntercept"


def list_scans(root: Path, columns: CTRateColumns | None = None) -> Listing:
    """List one reconstruction of every scan, with findings and impression joined.

    Of several reconstructions, the one with the lowest number whose volume exists is listed; the others are used if it
    cannot be read, and are counted as `other_reconstruction`. Version 2's `train_fixed` and `valid_fixed` are preferred
    to `train` and `valid`. A scan with any reconstruction in a `no_chest` list is left out as a whole, and so is a scan
    without findings and impression, in the test set too.

    Raises:
        ValueError: if a table or a column is missing, or the volumes are those of version 1.
    """
    columns = columns or CTRateColumns()
    base = "dataset" if (root / "dataset").is_dir() else "."
    scans: list[SourceScan] = []
    problems: list[Problem] = []
    counts = {"rows": 0, "other_reconstruction": 0}
    no_chest = _no_chest_scans(root, problems)
    for folder, (split, table, metadata) in _SPLITS.items():
        part = next((name for name in (f"{folder}_fixed", folder) if (root / base / name).is_dir()), None)
        if part is None:
            continue
        path = find_file(root, f"{base}/radiology_text_reports/{table}", f"radiology_text_reports/{table}", table)
        rows = _rows_of(path, columns, problems)
        counts["rows"] += len(rows)
        volumes = volumes_by_name(root, [f"{base}/{part}"])
        _check_version(root, f"{base}/{part}", metadata, volumes, columns)
        pairs = match_volumes(rows, volumes, path.name, problems, _KNOWN_MISSING)
        by_scan = _reconstructions(pairs)
        counts["other_reconstruction"] += len(pairs) - len(by_scan)
        scans += [_scan_of(found, split, no_chest) for found in by_scan.values()]
    if not counts["rows"]:
        find_file(root, f"{base}/train/", f"{base}/valid/")
    return listing_of(scans, problems, **counts)


def _no_chest_scans(root: Path, problems: list[Problem]) -> set[str]:
    """Return the scans of a head or neck instead of a chest; the lists hold paths of an older layout."""
    lists = find_tables(root, "no_chest_*.txt")
    if not lists:
        detail = "not in the download (dataset/metadata), so that head scans stay paired with chest reports"
        problems.append(Problem("missing_list", "no_chest_train.txt, no_chest_valid.txt", detail))
    lines = [line for path in lists for line in decode(path.read_bytes()).splitlines()]
    names = [_SCAN_NAME.match(stem_of(line.strip().strip("\"',;"))) for line in lines]
    return {name[0] for name in names if name}


def _rows_of(path: Path, columns: CTRateColumns, problems: list[Problem]) -> list[dict]:
    needed = {"id": columns.volume, "findings": columns.findings, "impression": columns.impression}
    optional = {"clinical": columns.clinical, "technique": columns.technique}
    rows = []
    for row in read_rows(path, needed, optional, problems):
        row["id"] = stem_of(row["id"])
        if _VOLUME_NAME.match(row["id"]):
            rows.append(row)
        else:
            detail = f"{row['id']!r} is no volume name such as train_1_a_1.nii.gz"
            problems.append(Problem("broken_row", f"{path.name}, line {row['line']}", detail))
    return drop_duplicate_ids(rows, path.name, problems)


def _check_version(root: Path, part: str, metadata: str, volumes: dict[str, str], columns: CTRateColumns) -> None:
    rescales: dict[str, Rescale] = {}
    optional = {"slope": columns.slope, "intercept": columns.intercept}
    for path in find_tables(root, metadata)[:1]:
        # A table without these columns, or with damaged rows, is not an error: there is only less metadata.
        for row in read_rows(path, {}, {"id": columns.volume} | optional, []):
            volume = volumes.get(stem_of(row.get("id", "")))
            try:
                if volume:
                    rescales[volume] = Rescale(float(row["slope"]), float(row["intercept"]))
            except (KeyError, ValueError):
                continue
    check_version(root, part, list(volumes.values()), rescales)


def _name_of(row: dict) -> re.Match[str]:
    """Return the parts of a row's volume name; rows with other names were left out."""
    name = _VOLUME_NAME.match(row["id"])
    if name is None:
        raise ValueError(f"{row['id']!r} is no volume name such as train_1_a_1.nii.gz")
    return name


def _reconstructions(pairs: list[tuple[dict, str]]) -> dict[str, list[tuple[dict, str]]]:
    """Group rows and volumes by scan, the lowest number of reconstruction first."""
    by_scan: dict[str, list[tuple[dict, str]]] = defaultdict(list)
    for row, volume in sorted(pairs, key=lambda pair: int(_name_of(pair[0])["number"])):
        by_scan[_name_of(row)["scan"]].append((row, volume))
    return by_scan


def _scan_of(found: list[tuple[dict, str]], split: str, no_chest: set[str]) -> SourceScan:
    row, volume = found[0]
    name = _name_of(row)
    report = "\n".join(part for part in (given_text(row["findings"]), given_text(row["impression"])) if part)
    left_out = None
    if name["scan"] in no_chest:
        left_out = "no_chest", "the source lists it as a scan of head or neck"
    elif not report:
        left_out = "no_report", "neither findings nor an impression are given"
    metadata = {role: row[role] for role in ("clinical", "technique") if role in row}
    others = tuple(other for _, other in found[1:])
    return SourceScan(NAME, name["scan"], name["patient"], volume, report, split, metadata, others, left_out)
