"""Write Table 2 in the paper's layout as Markdown, LaTeX and JSON; the three hold the same cells and footnotes."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from argus_processing.storage.markdown_table import literal_table, markdown_table
from argus_processing.storage.whole_files import check_can_fill, write_json, write_text

from .table2 import Table2, Table2Block, Table2Cell, Table2Row, other_test_sets
from .table_notes import XRAY_METRICS, Footnotes, floor_remarks, latex_text, number_text, seed_remarks, signature_lines

NAME = "table2"
FLOOR = "floor"
HEADINGS = {"RadGraphXL": "RadGraph-XL"}  # shown in place of the paper's name of a column
Style = Callable[[str], str]


def table2_markdown(table: Table2) -> str:
    """Return one Markdown table per resolution, then the missing numbers with reasons, the signatures and remarks."""
    notes = Footnotes()
    parts = [_markdown_block(table, block, notes) for block in table.blocks]
    signatures = [f"- {line}" for line in _signatures(table)]
    parts += [notes.markdown(), "\n".join(["Signatures:", "", *signatures]) if signatures else ""]
    parts += [*remarks(table), *_without_run(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_block(table: Table2, block: Table2Block, notes: Footnotes) -> str:
    heads = ["Model", *(f"{table.subsets[subset]} {heading_of(heading)}" for subset, heading in table.places)]
    rows = [line for row in block.rows for line in _markdown_lines(table, row, notes)]
    rows += [[f"*{FLOOR}: {row.label}*", *floor_texts(table, row, notes)] for row in block.floors]
    shown = markdown_table(literal_table(heads, rows, numbers_from=1))
    return f"### {title_of(block)}\n\n{shown}"


def _markdown_lines(table: Table2, row: Table2Row, notes: Footnotes) -> Iterator[list[str]]:
    """Yield our line, the paper's and the difference, each if it has something to show."""
    cells = [row.cells[place] for place in table.places]
    if row.has_run:
        yield [row.label, *(ours_text(cell, notes, bold=lambda text: f"**{text}**") for cell in cells)]
    if any(cell.paper is not None for cell in cells):
        yield [f"*paper: {row.label}*", *(paper_text(cell, lambda text: f"**{text}**") for cell in cells)]
    if any(cell.difference is not None for cell in cells):
        yield ["*difference*", *map(difference_text, cells)]


def heading_of(heading: str) -> str:
    """Return a column's heading as it is shown."""
    return HEADINGS.get(heading, heading)


def title_of(block: Table2Block) -> str:
    """Return a block's title as the paper has it."""
    return f"{block.title.name.capitalize()} ({block.title.grid})"


def ours_text(cell: Table2Cell, notes: Footnotes, bold: Style = str) -> str:
    """Return our number, or that it is missing with the mark of the reason."""
    if cell.ours.missing:
        return f"missing [{notes.mark(cell.ours.missing)}]"
    return bold(number_text(cell.ours)) if cell.best else number_text(cell.ours)


def floor_texts(table: Table2, row: Table2Row, notes: Footnotes) -> list[str]:
    """Return a floor's numbers by place; nothing for a subset without a run."""
    cells = (row.cells.get(place) for place in table.places)
    return ["" if cell is None else ours_text(cell, notes) for cell in cells]


def paper_text(cell: Table2Cell, bold: Style = str) -> str:
    """Return the paper's number; nothing where the paper has none."""
    if cell.paper is None:
        return ""
    return bold(f"{cell.paper:.2f}") if cell.paper_best else f"{cell.paper:.2f}"


def difference_text(cell: Table2Cell) -> str:
    """Return ours minus the paper's with its sign; nothing where one of them is missing."""
    return "" if cell.difference is None else f"{cell.difference:+.2f}"


def table2_latex(table: Table2) -> str:
    r"""Return the table as one `table*` for LaTeX with `booktabs` and `graphicx`."""
    notes = Footnotes()
    lines = [line for block in table.blocks for line in _latex_block(table, block, notes)]
    per_subset = len(table.metrics)
    groups = " & ".join(rf"\multicolumn{{{per_subset}}}{{c}}{{{latex_text(name)}}}" for name in table.subsets.values())
    heads = " & ".join(latex_text(heading_of(heading)) for _, heading in table.places)
    return (
        "\n".join(
            [
                r"\begin{table*}",
                r"\centering",
                r"\caption{Our numbers beside the paper's. Bold: the best of a column in its block, of each apart.}",
                r"\resizebox{\textwidth}{!}{%",
                rf"\begin{{tabular}}{{l{('|' + 'r' * per_subset) * len(table.subsets)}}}",
                r"\toprule",
                rf"Model & {groups} \\",
                rf" & {heads} \\",
                *lines,
                r"\bottomrule",
                r"\end{tabular}}",
                r"\end{table*}",
                r"\noindent\small",
                *notes.latex(),
                *(latex_text(remark) + r"\\" for remark in [*remarks(table), *_without_run(table)]),
                *(f"% {line}" for line in _signatures(table)),
            ]
        )
        + "\n"
    )


