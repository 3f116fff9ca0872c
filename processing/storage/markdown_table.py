"""Convert rich tables to Markdown, for files and documents."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.table import Column, Table
from rich.text import Text

_ESCAPES = str.maketrans({"|": r"\|", "\n": " "})


def literal_table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int | None = None) -> Table:
    """Make a table that shows its texts as they are: what stands in brackets is no style.

    Args:
        headings: of the columns.
        rows: their cells.
        numbers_from: the first column of numbers, which stand at the right edge. Default: all are texts.
    """
    table = Table()
    for place, heading in enumerate(headings):
        is_number = numbers_from is not None and place >= numbers_from
        table.add_column(Text(heading), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def markdown_table(table: Table) -> str:
    """Convert a rich table to a Markdown table, without its title and caption and without a line's end."""
    lines = [[text_of(column.header) for column in table.columns], *table_rows(table)]
    head, *rows = (f"| {' | '.join(cell.translate(_ESCAPES) for cell in line)} |" for line in lines)
    return "\n".join([head, _rule(table.columns), *rows])


def _rule(columns: Sequence[Column]) -> str:
    return f"|{'|'.join('---:' if column.justify == 'right' else '---' for column in columns)}|"


def table_rows(table: Table) -> Iterator[tuple[str, ...]]:
    """Return the texts of a rich table's rows, without their styles."""
    return zip(*([text_of(cell) for cell in column.cells] for column in table.columns), strict=True)


def text_of(cell: Any) -> str:
    """Return the text of a rich table's cell without its style."""
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
