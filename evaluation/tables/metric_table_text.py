"""Write the table of all metrics as Markdown, LaTeX and JSON; the three hold the same cells and footnotes."""

from dataclasses import asdict
from pathlib import Path

from argus_processing.storage.markdown_table import literal_table, markdown_table
from argus_processing.storage.whole_files import check_can_fill, write_json, write_text

from .metric_table import MetricBlock, MetricTable
from .run_columns import TableNumber
from .table_notes import (
    XRAY_METRICS,
    Footnotes,
    digits,
    floor_remarks,
    latex_text,
    number_text,
    seed_remarks,
    signature_lines,
)

NAME = "metric_table"


def metric_table_markdown(table: MetricTable) -> str:
    """Return one Markdown table per subset, then the missing numbers with reasons, then the metrics' signatures."""
    notes = Footnotes()
    parts = [_markdown_block(table, block, notes) for block in table.blocks]
    signatures = "\n".join(["Signatures:", "", *(f"- {line}" for line in _signatures(table))])
    parts += [notes.markdown(), signatures, *_remarks(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_block(table: MetricTable, block: MetricBlock, notes: Footnotes) -> str:
    heads = ["metric", *(f"{label} {resolution}" for resolution, label in table.columns)]
    rows = (
        [metric, *(_markdown_number(block.cells[column, metric], notes) for column in table.columns)]
        for metric in block.metrics
    )
    shown = markdown_table(literal_table(heads, rows, numbers_from=1))
    head = f"### {block.runs.subset}, {block.runs.split}, {block.runs.n_test} reports"
    return "\n\n".join([head, shown, *_markdown_floors(block, notes)])


def _markdown_floors(block: MetricBlock, notes: Footnotes) -> list[str]:
    """Return the table of a subset's floors, if its runs have any."""
    if not block.floors:
        return []
    heads = ["floors", *block.floors]
    rows = (
        [metric, *(_markdown_number(numbers[metric], notes) for numbers in block.floors.values())]
        for metric in block.metrics
    )
    return [markdown_table(literal_table(heads, rows, numbers_from=1))]


def _markdown_number(number: TableNumber, notes: Footnotes) -> str:
    if number.missing:
        return f"missing [{notes.mark(number.missing)}]"
    if number.low is None or number.high is None:
        return number_text(number)
    return f"{number_text(number)} ({digits(number, number.low)} to {digits(number, number.high)})"


def metric_table_latex(table: MetricTable) -> str:
    r"""Return one `table*` per subset for LaTeX with `booktabs`, with the intervals in small type."""
    notes = Footnotes()
    blocks = [_latex_block(table, block, notes) for block in table.blocks]
    remarks = [latex_text(remark) + r"\\" for remark in _remarks(table)]
    signatures = [f"% {line}" for line in _signatures(table)]
    return "\n".join([*blocks, r"\noindent\small", *notes.latex(), *remarks, *signatures]) + "\n"


def _latex_block(table: MetricTable, block: MetricBlock, notes: Footnotes) -> str:
    counts = {at: sum(1 for resolution, _ in table.columns if resolution == at) for at in table.resolutions}
    groups = [
        rf"\multicolumn{{{counts[at]}}}{{c}}{{{latex_text(name)}}}"
        for at, name in table.resolutions.items()
        if counts[at]
    ]
    heads = " & ".join(latex_text(label) for _, label in table.columns)
    lines = [
        r"\begin{table*}",
        r"\centering\small",
        rf"\caption{{{latex_text(block.runs.subset)}, {block.runs.split}, {block.runs.n_test} reports.}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        rf" & {' & '.join(groups)} \\",
        rf"metric & {heads} \\",
        r"\midrule",
    ]
    for metric in block.metrics:
        cells = [_latex_number(block.cells[column, metric], notes) for column in table.columns]
        lines.append(rf"{latex_text(metric)} & {' & '.join(cells)} \\")
    floors = _latex_floors(block, notes)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *floors, r"\end{table*}"])


def _latex_floors(block: MetricBlock, notes: Footnotes) -> list[str]:
    """Return a second `tabular` with a subset's floors, if its runs have any."""
    if not block.floors:
        return []
    lines = [
        r"\par\medskip",
        rf"\begin{{tabular}}{{l{'r' * len(block.floors)}}}",
        r"\toprule",
        rf"floors & {' & '.join(map(latex_text, block.floors))} \\",
        r"\midrule",
    ]
    for metric in block.metrics:
        cells = [_latex_number(numbers[metric], notes) for numbers in block.floors.values()]
        lines.append(rf"{latex_text(metric)} & {' & '.join(cells)} \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _latex_number(number: TableNumber, notes: Footnotes) -> str:
    if number.missing:
        return rf"--\textsuperscript{{{notes.mark(number.missing)}}}"
    text = latex_text(number_text(number))
    if number.low is None or number.high is None:
        return text
    return rf"{text} {{\scriptsize [{digits(number, number.low)}, {digits(number, number.high)}]}}"


def metric_table_json(table: MetricTable) -> dict[str, object]:
    """Return the table as plain data: every cell with its value, or None and the reason."""
    return {
        "systems": list(dict.fromkeys(label for _, label in table.columns)),
        "resolutions": table.resolutions,
        "subsets": [
            {
                "subset": block.runs.subset,
                "split": block.runs.split,
                "n_test": block.runs.n_test,
                "model_hashes": {
                    f"{label} {at}": block.runs.model_hashes((at, label)) for at, label in block.runs.columns
                },
                "cells": [
                    {"metric": metric, "resolution": resolution, "system": label, **asdict(cell)}
                    for ((resolution, label), metric), cell in block.cells.items()
                ],
                "floors": [
                    {"metric": metric, "floor": floor, **asdict(number)}
                    for floor, numbers in block.floors.items()
                    for metric, number in numbers.items()
                ],
            }
            for block in table.blocks
        ],
    }


def _signatures(table: MetricTable) -> list[str]:
    return signature_lines((metric, cell) for block in table.blocks for (_, metric), cell in block.cells.items())


def _remarks(table: MetricTable) -> list[str]:
    intervals = "Numbers come from this project's result files; in brackets, 95% bootstrap intervals of one model's."
    subsets = [block.runs for block in table.blocks]
    return [intervals, XRAY_METRICS, *seed_remarks(subsets), *floor_remarks(subsets)]


def write_metric_table(table: MetricTable, out: Path) -> None:
    """Write `metric_table.md`, `.tex` and `.json` into the folder `out`."""
    check_can_fill(out)
    write_text(out / f"{NAME}.md", metric_table_markdown(table))
    write_text(out / f"{NAME}.tex", metric_table_latex(table))
    write_json(out / f"{NAME}.json", metric_table_json(table))
