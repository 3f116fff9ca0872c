"""Compare two systems on the same scans: the difference of each metric, with a paired significance test."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from ..metrics.metric import Metric
from ..metrics.nlp_metrics import METRICS
from ..metrics.significance import ROUNDS, PairedTest, compare_scores, draw_reports
from .evaluation_results import read_results
from .scored_scans import difference, scored_scans
from .scoring import compute_scores, metrics_for
from .stored_reports import MODEL, StoredReport, read_stored_reports


@dataclass(frozen=True, kw_only=True)
class ComparedMetric(PairedTest):
    """One metric's values of both systems, and the test of their difference."""

    first: float
    second: float
    signature: str


@dataclass(frozen=True)
class ComparedRuns:
    """The comparison of two evaluations.

    Attributes:
        n_test: number of reports.
        model_hashes: of the first and the second model.
        rounds: of the paired tests.
        missing: the reason for each metric that could not be computed.
        metrics: all others, without those that are not defined for one of the two.
    """

    n_test: int
    model_hashes: tuple[str, str]
    rounds: int
    missing: dict[str, str]
    metrics: dict[str, ComparedMetric]


def compare_runs(first: Path, second: Path, metrics: Mapping[str, Metric] = METRICS) -> ComparedRuns:
    """Compare two folders that `argus evaluate` wrote, report by report.

    Raises:
        ValueError: if the two do not hold the same scans with the same references.
    """
    runs = [read_stored_reports(first), read_stored_reports(second)]
    _check_same_scans(first, second, *runs)
    by_id = {report.scan_id: report for report in runs[1]}
    runs[1] = [by_id[report.scan_id] for report in runs[0]]
    rows = {name: [report.reports[MODEL] for report in run] for name, run in zip("ab", runs, strict=True)}
    scored = compute_scores(rows, [report.reference for report in runs[0]], metrics_for(runs[0], metrics))
    draws = draw_reports(len(runs[0]))
    compared = {}
    for name, metric in scored["a"].items():
        a, b = metric.scores, scored["b"][name].scores
        if a and b and a.is_defined and b.is_defined:
            test = compare_scores(a, b, draws)
            compared[name] = ComparedMetric(**vars(test), first=a.value, second=b.value, signature=metric.signature)
    return ComparedRuns(
        n_test=len(runs[0]),
        model_hashes=(read_results(first).model_hash, read_results(second).model_hash),
        rounds=ROUNDS,
        missing={name: metric.missing for name, metric in scored["a"].items() if metric.missing},
        metrics=compared,
    )


def _check_same_scans(first: Path, second: Path, own: list[StoredReport], other: list[StoredReport]) -> None:
    sets = (scored_scans({report.scan_id: report.reference for report in run}) for run in (own, other))
    if told := difference(*sets):
        raise ValueError(
            f"{first} and {second} are of different test sets: {told}; a paired test needs the same one: "
            "argus evaluate NEW --stored OUT --test-set FILE scores the same part of both"
        )


def build_comparison(compared: ComparedRuns) -> Table:
    """Build a rich table from the result of `compare_runs`."""
    first, second = (model_hash[:12] for model_hash in compared.model_hashes)
    caption = f"first: model {first}, second: model {second}; {compared.n_test} reports; "
    caption += "p-values are not corrected for the number of metrics"
    headings = ("", "first", "second", "difference", "95% interval", "p")
    table = Table(*headings, title="paired test", caption=caption, box=SIMPLE)
    for name, row in compared.metrics.items():
        interval = f"{row.low:.3f} to {row.high:.3f}"
        values = [f"{value:.3f}" for value in (row.first, row.second, row.difference)]
        table.add_row(name.replace("_", " "), *values, interval, f"{row.p_value:.4f}")
    return table
