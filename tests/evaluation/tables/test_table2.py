import io
import json
import re

import pytest
from rich.console import Console
from stored_runs import JAVA, store_run

from argus_evaluation.benchmark.evaluation_results import MetricValue
from argus_evaluation.tables.paper_table2 import read_paper_values
from argus_evaluation.tables.run_columns import NO_RUN, NOT_IN_RESULTS
from argus_evaluation.tables.table2 import build_table2
from argus_evaluation.tables.table2_terminal import terminal_tables
from argus_evaluation.tables.table2_text import table2_json, table2_latex, table2_markdown, write_table2

SCORES = {"Avg. NLP": 40.0, "GREEN": 57.1, "RaTEScore": 68.0, "RadGraph-XL partial": 30.0}
WHOLE = {"n_test": 1_564}  # the paper's test set of CT-RATE


def row_of(table, resolution, label):
    return next(row for block, row in table.rows if (block.resolution, row.label) == (resolution, label))


def lines_of(markdown, name):
    """Return the cells of the lines with this name, one list a line."""
    lines = [line.split("|")[1:-1] for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line[1:]] for line in lines if line[0].strip() == name]


def test_the_layout_is_the_papers_and_new_systems_and_subsets_follow(tmp_path):
    runs = [
        store_run(tmp_path, "Argus tiny nr -", SCORES),
        store_run(tmp_path, "M3D 8B hr -", SCORES),
        store_run(tmp_path, "M3D 8B hr -", SCORES, subset="phantom"),
    ]
    table = build_table2(runs)
    assert [block.resolution for block in table.blocks] == ["nr", "hr"]
    for block in table.blocks:
        assert [row.label for row in block.rows] == [
            *(f"{system}-{size}" for size in ("3B", "8B", "70B") for system in ("CT2Rep", "RadFM", "M3D", "Argus")),
            "Argus-tiny",
        ]
    assert list(table.subsets) == ["ct-rate", "bimcv-r", "inspect", "phantom"]
    heads = table2_markdown(table).splitlines()[2]
    assert heads.startswith(
        "| Model | CT-RATE Avg. NLP | CT-RATE GREEN | CT-RATE RaTEScore | CT-RATE RadGraph-XL | BIM"
    )
    assert len(table.places) == 16 and sum(row.has_run for _, row in table.rows) == 2


def test_each_number_stands_beside_the_papers_with_the_difference(tmp_path):
    markdown = table2_markdown(build_table2([store_run(tmp_path, "Argus 8B nr -", SCORES, **WHOLE)]))
    at_nr, at_hr = markdown.split("### High resolution (512 × 512 × 256)")
    assert at_nr.startswith("### Normal resolution (256 × 256 × 64)")
    assert lines_of(at_nr, "Argus-8B") == [["40.00", "57.10", "68.00", "30.00", *["missing [a]"] * 8]]
    (printed,) = lines_of(at_nr, "*paper: Argus-8B*")
    assert printed[:5] == ["43.31", "56.60", "67.67", "29.82", "35.02"]
    assert lines_of(at_nr, "*difference*") == [["-3.31", "+0.50", "+0.33", "+0.18", *[""] * 8]]
    assert f"- [a] {NO_RUN}" in markdown and "RadGraph-XL partial: signature of RadGraph-XL partial" in markdown
    assert not lines_of(at_hr, "Argus-8B") and not lines_of(at_hr, "*difference*")
    assert "No evaluation in the runs file, high resolution: CT2Rep-3B, RadFM-3B, " in markdown
    assert "not measured here" in markdown and "other scans" not in markdown


