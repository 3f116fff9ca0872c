"""Show Table 2 on a terminal: the systems that have a run, one narrow table for each resolution and subset."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from .run_columns import SubsetRuns
from .table2 import Table2, Table2Block, Table2Row
from .table2_text import difference_text, heading_of, ours_text, paper_text, remarks, title_of
from .table_notes import Footnotes


def terminal_tables(table: Table2) -> tuple[list[Table], list[str]]:
    """Return the tables, and the lines below them: the reasons of missing numbers, and the remarks."""
    notes = Footnotes()
    tables = [
        _terminal_table(table, block, rows, runs, notes)
        for block in table.blocks
        for runs in table.runs
        if (rows := [row for row in block.rows if runs.subset in row.model_hashes])
    ]
    reasons = [f"[{mark}] {reason}" for mark, reason in notes.lines()]
    return tables, [*reasons, *remarks(table)]


def _terminal_table(
    table: Table2, block: Table2Block, rows: list[Table2Row], runs: SubsetRuns, notes: Footnotes
) -> Table:
    shown = Table(title=Text(f"{title_of(block)}: {table.subsets[runs.subset]} {runs.split}, {runs.n_test:,} reports"))
    shown.add_column("Model")
    for heading in table.metrics:
        shown.add_column(heading_of(heading), justify="right")
    for row in rows:
        for line in _lines(table, row, runs.subset, notes):
            shown.add_row(*line)
    for row in block.floors:
        cells = [row.cells[runs.subset, heading] for heading in table.metrics]
        shown.add_row(Text(row.label, "italic"), *(Text(ours_text(cell, notes), "italic") for cell in cells))
    return shown


def _lines(table: Table2, row: Table2Row, subset: str, notes: Footnotes) -> Iterator[list[Text]]:
    cells = [row.cells[subset, heading] for heading in table.metrics]
    yield [Text(row.label), *(Text(ours_text(cell, notes), "bold" if cell.best else "") for cell in cells)]
    if any(cell.paper is not None for cell in cells):
        yield [Text("the paper's"), *(Text(paper_text(cell), "bold" if cell.paper_best else "") for cell in cells)]
    if any(cell.difference is not None for cell in cells):
        yield [Text("difference"), *(Text(difference_text(cell)) for cell in cells)]
