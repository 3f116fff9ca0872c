"""Floors as rows of Table 2 and of the table of all metrics, and tables that lack them."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from stored_runs import store_run

from argus_evaluation.benchmark.evaluation_results import ControlResults, MetricValue
from argus_evaluation.benchmark.scored_scans import scored_scans
from argus_evaluation.floors.floor_list import FLOORS
from argus_evaluation.tables.metric_table import build_metric_table
from argus_evaluation.tables.metric_table_text import metric_table_json, metric_table_latex, metric_table_markdown
from argus_evaluation.tables.run_columns import collect_runs, read_floor
from argus_evaluation.tables.table2 import build_table2
from argus_evaluation.tables.table2_terminal import terminal_tables
from argus_evaluation.tables.table2_text import table2_json, table2_latex, table2_markdown

ALL_ABSENT = "Floors that were not computed here: constant normal report, most frequent report, label to text"


def floors(**values: float) -> dict[str, ControlResults]:
    """Floors with these values of GREEN."""
    return {
        name: ControlResults({"GREEN": MetricValue(value, "signature of GREEN", value - 1, value + 1)})
        for name, value in values.items()
    }


@pytest.fixture
def runs(tmp_path):
    one = floors(normal=11.25, nearest=20.5, shuffled=8.0)
    other = floors(normal=11.25, nearest=22.75)
    return [
        store_run(tmp_path, "Argus 8B hr 0", {"GREEN": 40.0}, controls=one),
        store_run(tmp_path, "M3D 8B hr -", {"GREEN": 35.0}, controls=other),
        store_run(tmp_path, "M3D 8B nr -", {"GREEN": 30.0}),
    ]


def test_a_floor_is_the_highest_of_the_runs_beside_it(runs):
    (found,) = collect_runs(runs, ())
    assert read_floor(found, "hr", "nearest", "GREEN").value == 22.75
    assert (read_floor(found, "hr", "shuffled", "GREEN").value, read_floor(found, None, "normal", "GREEN").low) == (
        8.0,
        10.25,
    )
    assert read_floor(found, "nr", "normal", "GREEN").missing == "no run has this floor"


def test_table_2_has_the_floors_as_rows_and_names_those_it_lacks(runs):
    table = build_table2(runs)
    text = table2_markdown(table)
    assert "| *floor: nearest training report* | missing" in text and "| 22.75 |" in text
    assert text.index("*floor: constant normal report*") < text.index("*floor: nearest training report*")
    assert "ct-rate: Floors that were not computed here: most frequent report, label to text, blank image" in text
    assert "A floor's number is the highest that was computed with any of the runs beside it." in text
    assert r"\textit{floor: nearest training report} &" in table2_latex(table)
    blocks = {block["resolution"]: block for block in table2_json(table)["blocks"]}
    assert [row["model"] for row in blocks["hr"]["floors"]] == [
        FLOORS[name].title for name in ("normal", "nearest", "shuffled")
    ]
    assert blocks["nr"]["floors"] == []
    console = Console(width=100, record=True, file=io.StringIO())
    for shown in terminal_tables(table)[0]:
        console.print(shown)
    assert "nearest training report" in console.export_text()


def test_a_floor_takes_no_part_in_the_best_of_a_column(tmp_path):
    runs = [
        store_run(tmp_path, "Argus 8B hr -", {"GREEN": 10.0}, controls=floors(normal=50.0)),
        store_run(tmp_path, "M3D 8B hr -", {"GREEN": 9.0}),
    ]
    (block,) = (block for block in build_table2(runs).blocks if block.resolution == "hr")
    best = [row.label for row in block.rows for place, cell in row.cells.items() if cell.best and place[1] == "GREEN"]
    assert best == ["Argus-8B"] and block.floors[0].cells["ct-rate", "GREEN"].ours.value == 50.0


def test_the_table_of_all_metrics_has_a_table_of_floors(runs):
    table = build_metric_table(runs)
    text = metric_table_markdown(table)
    assert "| floors | constant normal report | nearest training report | shuffled images |" in text
    assert "| GREEN | 11.25 (10.25 to 12.25) | 22.75 (21.75 to 23.75) | 8.00 (7.00 to 9.00) |" in text
    assert "floors & constant normal report & nearest training report" in metric_table_latex(table)
    (subset,) = metric_table_json(table)["subsets"]
    green = {each["floor"]: each["value"] for each in subset["floors"] if each["metric"] == "GREEN"}
    assert green == {"constant normal report": 11.25, "nearest training report": 22.75, "shuffled images": 8.0}


def test_tables_without_any_floor_say_so_in_one_line(tmp_path):
    runs = [store_run(tmp_path, "Argus 8B hr -", {"GREEN": 40.0})]
    for text in (table2_markdown(build_table2(runs)), metric_table_markdown(build_metric_table(runs))):
        (line,) = (line for line in text.splitlines() if ALL_ABSENT in line)
        assert line.startswith("ct-rate: ") and "A floor's number" not in text and "*floor:" not in text


def test_runs_of_as_many_other_scans_are_refused_by_what_they_tell(tmp_path):
    scans = scored_scans({"a": "x", "b": "y"})
    one = store_run(tmp_path, "Argus 8B hr -", {}, scans=scans)
    collect_runs([one, store_run(tmp_path, "M3D 8B hr -", {}, scans=scans)], ())
    other = store_run(tmp_path, "RadFM 8B hr -", {}, scans=scored_scans({"a": "x", "c": "y"}))
    with pytest.raises(ValueError, match=r"1 only in the first \(b\), 1 only in the second \(c\); evaluate both on"):
        collect_runs([one, other], ())
    # An earlier version's results tell no scans; then the data set decides, which is the same here.
    collect_runs([replace(one), store_run(tmp_path, "CT2Rep 8B hr -", {})], ())
