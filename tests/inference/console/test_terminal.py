import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from argus_inference.console import terminal as terminal_module
from argus_inference.console.terminal import show, terminal


def make_table() -> Table:
    table = Table(title="phantom test", caption="12 reports")
    for heading in ("", "model", "95% interval", "blank image", "shuffled images", "most frequent report"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("finding F1", "[bold]0.1234", "0.111-0.122", "0.133", "0.144", "0.155")
    table.add_row("a far longer name of a score", "0.6", "", "-", "missing", "1,234,567.8")
    return table


NUMBERS = ("0.1234", "0.111-0.122", "0.133", "0.144", "0.155", "0.6", "1,234,567.8", "missing")


def printed(table, **settings) -> str:
    out = io.StringIO()
    show(table, Console(file=out, **settings))
    return out.getvalue()


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 120])
def test_no_width_cuts_or_breaks_a_number(width):
    text = printed(make_table(), width=width)
    for number in NUMBERS:
        assert re.search(rf"(?<![\w.,-]){re.escape(number)}(?![\w.,-])", text), (number, text)
    assert "…" not in text and "..." not in text


def test_a_wide_terminal_gets_the_table_itself():
    assert "│" in printed(make_table(), width=120)


@pytest.mark.parametrize("width", [40, 120])
def test_a_name_cannot_send_escape_codes(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    table = Table("folder", "value", title="run\x1b]0;title\x07")
    table.add_row("a\x1b[31mb\u202ec", "12345.678")
    show(table)
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert "\\x1b" in text and "12345.678" in text


def test_a_rule_with_a_hostile_name_is_plain_too(capsys):
    terminal(stderr=True).rule("[bold]cell \x1b[2J")
    assert "\x1b[2J" not in capsys.readouterr().err
    assert terminal_module.escape_name("[red]x[/]\x1b") == "\\[red]x\\[/]\\x1b"
