"""Check of a stored evaluation: all numbers are computed again from the stored reports, without model or data set."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argus_processing.storage.file_hash import hash_file
from argus_processing.storage.json_lines import read_json_lines

from ..metrics.metric import Metric
from ..metrics.nlp_metrics import METRICS
from .run_list import read_results
from .scoring import score_stored
from .stored_reports import FILE_NAME, MODEL, StoredReport, read_reports

TOLERANCE = 1e-9  # relative; sums may be taken in another order on another machine
# Facts that only the run itself knows; they cannot be computed from the stored reports.
NOT_COMPUTED = {"model_hash", "subset", "split", "reports_sha256", "settings", "seconds", "peak_memory_mb"}
NOT_COMPUTED |= {"unreadable"}


@dataclass(frozen=True)
class Recomputed:
    """The result of `recompute`: the new numbers, their differences from the stored ones, and those not checked."""

    results: dict[str, Any]
    differences: list[str]
    not_checked: list[str]


def recompute(out: Path, metrics: Mapping[str, Metric] = METRICS) -> Recomputed:
    """Compute every number of `results.json` again from `reports.jsonl` and compare.

    Raises:
        FileNotFoundError, ValueError: if either file is not there or damaged.
    """
    stored, reports = read_results(out), read_reports(out)
    now = score_stored(reports, metrics)
    differences = [*_changed_files(Path(out), stored, reports)]
    not_checked: list[str] = []
    kept = {name: value for name, value in stored.items() if name not in NOT_COMPUTED}
    for place, before, after in _unequal(kept, now, ""):
        line = f"{place}: stored {before}, computed {after}"
        (not_checked if _cannot_tell(place, kept, now) else differences).append(line)
    return Recomputed({**stored, **now}, differences, not_checked)


def _changed_files(out: Path, stored: Mapping[str, Any], reports: list[StoredReport]) -> Iterator[str]:
    """Yield a line for each file that has changed since it was scored."""
    if hash_file(out / FILE_NAME) != stored.get("reports_sha256"):
        yield f"{FILE_NAME}: changed since results.json was written (its SHA-256 is another)"
    predictions = out / "predictions.jsonl"
    if predictions.is_file():
        advice = "take the file from its source again"
        written = dict(read_json_lines(predictions, _written_of, fault="is not a prediction", advice=advice))
        for report in reports:
            if written.get(report.scan_id) != (report.reports[MODEL], report.reference):
                yield f"predictions.jsonl: {report.scan_id} is not what {FILE_NAME} holds"


def _written_of(line: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    return line["scan_id"], (line["prediction"], line["reference"])


def _unequal(before: Any, after: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield every place where two nested results differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _unequal(before.get(key), after.get(key), f"{place}/{key}" if place else str(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _unequal(*pair, f"{place}/{index}")
    elif isinstance(before, float | int) and isinstance(after, float | int):
        if not math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield place, before, after
    elif before != after:
        yield place, before, after


def _cannot_tell(place: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether a place belongs to a metric that is missing now or was missing in the stored results."""
    keys = place.split("/")
    if "metrics" not in keys[:-1]:
        return False
    metric = keys[: keys.index("metrics") + 2]
    return any(_value_at(results, metric) is None for results in (before, after))


def _value_at(results: Any, metric: list[str]) -> float | None:
    for key in metric:
        results = results.get(key) or {}
    return results.get("value")
