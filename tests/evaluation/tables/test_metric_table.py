import json
import re

import pytest
from stored_runs import JAVA, store_run

from argus_evaluation.benchmark.evaluation_results import MetricValue
from argus_evaluation.tables.metric_table import METRICS, build_metric_table
from argus_evaluation.tables.metric_table_text import metric_table_latex, metric_table_markdown, write_metric_table
from argus_evaluation.tables.run_columns import NO_RUN, NOT_IN_RESULTS

HR, NR = ("hr", "Argus-8B"), ("nr", "M3D-8B")


@pytest.fixture
def runs(tmp_path):
    return [
        store_run(tmp_path, "Argus 8B hr -", {"BLEU-1": 41.256}),
        store_run(tmp_path, "M3D 8B nr -", {"BLEU-1": 30.0}),
    ]


def test_the_columns_are_the_runs_in_the_papers_order(tmp_path, runs):
    more = [store_run(tmp_path, "Argus 3B hr -", {}), store_run(tmp_path, "Ours - hr -", {})]
    table = build_metric_table([*more, *runs])
    assert table.columns == (NR, ("hr", "Argus-3B"), HR, ("hr", "Ours"))
    assert len(table.blocks[0].cells) == 4 * 16


def test_what_is_missing_has_its_reason_and_is_never_zero(tmp_path):
    runs = [store_run(tmp_path, "Argus 8B nr -", {"BLEU-1": 0.0})]
    runs.append(store_run(tmp_path, "M3D 8B nr -", {}, subset="inspect"))
    block = build_metric_table(runs).blocks[0]
    column = ("nr", "Argus-8B")
    assert block.cells[column, "METEOR"].missing == JAVA
    assert block.cells[column, "GREEN"].missing == NOT_IN_RESULTS
    assert block.cells[NR, "BLEU-1"].missing == NO_RUN
    assert block.cells[column, "BLEU-1"].value == 0.0  # a true zero stays one
    assert all((cell.value is None) == (cell.missing is not None) for cell in block.cells.values())
    markdown = metric_table_markdown(build_metric_table(runs))
    row = next(line for line in markdown.splitlines() if line.startswith("| METEOR"))
    assert re.findall(r"\bmissing \[(\w)\]", row) == ["a", "c"] and not re.search(r"\d", row)
    assert f"- [a] {NO_RUN}" in markdown and f"- [b] {NOT_IN_RESULTS}" in markdown
    assert r"- [c] needs Java & 50% more_time\|see {docs}" in markdown


def test_the_three_forms_hold_the_same_numbers(runs, tmp_path):
    write_metric_table(build_metric_table(runs), tmp_path / "out")
    markdown = (tmp_path / "out" / "metric_table.md").read_text()
    latex = (tmp_path / "out" / "metric_table.tex").read_text()
    stored = json.loads((tmp_path / "out" / "metric_table.json").read_text())
    assert "41.26 (40.26 to 42.26)" in markdown
    assert r"41.26 {\scriptsize [40.26, 42.26]}" in latex
    values = [entry for entry in stored["subsets"][0]["cells"] if entry["value"] is not None]
    assert [(entry["system"], entry["resolution"], entry["value"]) for entry in values] == [
        ("M3D-8B", "nr", 30),
        ("Argus-8B", "hr", 41.256),
    ]
    assert set(stored["subsets"][0]["model_hashes"]) == {"Argus-8B hr", "M3D-8B nr"}
    assert "BLEU-1: signature of BLEU-1" in markdown


def test_latex_is_balanced_and_escaped(tmp_path):
    runs = [store_run(tmp_path, f"A_1 {size} {at} -", {"BLEU-1": 41.2}) for size, at in (("3B", "nr"), ("8B", "hr"))]
    latex = metric_table_latex(build_metric_table([*runs, store_run(tmp_path, "M3D 8B hr -", {})]))
    assert r"A\_1-3B" in latex and r"needs Java \& 50\% more\_time\textbar{}see \{docs\}" in latex
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 2
    assert r"\multicolumn{1}{c}{normal resolution} & \multicolumn{2}{c}{high resolution}" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert len(rows) == 1 + len(METRICS) and {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {3}
    unescaped = re.sub(r"\\[{}]", "", latex)
    assert unescaped.count("{") == unescaped.count("}")


def test_seeds_are_shown_as_mean_and_deviation_and_named(tmp_path):
    runs = [store_run(tmp_path, f"Argus 8B hr {seed}", {"BLEU-1": 40.0 + seed}) for seed in (0, 2)]
    markdown = metric_table_markdown(build_metric_table(runs))
    assert "| BLEU-1 | 41.00 ± 1.41 |" in markdown
    assert "Mean ± sample standard deviation over the seeds 0, 2: Argus-8B hr (ct-rate)." in markdown


def test_other_metrics_that_a_run_has_keep_their_own_names(tmp_path):
    own = {
        "finding_f1": MetricValue(0.8254, "rules", scale=1),
        "stand-in for GREEN": MetricValue(0.5, "rules", scale=1),
    }
    own["laterality_accuracy"] = MetricValue(None, "rules", scale=1)
    runs = [store_run(tmp_path, "Argus tiny nr -", {}, subset="phantom", metrics=own)]
    table = build_metric_table([*runs, store_run(tmp_path, "Argus tiny nr -", {}, subset="inspect")])
    assert [block.metrics[len(METRICS) :] for block in table.blocks] == [(), ("finding F1", "stand-in for GREEN")]
    markdown = metric_table_markdown(table)
    assert "| finding F1 | 0.825 |" in markdown and "| stand-in for GREEN | 0.500 |" in markdown
    assert "| GREEN | missing" in markdown  # a stand-in never fills the metric's own row


def test_numbers_computed_in_two_ways_are_called_so(runs, tmp_path):
    other = {"BLEU-1": MetricValue(3.0, "nltk|order:1")}
    table = build_metric_table([*runs, store_run(tmp_path, "RadFM 8B hr -", {}, metrics=other)])
    assert "COMPUTED DIFFERENTLY, do not compare: nltk|order:1; signature of BLEU-1" in metric_table_markdown(table)