def test_a_stand_in_has_a_column_of_its_own_beside_the_missing_metric(tmp_path):
    name = "stand-in for GREEN: finding F1 (rules)"
    metrics = {each: MetricValue(value, "") for each, value in SCORES.items()}
    metrics |= {"GREEN": MetricValue(None, "", missing="no weights"), name: MetricValue(0.25, "stand-in", scale=1)}
    table = build_table2([store_run(tmp_path, "Argus 8B nr -", {}, metrics=metrics, **WHOLE)])
    markdown = table2_markdown(table)
    assert list(table.metrics)[-1] == name and f"| CT-RATE {name} |" in markdown.splitlines()[2]
    assert lines_of(markdown, "Argus-8B")[0][:5] == ["40.00", "missing [a]", "68.00", "30.00", "0.250"]
    assert lines_of(markdown, "*paper: Argus-8B*")[0][:5] == ["43.31", "56.60", "67.67", "29.82", ""]
    assert lines_of(markdown, "*difference*")[0][:5] == ["-3.31", "", "+0.33", "+0.18", ""]
    assert "- [a] no weights" in markdown
    assert name not in table2_markdown(build_table2([store_run(tmp_path, "M3D 8B nr -", SCORES)]))


def test_all_of_the_papers_numbers_are_shown_and_marked(tmp_path):
    markdown = table2_markdown(build_table2([store_run(tmp_path, "Argus tiny nr -", {})]))
    shown = [
        cell.strip("*") for line in re.findall(r"^\| \*paper: .*$", markdown, re.M) for cell in line.split(" | ")[1:]
    ]
    assert [float(cell.strip("| *")) for cell in shown] == list(ordered_paper_values())
    best = lines_of(markdown.split("### High")[0], "*paper: Argus-70B*")[0]
    assert all(cell.startswith("**") for cell in best)  # the best of every column of its block


def ordered_paper_values():
    places = build_table2([]).places
    labels = [row.label for row in build_table2([]).blocks[0].rows]
    return (read_paper_values()[at, label, *place] for at in ("nr", "hr") for label in labels for place in places)


def test_what_is_missing_has_its_reason_and_no_difference(tmp_path):
    java = {"GREEN": MetricValue(None, "green", missing=JAVA), "Avg. NLP": MetricValue(0.0, "mean of 8")}
    table = build_table2([store_run(tmp_path, "Argus 8B nr -", {}, metrics=java)])
    cells = row_of(table, "nr", "Argus-8B").cells
    assert cells["ct-rate", "GREEN"].ours.missing == JAVA and cells["ct-rate", "GREEN"].difference is None
    assert cells["ct-rate", "RaTEScore"].ours.missing == NOT_IN_RESULTS
    assert cells["ct-rate", "Avg. NLP"].difference == pytest.approx(-43.31)  # a true zero is a number
    assert row_of(table, "hr", "Argus-8B").cells["ct-rate", "GREEN"].ours.missing == NO_RUN
    for _, row in table.rows:
        assert all((cell.ours.value is None) == (cell.ours.missing is not None) for cell in row.cells.values())
    assert r"- [b] needs Java & 50% more_time\|see {docs}" in table2_markdown(
        table
    ) or "- [a] needs" in table2_markdown(table)


def test_the_best_of_ours_in_a_column_of_a_block_is_bold(tmp_path):
    better = SCORES | {"GREEN": 60.0}
    runs = [store_run(tmp_path, "Argus 3B nr -", better), store_run(tmp_path, "M3D 8B nr -", SCORES)]
    runs.append(store_run(tmp_path, "Argus 8B hr -", SCORES | {"GREEN": 70.0}))
    table = build_table2(runs)
    markdown = table2_markdown(table)
    assert lines_of(markdown, "Argus-3B")[0][:2] == ["**40.00**", "**60.00**"]
    assert lines_of(markdown, "M3D-8B")[0][:2] == ["**40.00**", "57.10"]
    assert lines_of(markdown, "Argus-8B")[0][1] == "70.00"  # alone in its block
    assert r"\textbf{60.00}" in table2_latex(table)


def test_numbers_computed_in_two_ways_have_no_best(tmp_path):
    other = {"GREEN": MetricValue(99.0, "another green")}
    runs = [store_run(tmp_path, "Argus 3B nr -", SCORES), store_run(tmp_path, "M3D 3B nr -", {}, metrics=other)]
    table = build_table2(runs)
    assert not any(cell.best for _, row in table.rows for (_, name), cell in row.cells.items() if name == "GREEN")
    assert "GREEN: COMPUTED DIFFERENTLY, do not compare: another green; signature of GREEN" in table2_markdown(table)


