"""The table at the end of an evaluation: one row per metric, the model beside its controls, and all signatures."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from argus_inference.console.terminal import escape_name

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
}
CONTROLS = {"blank": "blank image", "shuffled": "shuffled images", "most_frequent": "most frequent report"}
MISSING = "missing"


def build_table(results: dict[str, Any]) -> Table:
    """Build a rich table from the result of `evaluate_model`.

    Finding scores are from 0 to 1, and left out if the true findings are not known; the other scores are as in
    `METRICS`. A dash is a score that is not defined; "missing" is a metric that could not be computed on this machine.
    """
    counts = results["counts"]
    sided = f", {results['n_sided']} sided findings" if "n_sided" in results else ""
    caption = f"{results['n_test']} reports{sided}; " + ", ".join(f"{count} {name}" for name, count in counts.items())
    if "unreadable" in results:
        caption += f"; {len(results['unreadable'])} scans could not be read and are not in the scores"
    title = escape_name(f"{results['subset']} {results['split']}, model {results['model_hash'][:12]}")
    table = Table(title=title, caption=caption)
    for heading in ("", "model", "95% interval", *CONTROLS.values()):
        table.add_column(heading, justify="right" if heading else "left")
    for label, key in METRIC_ROWS.items():
        if key in results or key in results["metrics"]:
            controls = (_cell(results["controls"][name], key) for name in CONTROLS)
            table.add_row(label, f"[bold]{_cell(results, key)}", _interval(results, key), *controls)
    return table


def signature_lines(results: dict[str, Any]) -> Iterator[str]:
    """Yield one line for each metric: its name, value with interval, and signature; or the reason why it is missing."""
    for name, metric in results["metrics"].items():
        if metric["value"] is None:
            yield f"{name}: {MISSING}: {metric['missing']}"
        else:
            counts = "".join(f", {count} {flag}" for flag, count in metric.get("counts", {}).items() if count)
            value = f"{metric['value']:.2f} ({metric['low']:.2f} to {metric['high']:.2f}){counts}"
            yield f"{name}: {value}  {metric['signature']}"


def _cell(scores: dict[str, Any], key: str) -> str:
    """Format one score."""
    if key in scores["metrics"]:
        value = scores["metrics"][key]["value"]
        return MISSING if value is None else f"{value:.1f}"
    value = scores.get(key)
    return "-" if value is None else f"{value:.3f}"


def _interval(results: dict[str, Any], key: str) -> str:
    """Format one score's confidence interval; the text is empty if there is none."""
    metric = results["metrics"].get(key)
    if metric:
        return "" if metric["value"] is None else f"{metric['low']:.1f}-{metric['high']:.1f}"
    low_high = results.get("intervals", {}).get(key)
    return "" if low_high is None else f"{low_high[0]:.3f}-{low_high[1]:.3f}"
