"""Apply published curation decisions (ids, splits and kept sentences) to one's own download.

CT-RATE and INSPECT may not be redistributed, so published decisions hold no volume and no text of a report.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import datasets
import pyarrow.parquet as pq

from ..report_text import clean_report, split_sentences
from ..sources.tables import SourceScan
from .prepared_folder import DECISION_FEATURES, DECISIONS
from .selection import CuratedScan, Curation, SetAside
from .volume_records import VolumeRecord

Decisions: TypeAlias = Path | datasets.Dataset | datasets.DatasetDict
_SAVED = ("dataset_dict.json", "state.json")  # files of `save_to_disk`


def read_decisions(decisions: Decisions, source: str) -> dict[str, dict]:
    """Return a source's decisions by scan id.

    Args:
        decisions: a folder with `decisions/<source>.parquet`, such as a prepared folder or a snapshot of a repository;
            what `load_dataset(REPO)` gives; or a folder in which that was saved by `save_to_disk`.
        source: name of the source.

    Raises:
        ValueError: if there are none of the source, or a column is missing.
    """
    if isinstance(decisions, datasets.Dataset | datasets.DatasetDict):
        return _decisions_in(decisions, source, "the decisions")
    folder = Path(decisions)
    if any((folder / name).is_file() for name in _SAVED):
        return _decisions_in(datasets.load_from_disk(str(folder)), source, str(folder))
    path = folder / DECISIONS / f"{source}.parquet"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the folder of the published data set, with its decisions/")
    table = pq.read_table(path)
    _check_columns(table.column_names, str(path))
    return {row["scan_id"]: row for row in table.to_pylist()}


def _decisions_in(loaded: datasets.Dataset | datasets.DatasetDict, source: str, place: str) -> dict[str, dict]:
    splits = loaded.values() if isinstance(loaded, datasets.DatasetDict) else [loaded]
    found: dict[str, dict] = {}
    for split in splits:
        _check_columns(split.column_names, place)
        found |= {row["scan_id"]: row for row in split.to_list() if row["source"] == source}
    if not found:
        raise ValueError(f"{place}: no decisions on {source}; load the published data set without naming a subset")
    return found


def _check_columns(names: Sequence[str], place: str) -> None:
    missing = sorted(set(DECISION_FEATURES) - set(names))
    if missing:
        raise ValueError(f"{place}: no column {missing[0]!r}; it has {', '.join(names)}")


def curate_by_decisions(
    scans: Sequence[SourceScan],
    records: Sequence[VolumeRecord],
    published: Decisions,
    name_of: Callable[[str], str] | None = None,
) -> Curation:
    """Keep the scans and sentences that published decisions keep.

    A scan that has a decision but is not in the download is skipped. A scan without a decision, or with other sentences
    in its report than at the time of the decision, is set aside with the reason.

    Args:
        scans: the scans of all sources.
        records: the records of their volumes, in the same order.
        published: as `read_decisions` takes them.
        name_of: gives the opaque names of scans that decisions may use.

    Raises:
        ValueError: if decisions of a source are missing.
    """
    decisions = {source: read_decisions(published, source) for source in sorted({scan.source for scan in scans})}
    curation = Curation([])
    pairs = sorted(zip(scans, records, strict=True), key=lambda pair: (pair[0].source, pair[0].scan_id))
    for scan, record in pairs:
        decided = decisions[scan.source]
        decision = decided.get(scan.scan_id)
        if decision is None and name_of is not None:
            decision = decided.get(name_of(scan.scan_id))
        outcome = _apply(scan, record, decision)
        if isinstance(outcome, CuratedScan):
            curation.scans.append(outcome)
        else:
            curation.set_aside.append(SetAside(scan.source, scan.scan_id, *outcome))
    return curation


def _apply(scan: SourceScan, record: VolumeRecord, decision: dict | None) -> CuratedScan | tuple[str, str]:
    """Return the scan as decided, or (reason, detail) if it must be set aside."""
    if scan.left_out:
        return scan.left_out
    if decision is None:
        return "not_decided", "the published decisions do not name it"
    if record.error:
        return "unreadable_volume", record.error
    if decision["reason"]:
        return decision["reason"], "as published"
    sentences = tuple(split_sentences(clean_report(scan.report)))
    if len(sentences) != decision["num_sentences"]:
        return "report_changed", f"{len(sentences)} sentences, {decision['num_sentences']} when it was decided on"
    return CuratedScan(scan, record, decision["split"], sentences, tuple(decision["kept_sentences"]))