def test_seeds_are_one_row_with_mean_and_deviation(tmp_path):
    runs = [store_run(tmp_path, f"Argus 8B nr {seed}", {"GREEN": 56.0 + seed}, **WHOLE) for seed in (0, 1, 2)]
    markdown = table2_markdown(build_table2(runs))
    assert lines_of(markdown, "Argus-8B")[0][1] == "57.00 ± 1.00"
    assert lines_of(markdown, "*difference*")[0][1] == "+0.40"
    assert "Mean ± sample standard deviation over the seeds 0, 1, 2: Argus-8B nr (ct-rate)." in markdown


def test_other_scans_than_the_papers_are_said_to_be_others(tmp_path):
    runs = [store_run(tmp_path, "Argus 8B nr -", SCORES), store_run(tmp_path, "Argus 8B nr -", {}, subset="phantom")]
    markdown = table2_markdown(build_table2(runs))
    assert "CT-RATE: 20 reports of test here, 1,564 of test in the paper, so the differences are of other" in markdown
    assert "phantom: 20 reports" not in markdown


def test_the_three_forms_hold_the_same_numbers(tmp_path):
    runs = [store_run(tmp_path, f"Argus 8B nr {seed}", SCORES | {"GREEN": 56.123 + seed}) for seed in (0, 1)]
    table = build_table2(runs)
    write_table2(table, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["table2.json", "table2.md", "table2.tex"]
    stored = json.loads((tmp_path / "out" / "table2.json").read_text())
    row = next(row for row in stored["blocks"][0]["rows"] if row["model"] == "Argus-8B")
    green = next(cell for cell in row["cells"] if (cell["subset"], cell["metric"]) == ("ct-rate", "GREEN"))
    assert green["value"] == pytest.approx(56.623) and green["by_seed"] == {"0": 56.123, "1": 57.123}
    assert (green["paper"], green["difference"]) == (56.6, pytest.approx(0.023))
    assert set(row["model_hashes"]["ct-rate"]) == {"0", "1"} and len(row["cells"]) == 12
    latex = (tmp_path / "out" / "table2.tex").read_text()
    assert r"56.62 $\pm$ 0.71" in latex and r"\textit{56.60}" in latex and "$+0.02$" in latex
    assert "56.62 ± 0.71" in (tmp_path / "out" / "table2.md").read_text()
    assert table2_json(table)["test_sets"] == {"ct-rate": {"split": "test", "n_test": 20}}


def test_latex_is_balanced_and_escaped(tmp_path):
    java = {"GREEN": MetricValue(None, "green", missing=JAVA)}
    runs = [store_run(tmp_path, "A_1 8B hr -", SCORES), store_run(tmp_path, "M3D 8B hr -", {}, metrics=java)]
    latex = table2_latex(build_table2([*runs, store_run(tmp_path, "A_1 8B nr -", SCORES, subset="p_1")]))
    assert r"A\_1-8B" in latex and r"needs Java \& 50\% more\_time\textbar{}see \{docs\}" in latex
    assert r"\multicolumn{4}{c}{p\_1}" in latex and r"($512 $\times$" not in latex
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 2
    rows = [line for line in latex.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {16}
    unescaped = re.sub(r"\\[{}]", "", latex)
    assert unescaped.count("{") == unescaped.count("}") and unescaped.count("$") % 2 == 0
    assert latex.isascii()


def test_a_terminal_shows_what_has_a_run_and_says_where_the_rest_is(tmp_path):
    runs = [store_run(tmp_path, f"Argus 70B nr {seed}", SCORES | {"GREEN": 56.0 + seed}) for seed in (0, 1)]
    tables, lines = terminal_tables(build_table2([*runs, store_run(tmp_path, "M3D 70B hr -", {}, subset="inspect")]))
    assert [str(table.title) for table in tables] == [
        "Normal resolution (256 × 256 × 64): CT-RATE test, 20 reports",
        "High resolution (512 × 512 × 256): INSPECT test, 20 reports",
    ]
    out = io.StringIO()
    Console(file=out, width=80).print(tables[0])
    assert "56.50 ± 0.71" in out.getvalue() and "the paper's" in out.getvalue() and "difference" in out.getvalue()
    assert f"[a] {NOT_IN_RESULTS}" in lines
