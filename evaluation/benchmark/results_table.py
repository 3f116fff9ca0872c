"""Make the table at the end of an evaluation: one row per metric, the model beside its controls, all signatures."""

from collections.abc import Iterator

from rich.table import Table

from argus_inference.console.terminal import escape_name

from .evaluation_results import EvaluationResults, MetricValue

METRIC_ROWS = {
    "finding F1": "finding_f1",
    "macro F1": "macro_f1",
    "laterality": "laterality_accuracy",
    "BLEU-1": "BLEU-1",
    "BLEU-4": "BLEU-4",
    "ROUGE-L": "ROUGE-L",
    "METEOR": "METEOR",
    "CIDEr": "CIDEr",
    "Avg. NLP": "Avg. NLP",
    "RadGraph": "RadGraph-XL partial",
    "GREEN": "GREEN",
    "RaTEScore": "RaTEScore",
    "label F1 (macro)": "label F1 (macro)",
    "CRG": "CRG",
}
CONTROLS = {"blank": "blank image", "shuffled": "shuffled images", "most_frequent": "most frequent report"}
MISSING = "missing"


def build_table(results: EvaluationResults) -> Table:
    """Build a rich table from the result of `evaluate_model`.

    Shares are from 0 to 1; the other scores are as in `METRICS`. A dash is a score that is not defined; "missing" is a
    metric that could not be computed on this machine. A metric that was not asked for has no row.
    """
    caption = ", ".join(f"{count} {name}" for name, count in results.counts.items())
    caption = f"{results.n_test} reports; {caption}"
    if results.unreadable:
        caption += f"; {len(results.unreadable)} scans could not be read and are not in the scores"
    title = escape_name(f"{results.subset} {results.split}, model {results.model_hash[:12]}")
    if results.provenance is not None and results.provenance.knows_only_phantoms:
        caption += "; the model knows phantoms only"
    table = Table(title=title, caption=caption)
    for heading in ("", "model", "95% interval", *CONTROLS.values()):
        table.add_column(heading, justify="right" if heading else "left")
    for label, name in METRIC_ROWS.items():
        if own := results.metrics.get(name):
            controls = (_cell(_of_control(results, control, name)) for control in CONTROLS)
            table.add_row(label, f"[bold]{_cell(own)}", _interval(own), *controls)
    return table


def signature_lines(results: EvaluationResults) -> Iterator[str]:
    """Yield one line for each metric: its name, value with interval, and signature; or the reason why it is missing."""
    for name, metric in results.metrics.items():
        if metric.missing:
            yield f"{name}: {MISSING}: {metric.missing}"
            continue
        counts = "".join(f", {count} {event}" for event, count in metric.counts.items() if count)
        interval = "" if metric.low is None else f" ({_text(metric, metric.low, 2)} to {_text(metric, metric.high, 2)})"
        yield f"{name}: {_text(metric, metric.value, 2)}{interval}{counts}  {metric.signature}"


def _of_control(results: EvaluationResults, control: str, name: str) -> MetricValue | None:
    found = results.controls.get(control)
    return found.metrics.get(name) if found else None


def _cell(metric: MetricValue | None) -> str:
    """Format one score."""
    if metric is None:
        return ""
    return MISSING if metric.missing else _text(metric, metric.value, 1)


def _interval(metric: MetricValue) -> str:
    """Format one score's confidence interval; the text is empty if there is none."""
    return "" if metric.low is None else f"{_text(metric, metric.low, 1)}-{_text(metric, metric.high, 1)}"


def _text(metric: MetricValue, value: float | None, digits: int) -> str:
    """Format a number of a metric; a share, which is at most 1, has three digits."""
    return "-" if value is None else f"{value:.{3 if metric.scale == 1 else digits}f}"
