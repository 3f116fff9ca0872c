"""Score the stored reports of an evaluation again, on all of its scans or on a part, with other metrics if wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from argus_processing.storage.claimed_folders import claimed_folder, entries_of
from argus_processing.storage.file_hash import hash_file

from ..metrics.metric import Metric
from .benchmark import save_evaluation
from .evaluation_results import RESULTS_FILE, EvaluationResults, read_results
from .scored_scans import choose_ids, read_test_set
from .scoring import score_stored
from .stored_reports import REPORTS_FILE, StoredReport, read_stored_reports, write_stored_reports


def score_stored_again(
    stored: Path, out: Path, metrics: Mapping[str, Metric], test_set: Path | None = None
) -> EvaluationResults:
    """Write `reports.jsonl`, `test_set.json` and `results.json` into `out` from the reports that `stored` holds.

    Args:
        stored: folder that `argus evaluate` wrote.
        out: folder, made if it is not there.
        metrics: metrics to compute, by name.
        test_set: file with the ids of the scans to take, see `read_test_set`. Default: all.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if `out` holds something else than such results, or a scan of the file has no stored report or
            another reference.
    """
    before, reports = read_results(stored), read_stored_reports(stored)
    if test_set is not None:
        reports = _chosen(reports, test_set)
    if len(reports) < 2:
        raise ValueError(f"{stored}: scores need at least 2 reports, got {len(reports)}")
    if Path(out).resolve() == Path(stored).resolve():
        raise ValueError(f"{out}: holds the reports that are scored again; choose another folder")
    if entries_of(out) and not (Path(out) / RESULTS_FILE).exists():
        raise ValueError(f"{out}: holds something else; choose another folder")
    with claimed_folder(out) as folder:
        write_stored_reports(folder, reports)
        results = replace(
            before,
            **vars(score_stored(reports, metrics)),
            reports_sha256=hash_file(folder / REPORTS_FILE),
            seconds=None,
            peak_memory_mb=None,
        )
        save_evaluation(folder, results)
    return results


def _chosen(reports: Sequence[StoredReport], test_set: Path) -> list[StoredReport]:
    references = {report.scan_id: report.reference for report in reports}
    wanted = choose_ids(references, read_test_set(test_set), test_set)
    return [report for report in reports if report.scan_id in wanted]
