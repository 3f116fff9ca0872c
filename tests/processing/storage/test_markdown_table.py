from rich.table import Table
from rich.text import Text

from argus_processing.storage.markdown_table import literal_table, markdown_table


def test_a_table_for_people_becomes_markdown():
    table = Table(title="not in it", caption="nor this")
    table.add_column("grid")
    table.add_column("ms", justify="right")
    table.add_row("nr", "[bold]12")
    table.add_row(Text("[a]"), "")
    assert markdown_table(table) == "| grid | ms |\n|---|---:|\n| nr | 12 |\n| [a] |  |"


def test_brackets_bars_and_line_ends_stay_inside_their_cell():
    table = literal_table(["a|b", "[c]"], [["one\ntwo", "missing [a]"]], numbers_from=1)
    assert markdown_table(table) == "| a\\|b | [c] |\n|---|---:|\n| one two | missing [a] |"
