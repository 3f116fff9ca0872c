"""Write the curated data set: Parquet that plain `load_dataset(FOLDER)` reads, decisions, logs and a manifest."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from ..report_text import count_tokens
from ..storage.file_hash import hash_file
from ..storage.json_lines import json_line
from .prepared_folder import DATA, DECISION_FEATURES, DECISIONS, MANIFEST, PREPARED_FEATURES, SPLITS
from .selection import CuratedScan, Curation

ROWS_PER_FILE = 10_000
MAX_SHARD_BYTES = 1 << 29  # of volumes in one file: Arrow counts a column's bytes in 31 bits
MAX_EMBEDDED_BYTES = (1 << 31) - (1 << 20)  # of one volume, for the same reason


def row_of(draft: CuratedScan, root: Path) -> dict[str, Any]:
    """Return one row; its image is the volume's path."""
    return _row(draft, {"path": str(root / draft.scan.volume), "bytes": None})


def row_with_volume(draft: CuratedScan, root: Path, name_of: Callable[[str], str] | None = None) -> dict[str, Any]:
    """Return one row; its image is the volume's bytes under its name.

    `name_of` gives opaque names that replace those of volume, scan and patient.
    """
    path = root / draft.scan.volume
    row = _row(draft, {"path": path.name, "bytes": path.read_bytes()})
    if name_of is None:
        return row
    ending = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
    scan, patient = name_of(draft.scan.scan_id), name_of(f"patient {draft.scan.patient_id}")
    return row | {"scan_id": scan, "patient_id": patient, "image": row["image"] | {"path": f"{scan}{ending}"}}


def _row(draft: CuratedScan, image: dict[str, Any]) -> dict[str, Any]:
    shape, spacing_mm = draft.record.shape, draft.record.spacing_mm
    if shape is None or spacing_mm is None:
        raise ValueError(f"{draft.scan.source} {draft.scan.scan_id}: its volume was not read, so it has no row")
    return {
        "scan_id": draft.scan.scan_id,
        "source": draft.scan.source,
        "patient_id": draft.scan.patient_id,
        "image": image,
        "report": draft.report,
        "num_tokens": count_tokens(draft.report),
        "shape": list(shape),
        "spacing_mm": list(spacing_mm),
    }


def write_rows(folder: Path, scans: Sequence[CuratedScan], roots: Mapping[str, Path]) -> None:
    """Write `data/<source>/<split>-00000-of-00001.parquet` with the volumes' paths; the same scans give the same bytes.

    Raises:
        OSError: if the disk fails.
    """
    for source, split, part in _parts(scans, roots):
        shards = [part[start : start + ROWS_PER_FILE] for start in range(0, len(part), ROWS_PER_FILE)]
        for path, shard in _named(folder, source, split, shards):
            _write_shard(path, [row_of(draft, roots[source]) for draft in shard])


def write_rows_with_volumes(
    folder: Path,
    scans: Sequence[CuratedScan],
    roots: Mapping[str, Path],
    max_bytes: int = MAX_SHARD_BYTES,
    name_of: Callable[[str], str] | None = None,
) -> None:
    """Write the same rows with the volumes' bytes; each file holds at most `max_bytes` of volumes, or one volume.

    Raises:
        OSError: if a volume or the disk fails.
    """
    for source, split, part in _parts(scans, roots):
        for path, shard in _named(folder, source, split, _shards_by_bytes(part, max_bytes)):
            _write_shard(path, [row_with_volume(draft, roots[source], name_of) for draft in shard])


def _parts(scans: Sequence[CuratedScan], roots: Mapping[str, Path]) -> Iterator[tuple[str, str, list[CuratedScan]]]:
    for source in roots:
        for split in SPLITS:
            yield source, split, [draft for draft in scans if draft.scan.source == source and draft.split == split]


def _shards_by_bytes(scans: Sequence[CuratedScan], max_bytes: int) -> list[list[CuratedScan]]:
    shards: list[list[CuratedScan]] = []
    total = 0
    for draft in scans:
        total += draft.record.size
        if not shards or total > max_bytes:
            shards.append([])
            total = draft.record.size
        shards[-1].append(draft)
    return shards


def _named(
    folder: Path, source: str, split: str, shards: list[list[CuratedScan]]
) -> Iterator[tuple[Path, list[CuratedScan]]]:
    for number, shard in enumerate(shards):
        yield folder / DATA / source / f"{split}-{number:05d}-of-{len(shards):05d}.parquet", shard


def _write_shard(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `from_list`: it drops a volume's bytes if the working directory holds a file of the same name.
    table = pa.Table.from_pylist(rows, schema=PREPARED_FEATURES.arrow_schema)
    datasets.Dataset(table).to_parquet(path)


def write_decisions(
    folder: Path, curation: Curation, sources: Sequence[str], name_of: Callable[[str], str] | None = None
) -> None:
    """Write `decisions/<source>.parquet`: ids, splits and decisions, without any text of a report.

    `name_of` gives opaque names that replace the scans' ids.
    """
    name_of = name_of or str
    for source in sources:
        rows: list[dict[str, Any]] = [
            {
                "source": source,
                "scan_id": name_of(draft.scan.scan_id),
                "split": draft.split,
                "reason": "",
                "num_sentences": len(draft.sentences),
                "kept_sentences": list(draft.kept),
            }
            for draft in curation.scans
            if draft.scan.source == source
        ]
        rows += [
            {
                "source": source,
                "scan_id": name_of(entry.scan_id),
                "split": "",
                "reason": entry.reason,
                "num_sentences": 0,
                "kept_sentences": [],
            }
            for entry in curation.set_aside
            if entry.source == source
        ]
        rows.sort(key=lambda row: row["scan_id"])
        path = folder / DECISIONS / f"{source}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(rows, features=DECISION_FEATURES).to_parquet(path)


def write_log(path: Path, entries: Sequence[Any]) -> None:
    """Write dataclasses as JSON, one per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_line(asdict(entry)) for entry in entries)


def statistics_of(scans: Sequence[CuratedScan], sources: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the paper's Table 1 for each source and for all: scans by split, tokens of a report."""
    parts = {source: [draft for draft in scans if draft.scan.source == source] for source in sources}
    return {name: _numbers_of(part) for name, part in (parts | {"all": list(scans)}).items()}


def _numbers_of(scans: Sequence[CuratedScan]) -> dict[str, Any]:
    tokens = [count_tokens(draft.report) for draft in scans]
    by_split = Counter(draft.split for draft in scans)
    return {
        "scans": len(scans),
        "patients": len({(draft.scan.source, draft.scan.patient_id) for draft in scans}),
        **{split: by_split[split] for split in SPLITS},
        "average_tokens": round(sum(tokens) / len(tokens), 1) if tokens else 0.0,
        "maximum_tokens": max(tokens, default=0),
    }


def checksums_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below a folder, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_file(path)} for path in files
    }


def content_hash(folder: Path) -> str:
    """Return a hash of the content of a folder's files, in 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(checksums_of(folder), sort_keys=True).encode()).hexdigest()[:16]


def put_in_place(staged: Path, out: Path) -> None:
    """Move the content of `staged` into `out`, and replace results of an earlier run.

    The manifest is moved last: until then, nothing claims that the new data are complete.
    """
    names = sorted((path.name for path in staged.iterdir()), key=lambda name: (name == MANIFEST, name))
    for name in names:
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(staged / name, target)
    staged.rmdir()
