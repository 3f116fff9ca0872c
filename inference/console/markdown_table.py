"""Rich tables as Markdown."""

from collections.abc import Iterable, Sequence

from rich.console import JustifyMethod
from rich.table import Column, Table
from rich.text import Text

from .terminal import table_rows, text_of

_ESCAPES = str.maketrans({"|": r"\|", "\n": " "})
_RULES = {"right": "---:"}


def literal_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], justify_values: JustifyMethod = "left"
) -> Table:
    """Make a table that shows its texts as they are: what stands in brackets is no style."""
    table = Table()
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify=justify_values if place else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def markdown_table(table: Table) -> str:
    """Convert a rich table to a Markdown table, without its title and caption and without a line's end."""
    lines = [[text_of(column.header) for column in table.columns], *table_rows(table)]
    head, *rows = (f"| {' | '.join(cell.translate(_ESCAPES) for cell in line)} |" for line in lines)
    return "\n".join([head, _rule(table.columns), *rows])


def _rule(columns: Sequence[Column]) -> str:
    return f"|{'|'.join(_RULES.get(column.justify, '---') for column in columns)}|"
