"""The table that ends an evaluation: the model's row, and its controls' rows under it."""

from typing import Any

from rich.table import Table

COLUMNS = {
    "finding F1": "finding_f1",
    "macro F1": "macro_f1",
    "laterality": "laterality_accuracy",
    "BLEU-1": "BLEU-1",
    "BLEU-4": "BLEU-4",
    "ROUGE-L": "ROUGE-L",
}
ROWS = {"blank": "blank image", "shuffled": "shuffled images", "most_frequent": "most frequent report"}


def build_table(results: dict[str, Any]) -> Table:
    """Build the rich table of what `evaluate_model` returned.

    Finding scores are on 0 to 1, BLEU and ROUGE on 0 to 100; a dash is a score that is not defined for the row.
    """
    counts = results["counts"]
    caption = (
        f"{results['n_test']} reports, {results.get('n_sided', 0)} sided findings; "
        f"{counts['empty']} empty, {counts['duplicate']} duplicate, {counts['truncated']} truncated"
    )
    title = f"{results['subset']} {results['split']}, model {results['model_hash'][:12]}"
    table = Table(title=title, caption=caption)
    table.add_column("")
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    table.add_row("model", *_cells(results), style="bold")
    for name, label in ROWS.items():
        table.add_row(label, *_cells(results["controls"][name]))
    return table


def _cells(scores: dict[str, Any]) -> list[str]:
    """Format one row's scores in the order of `COLUMNS`."""
    overlap = {name: metric["value"] for name, metric in scores["metrics"].items()}
    values = [scores.get(key, overlap.get(key)) for key in COLUMNS.values()]
    return [_cell(heading, value) for heading, value in zip(COLUMNS, values, strict=True)]


def _cell(heading: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if heading.startswith(("BLEU", "ROUGE")) else f"{value:.3f}"
