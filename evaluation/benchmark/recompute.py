"""Check a stored evaluation: compute all numbers again from the stored reports, without model or data set."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from argus_processing.storage.file_hash import hash_file
from argus_processing.storage.json_lines import read_json_lines
from argus_processing.storage.typed_json import to_json

from ..metrics.metric import Metric
from ..metrics.nlp_metrics import METRICS
from .evaluation_results import EvaluationResults, ScoredReports, read_results
from .scoring import score_stored
from .stored_reports import MODEL, REPORTS_FILE, StoredReport, read_stored_reports

TOLERANCE = 1e-9  # relative; sums may be taken in another order on another machine


@dataclass(frozen=True)
class Recomputed:
    """The result of `recompute`: the new numbers, their differences from the stored ones, and those not checked."""

    results: EvaluationResults
    differences: list[str]
    not_checked: list[str]


def recompute(out: Path, metrics: Mapping[str, Metric] = METRICS) -> Recomputed:
    """Compute every number of `results.json` again from `reports.jsonl` and compare.

    Raises:
        FileNotFoundError, ValueError: if either file is not there or damaged.
    """
    stored, reports = read_results(out), read_stored_reports(out)
    now = score_stored(reports, metrics)
    before = _scores_of(stored)
    after, lacking = _without_later_parts(before, to_json(now))
    differences = [*_changed_files(Path(out), stored, reports)]
    not_checked = [f"results.json does not tell {', '.join(lacking)}; it is of an earlier version"] if lacking else []
    no_interval: list[str] = []
    one_sided: dict[str, dict[str, None]] = {"results.json does not hold": {}, "not computed now:": {}}
    for place, was, found in _unequal(before, after, ""):
        if was is None and _is_empty_part(place, found):
            continue
        metric = _metric_of(place)
        if _lacks_interval(place, before):
            no_interval.append(place)
        elif metric and _is_missing(before, metric):
            one_sided["results.json does not hold"][metric[-1]] = None
        elif metric and _is_missing(after, metric):
            one_sided["not computed now:"][metric[-1]] = None
        else:
            differences.append(f"{place}: stored {was}, computed {found}")
    not_checked += (f"{why} {', '.join(names)}" for why, names in one_sided.items() if names)
    if no_interval:
        not_checked.append(f"results.json does not tell {len(no_interval)} ends of intervals, first {no_interval[0]}")
    return Recomputed(replace(stored, **vars(now)), differences, not_checked)


def _scores_of(results: EvaluationResults) -> dict[str, Any]:
    """Return as JSON what can be computed from the stored reports."""
    names = {each.name for each in fields(ScoredReports)}
    return {name: value for name, value in to_json(results).items() if name in names}


def _without_later_parts(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the new numbers without the parts that results of earlier versions lack, and the names of these parts."""
    lacking: list[str] = [part for part in ("scans", "sections") if part in after and part not in before]
    kept = {name: value for name, value in after.items() if name not in lacking}
    controls, known = dict(kept.get("controls", {})), before.get("controls", {})
    for name, control in controls.items():
        if "tests" in control and name in known and "tests" not in known[name]:
            controls[name] = {key: value for key, value in control.items() if key != "tests"}
            lacking.append(f"tests against {name}")
    return kept | ({"controls": controls} if controls else {}), lacking


def _changed_files(out: Path, stored: EvaluationResults, reports: list[StoredReport]) -> Iterator[str]:
    """Yield a line for each file that has changed since it was scored."""
    if hash_file(out / REPORTS_FILE) != stored.reports_sha256:
        yield f"{REPORTS_FILE}: changed since results.json was written (its SHA-256 is another)"
    predictions = out / "predictions.jsonl"
    if predictions.is_file():
        advice = "take the file from its source again"
        written = dict(read_json_lines(predictions, _written_of, fault="is not a prediction", advice=advice))
        for report in reports:
            if written.get(report.scan_id) != (report.reports[MODEL], report.reference):
                yield f"predictions.jsonl: {report.scan_id} is not what {REPORTS_FILE} holds"


def _written_of(line: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    return str(line["scan_id"]), (line["prediction"], line["reference"])


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


def _metric_of(place: str) -> list[str]:
    """Return the keys down to the metric that a place belongs to, the last of which is its name, or nothing."""
    keys = ["metrics" if key == "tests" else key for key in place.split("/")]  # a test is that of a metric
    return keys[: keys.index("metrics") + 2] if "metrics" in keys[:-1] else []


def _is_missing(results: Mapping[str, Any], metric: list[str]) -> bool:
    found = _at(results, metric)
    return not found or "missing" in found


def _is_empty_part(place: str, found: Any) -> bool:
    """Return whether a place is a label that no scan has: earlier versions knew fewer labels."""
    *_, kind, _ = ["", *place.split("/")]
    return kind == "parts" and not found["value"] and found.get("counts") == {"present": 0}


def _lacks_interval(place: str, before: Mapping[str, Any]) -> bool:
    """Return whether a place is an interval that the stored results do not tell, beside a value that they do."""
    *metric, name = place.split("/")
    entry = _at(before, metric) if name in ("low", "high") else {}
    return entry.get("value") is not None and "low" not in entry


def _at(results: Mapping[str, Any], keys: list[str]) -> Mapping[str, Any]:
    for key in keys:
        results = results.get(key) or {}
    return results
