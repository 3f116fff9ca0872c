"""Comparison of two systems on the same scans: the difference of each metric, with a paired significance test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from ..metrics.metric import Metric
from ..metrics.nlp_metrics import METRICS
from ..metrics.phantom_truth import resample_findings
from ..metrics.significance import ROUNDS, compare_scores, draw_reports
from .run_list import read_results
from .scoring import compute_scores, signature_of
from .stored_reports import MODEL, StoredReport, read_reports


def compare_runs(first: Path, second: Path, metrics: Mapping[str, Metric] = METRICS) -> dict[str, Any]:
    """Compare two folders that `argus evaluate` wrote, report by report.

    Returns `n_test`, the two models' hashes, and by metric `first`, `second`, `difference` (second minus first) with
    its bootstrap interval `low`, `high`, `p_value` of the paired test, and the signature. Metrics that cannot be
    computed are left out and named in `missing`.

    Raises:
        ValueError: if the two do not hold the same scans with the same references, in the same order.
    """
    runs = [read_reports(first), read_reports(second)]
    _check_same_scans(first, second, *runs)
    rows = {name: [report.reports[MODEL] for report in run] for name, run in zip("ab", runs, strict=True)}
    scored = compute_scores(rows, [report.reference for report in runs[0]], metrics)
    missing = {name: scores for name, scores in scored["a"].items() if isinstance(scores, str)}
    pairs = {name: (scored["a"][name], scored["b"][name]) for name in scored["a"] if name not in missing}
    signatures = {name: signature_of(name, metrics) for name in pairs}
    if runs[0][0].findings is not None:
        truths = [report.findings for report in runs[0]]
        own, other = (resample_findings(rows[name], truths) for name in "ab")
        pairs |= {name: (own[name], other[name]) for name in own if name in other}
    draws = draw_reports(len(runs[0]))
    return {
        "n_test": len(runs[0]),
        "model_hashes": [read_results(folder)["model_hash"] for folder in (first, second)],
        "rounds": ROUNDS,
        "missing": missing,
        "metrics": {
            name: {
                "first": a.value,
                "second": b.value,
                **compare_scores(a, b, draws),
                "signature": signatures.get(name, "argus findings|phantom truth"),
            }
            for name, (a, b) in pairs.items()
        },
    }


def _check_same_scans(first: Path, second: Path, own: list[StoredReport], other: list[StoredReport]) -> None:
    if len(own) != len(other):
        raise ValueError(f"{first} holds {len(own)} scans and {second} {len(other)}; a paired test needs the same ones")
    for mine, theirs in zip(own, other, strict=True):
        if (mine.scan_id, mine.reference) != (theirs.scan_id, theirs.reference):
            raise ValueError(
                f"{first} and {second} differ in their scans or references, first at {mine.scan_id} and "
                f"{theirs.scan_id}; a paired test needs the same ones"
            )


def build_comparison(compared: Mapping[str, Any]) -> Table:
    """Build a rich table from the result of `compare_runs`."""
    first, second = (model_hash[:12] for model_hash in compared["model_hashes"])
    caption = f"{compared['n_test']} reports; p-values are not corrected for the number of metrics"
    table = Table("", first, second, "difference", "95% interval", "p", title="paired test", caption=caption)
    for name, row in compared["metrics"].items():
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        values = [f"{row[key]:.3f}" for key in ("first", "second", "difference")]
        table.add_row(name, *values, interval, f"{row['p_value']:.4f}")
    return table
