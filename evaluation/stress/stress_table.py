"""Write the results of the stress test as Markdown tables, with which metric misses which error."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.table import Table

from argus_processing.storage.markdown_table import literal_table, markdown_table
from argus_processing.storage.whole_files import write_text

from .changes import ERRORS, HARMLESS
from .ranking import Estimate
from .stress_results import BLIND, BLIND_FROM, MISSED, SEEN, UNKNOWN, ErrorResult, MetricResult, StressResults

TABLE_FILE = "stress.md"
_NONE = "-"


def write_stress_table(folder: Path, results: StressResults) -> None:
    """Write `stress.md` into a folder, whole or not at all."""
    write_text(Path(folder) / TABLE_FILE, f"# Metrics under stress\n\n{stress_markdown(results)}\n")


def stress_markdown(results: StressResults) -> str:
    """Return everything that the results say as Markdown."""
    scored = scored_metrics(results)
    parts = [
        _origin(results),
        markdown_table(_pairs_table(results)),
        "AUC within references: the chance that a broken report scores lower than a harmlessly changed one of the same "
        "reference, the mean over references with its 95% interval (bootstrap over references). A tie counts half: 0.5 "
        f'is chance, 1 is perfect. "{BLIND}": at least {BLIND_FROM:.0%} of the broken reports score as the reference '
        "itself.",
        markdown_table(auc_table(scored, lambda result: result.within)),
        "Which metric misses which error. Missed: the interval is not above 0.5, so that the metric does not rank the "
        "broken reports below the harmless ones.",
        markdown_table(verdict_table(scored)),
        "AUC over all references together.",
        markdown_table(auc_table(scored, lambda result: result.pooled)),
        "AUC within references, the mean over the classes of errors, against each class of harmless changes alone.",
        markdown_table(_against_table(scored)),
        "Mean drop of the score by harmless changes and by errors, in percent of the references' own mean score.",
        markdown_table(drop_table(scored)),
    ]
    parts += [f"{name} is missing: {metric.missing}." for name, metric in results.metrics.items() if metric.missing]
    return "\n\n".join(parts)


def scored_metrics(results: StressResults) -> dict[str, MetricResult]:
    """Return the metrics that are not missing."""
    return {name: metric for name, metric in results.metrics.items() if metric.missing is None}


def _origin(results: StressResults) -> str:
    timed = "" if results.seconds is None else f", {results.seconds:.0f} s in all"
    return (
        f"{results.num_references} references ({results.source}), seed {results.seed}, changes checked by "
        f"{results.label_rules}{timed}."
    )


def _pairs_table(results: StressResults) -> Table:
    rows = ([kind, "error" if kind in ERRORS else "harmless", _count_of(results, kind)] for kind in results.pairs)
    return literal_table(("class", "is", "pairs"), rows, numbers_from=2)


def _count_of(results: StressResults, kind: str) -> str:
    count = results.pairs[kind]
    return str(count) if count == results.wanted else f"{count}: the references hold no more"


def auc_table(scored: Mapping[str, MetricResult], of: Callable[[ErrorResult], Estimate]) -> Table:
    """Make a table of one AUC by metric and class of errors."""
    rows = (
        [name, *(_area(of(metric.errors[kind]), metric.errors[kind]) for kind in ERRORS)]
        for name, metric in scored.items()
    )
    return literal_table(("metric", *ERRORS), rows, numbers_from=1)


def _area(area: Estimate, result: ErrorResult) -> str:
    if area.value is None:
        return _NONE
    blind = f" {BLIND}" if result.verdict == BLIND else ""
    return f"{area.value:.2f} ({area.low:.2f}-{area.high:.2f}){blind}"


def verdict_table(scored: Mapping[str, MetricResult]) -> Table:
    """Make a table of the errors that each metric is blind to, misses and sees."""
    shown = (BLIND, MISSED, SEEN)
    rows = (
        [name, *(", ".join(errors_with(metric, verdict)) or _NONE for verdict in shown)]
        for name, metric in scored.items()
    )
    return literal_table(("metric", "blind to", "missed", "seen"), rows)


def errors_with(metric: MetricResult, verdict: str) -> Iterator[str]:
    """Yield the classes of errors on which a metric has this verdict."""
    return (kind for kind, result in metric.errors.items() if result.verdict == verdict)


def _against_table(scored: Mapping[str, MetricResult]) -> Table:
    rows = []
    for name, metric in scored.items():
        cells = []
        for harmless in HARMLESS:
            areas = [result.against[harmless].value for result in metric.errors.values() if result.verdict != UNKNOWN]
            known = [area for area in areas if area is not None]
            cells.append(f"{sum(known) / len(known):.2f}" if known else _NONE)
        rows.append([name, *cells])
    return literal_table(("metric", *(f"against {harmless}" for harmless in HARMLESS)), rows, numbers_from=1)


def drop_table(scored: Mapping[str, MetricResult]) -> Table:
    """Make a table of mean drops: harmless changes with intervals, then errors."""
    rows = []
    for name, metric in scored.items():
        costs = [_percent(metric.harmless[kind].drop, _with_interval) for kind in HARMLESS]
        rows.append([name, *costs, *(_percent(metric.errors[kind].drop, _plain) for kind in ERRORS)])
    return literal_table(("metric", *HARMLESS, *ERRORS), rows, numbers_from=1)


def _percent(drop: Estimate, form: Callable[[Estimate], str]) -> str:
    return _NONE if drop.value is None else form(drop)


def _with_interval(drop: Estimate) -> str:
    return f"{_hundred(drop.value)} ({_hundred(drop.low)}-{_hundred(drop.high)})"


def _plain(drop: Estimate) -> str:
    return _hundred(drop.value)


def _hundred(share: float | None) -> str:
    # The last digits of a sum can make nothing a little less than nothing.
    return f"{100 * (share or 0.0) + 0.0:.1f}".replace("-0.0", "0.0")