def _latex_block(table: Table2, block: Table2Block, notes: Footnotes) -> Iterator[str]:
    yield r"\midrule"
    yield rf"\multicolumn{{{len(table.places) + 1}}}{{c}}{{\textit{{{latex_text(title_of(block))}}}}} \\"
    yield r"\midrule"
    for row in block.rows:
        cells = [row.cells[place] for place in table.places]
        if row.has_run:
            yield _latex_line(latex_text(row.label), [_latex_ours(cell, notes) for cell in cells])
        if any(cell.paper is not None for cell in cells):
            printed = [
                rf"\textit{{{paper_text(cell, _latex_bold)}}}" if cell.paper is not None else "" for cell in cells
            ]
            yield _latex_line(rf"\textit{{paper: {latex_text(row.label)}}}", printed)
        if any(cell.difference is not None for cell in cells):
            yield _latex_line(r"\textit{difference}", [_latex_difference(cell) for cell in cells])
    for row in block.floors:
        name = rf"\textit{{{FLOOR}: {latex_text(row.label)}}}"
        floor_cells = (row.cells.get(place) for place in table.places)
        yield _latex_line(name, ["" if cell is None else _latex_ours(cell, notes) for cell in floor_cells])


def _latex_line(name: str, cells: list[str]) -> str:
    return rf"{name} & {' & '.join(cells)} \\"


def _latex_bold(text: str) -> str:
    return rf"\textbf{{{text}}}"


def _latex_difference(cell: Table2Cell) -> str:
    return f"${text}$" if (text := difference_text(cell)) else ""


def _latex_ours(cell: Table2Cell, notes: Footnotes) -> str:
    if cell.ours.missing:
        return rf"--\textsuperscript{{{notes.mark(cell.ours.missing)}}}"
    text = latex_text(number_text(cell.ours))
    return _latex_bold(text) if cell.best else text


def table2_json(table: Table2) -> dict[str, object]:
    """Return the table as plain data: every cell with its value, or None and the reason, and the paper's number."""
    return {
        "paper": table.source,
        "subsets": table.subsets,
        "metrics": table.metrics,
        "test_sets": {runs.subset: {"split": runs.split, "n_test": runs.n_test} for runs in table.runs},
        "remarks": remarks(table),
        "blocks": [
            {
                "resolution": block.resolution,
                "title": title_of(block),
                "rows": [_row_json(row) for row in block.rows],
                "floors": [_row_json(row) for row in block.floors],
            }
            for block in table.blocks
        ],
    }


def _row_json(row: Table2Row) -> dict[str, object]:
    cells = [
        {
            "subset": subset,
            "metric": heading,
            **asdict(cell.ours),
            "best": cell.best,
            "paper": cell.paper,
            "paper_best": cell.paper_best,
            "difference": cell.difference,
        }
        for (subset, heading), cell in row.cells.items()
    ]
    return {"model": row.label, "model_hashes": row.model_hashes, "cells": cells}


def _signatures(table: Table2) -> list[str]:
    return signature_lines(
        (table.metrics[heading], cell.ours) for _, row in table.rows for (_, heading), cell in row.cells.items()
    )


def remarks(table: Table2) -> list[str]:
    """Return what a reader of the table must know."""
    return [
        f"The paper's numbers are from {table.source}, not measured here; the others come from this project's result "
        "files. A difference is ours minus the paper's. Bold: the best of a column in its block, of each apart.",
        "Avg. NLP is the mean of eight metrics without CIDEr; RadGraph-XL is its partial level, because the paper does "
        "not say which it took.",
        XRAY_METRICS,
        *seed_remarks(table.runs),
        *floor_remarks(table.runs),
        *other_test_sets(table),
    ]


def _without_run(table: Table2) -> list[str]:
    """Return the systems that the runs file does not name, by resolution."""
    missing = [(block, [row.label for row in block.rows if not row.has_run]) for block in table.blocks]
    return [
        f"No evaluation in the runs file, {block.title.name}: {', '.join(labels)}."
        for block, labels in missing
        if labels
    ]


def write_table2(table: Table2, out: Path) -> None:
    """Write `table2.md`, `table2.tex` and `table2.json` into the folder `out`."""
    check_can_fill(out)
    write_text(out / f"{NAME}.md", table2_markdown(table))
    write_text(out / f"{NAME}.tex", table2_latex(table))
    write_json(out / f"{NAME}.json", table2_json(table))
