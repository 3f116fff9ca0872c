"""Apply published curation decisions (ids, splits and kept sentences) to one's own download.

CT-RATE and INSPECT may not be redistributed, so published decisions hold no volume and no text of a report.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from ..report_text import clean_report, split_sentences
from ..sources.tables import SourceScan
from .prepared_folder import DECISION_FEATURES, DECISIONS
from .selection import CuratedScan, Curation, SetAside
from .volume_records import VolumeRecord


def read_decisions(folder: Path, source: str) -> dict[str, dict]:
    """Return a source's decisions by scan id.

    Raises:
        ValueError: if the file does not exist, or lacks a column.
    """
    path = Path(folder) / DECISIONS / f"{source}.parquet"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the folder of the published data set, with its decisions/")
    table = pq.read_table(path)
    missing = sorted(set(DECISION_FEATURES) - set(table.column_names))
    if missing:
        raise ValueError(f"{path}: no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return {row["scan_id"]: row for row in table.to_pylist()}


def curate_by_decisions(
    scans: Sequence[SourceScan],
    records: Sequence[VolumeRecord],
    folder: Path,
    name_of: Callable[[str], str] | None = None,
) -> Curation:
    """Keep the scans and sentences that published decisions keep.

    A scan that has a decision but is not in the download is skipped. A scan without a decision, or with other sentences
    in its report than at the time of the decision, is set aside with the reason.

    Args:
        scans: the scans of all sources.
        records: the records of their volumes, in the same order.
        folder: folder with `decisions/<source>.parquet`.
        name_of: gives the opaque names of scans that decisions may use.

    Raises:
        ValueError: if decisions of a source are missing.
    """
    decisions = {source: read_decisions(folder, source) for source in sorted({scan.source for scan in scans})}
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
