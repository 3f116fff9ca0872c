"""The curated data set on disk: Parquet that plain `load_dataset(FOLDER)` reads, decisions, logs and a manifest."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets

from .curation import CuratedScan, Curation
from .report_text import count_tokens
from .splits import SPLITS

ROWS_PER_FILE = 10_000
ROWS_PER_FILE_WITH_VOLUMES = 16  # about a gigabyte
MANIFEST = "manifest.json"
DATA, DECISIONS, LOGS = "data", "decisions", "logs"

PREPARED_FEATURES = datasets.Features(
    {
        "scan_id": datasets.Value("string"),
        "source": datasets.Value("string"),
        "patient_id": datasets.Value("string"),
        "image": datasets.Nifti(),
        "report": datasets.Value("string"),
        "num_tokens": datasets.Value("int32"),
        "shape": datasets.List(datasets.Value("int32"), length=3),
        "spacing_mm": datasets.List(datasets.Value("float32"), length=3),
    }
)
DECISION_FEATURES = datasets.Features(
    {
        "source": datasets.Value("string"),
        "scan_id": datasets.Value("string"),
        "split": datasets.Value("string"),
        "reason": datasets.Value("string"),
        "num_sentences": datasets.Value("int32"),
        "kept_sentences": datasets.List(datasets.Value("int32")),
    }
)


def row_of(draft: CuratedScan, root: Path, with_volume: bool) -> dict[str, Any]:
    """Return one row; its image is the volume's path, or the file's bytes."""
    path = root / draft.scan.volume
    image = {"path": path.name, "bytes": path.read_bytes()} if with_volume else {"path": str(path), "bytes": None}
    return {
        "scan_id": draft.scan.scan_id,
        "source": draft.scan.source,
        "patient_id": draft.scan.patient_id,
        "image": image,
        "report": draft.report,
        "num_tokens": count_tokens(draft.report),
        "shape": list(draft.record.shape),
        "spacing_mm": list(draft.record.spacing_mm),
    }


def write_rows(folder: Path, scans: Sequence[CuratedScan], roots: dict[str, Path], with_volumes: bool) -> None:
    """Write `data/<source>/<split>-00000-of-00001.parquet`; the same scans give the same bytes.

    Raises:
        OSError: if a volume or the disk fails.
    """
    size = ROWS_PER_FILE_WITH_VOLUMES if with_volumes else ROWS_PER_FILE
    for source in roots:
        for split in SPLITS:
            part = [draft for draft in scans if draft.scan.source == source and draft.split == split]
            shards = [part[start : start + size] for start in range(0, len(part), size)]
            for number, shard in enumerate(shards):
                path = folder / DATA / source / f"{split}-{number:05d}-of-{len(shards):05d}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = [row_of(draft, roots[source], with_volumes) for draft in shard]
                datasets.Dataset.from_list(rows, features=PREPARED_FEATURES).to_parquet(path)


def write_decisions(folder: Path, curation: Curation, sources: Sequence[str]) -> None:
    """Write `decisions/<source>.parquet`: ids, splits and what was decided, without a word of a report."""
    for source in sources:
        rows = [
            {
                "source": source,
                "scan_id": draft.scan.scan_id,
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
                "scan_id": entry.scan_id,
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
    """Write dataclasses as JSON, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines)


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
    """Return size and SHA-256 of every file below a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files
    }


def content_hash(folder: Path) -> str:
    """Name what the files of a folder hold, in 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(checksums_of(folder), sort_keys=True).encode()).hexdigest()[:16]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a prepared folder's manifest.

    Raises:
        ValueError: if the folder was not made by `argus prepare`, or its manifest is damaged.
    """
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: no {MANIFEST}, so this is no prepared data set; run argus prepare") from None
    except ValueError:
        raise ValueError(f"{folder / MANIFEST}: damaged; run argus prepare again") from None


def put_in_place(staged: Path, out: Path) -> None:
    """Move what is in `staged` into `out`, over what an earlier run left there.

    The manifest goes last: as long as it is the old one, the new data are not claimed to be whole.
    """
    names = sorted((path.name for path in staged.iterdir()), key=lambda name: (name == MANIFEST, name))
    for name in names:
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(staged / name, target)
    staged.rmdir()
