"""Write to a terminal of any width and character set, safe for names that hold any characters."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderHook, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from argus_processing.storage.markdown_table import table_rows, text_of

from .plain_text import plain, plain_lines

_GAPS = re.compile(r"[\s|+\-─━│┃┏┓┗┛┡┩├┤└┘┌┐╇┴┬┼╞╡╘╛═]+")


class _Plain:
    """A printed object whose unsafe characters become visible escapes; rich's own colours stay."""

    def __init__(self, shown: RenderableType) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self.shown, options):
            yield Segment(text if control else plain_lines(text), style, control)


class _PlainHook(RenderHook):
    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Plain(shown) for shown in renderables]


def terminal(stderr: bool = False) -> Console:
    """Return a rich console for stdout or stderr that prints no escape codes except its own."""
    console = Console(stderr=stderr)
    console.push_render_hook(_PlainHook())
    return console


def show(table: Table, console: Console | None = None) -> None:
    """Print a table; in a terminal too narrow for it, print row by row, so that no word or number is cut."""
    console = console or terminal()
    if _fits(table, console):
        console.print(table)
        return
    for line in _upright(table):
        console.print(Text(line), soft_wrap=True)


def show_lines(lines: Iterable[str], console: Console | None = None) -> None:
    """Print sentences, each from a new line and broken between words."""
    console = console or terminal()
    for line in lines:
        console.print(Text(line))


def _fits(table: Table, console: Console) -> bool:
    """Return whether the printed table shows every word of every heading and cell in full."""
    printed = "\n".join(
        "".join(segment.text for segment in line) for line in console.render_lines(table, pad=False, new_lines=False)
    )
    texts = [text_of(column.header) for column in table.columns] + [cell for row in table_rows(table) for cell in row]
    wanted = Counter(word for text in texts for word in _GAPS.split(text) if word)
    return not wanted - Counter(_GAPS.split(printed))


def _upright(table: Table) -> Iterator[str]:
    """Yield a table as lines with one value each, under the name of the row."""
    headings = [text_of(column.header) for column in table.columns]
    if table.title:
        yield text_of(table.title)
    for name, *values in table_rows(table):
        yield f"{headings[0]}: {name}" if headings[0] else name
        yield from (
            f"  {heading}: {value}" for heading, value in zip(headings[1:], values, strict=True) if value.strip()
        )
    if table.caption:
        yield text_of(table.caption)


def escape_name(name: object) -> str:
    """Make a name safe for a table: neither markup nor escape codes have an effect."""
    from rich.markup import escape

    return escape(plain(name))
