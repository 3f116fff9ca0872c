import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from argus_evaluation.benchmark.evaluation_results import EvaluationResults, MetricValue, write_results
from argus_evaluation.benchmark.run_list import Run
from argus_evaluation.benchmark.table2 import NO_RUN, NOT_IN_RESULTS, PAPER, build_table2
from argus_evaluation.benchmark.table2_text import table2_json, table2_latex, table2_markdown, write_table2

JAVA = "needs Java & 50% more_time|see {docs}"


def make_run(root: Path, system: str, resolution: str, bleu: float, subset: str = "ct-rate", **changes) -> Run:
    folder = root / f"{system}_{resolution}_{subset}"
    folder.mkdir()
    metrics = {
        "BLEU-1": MetricValue(bleu, "sacrebleu|order:1", bleu - 1, bleu + 1),
        "METEOR": MetricValue(None, "meteor|1.5", missing=JAVA),
    }
    results = EvaluationResults(subset=subset, split="test", n_test=20, model_hash="ab" * 32, metrics=metrics)
    write_results(folder, replace(results, **changes))
    (folder / "predictions.jsonl.settings.json").write_text(
        json.dumps({"model_hash": "ab" * 32, "subset": subset, "split": "test", "dataset": "same"})
    )
    return Run(system, resolution, folder)


def cell(table, resolution, system, metric, block=0):
    return table.blocks[block].cells[resolution, system, metric]


def test_the_layout_is_the_papers_with_each_run_in_its_place(tmp_path):
    runs = [make_run(tmp_path, "M3D", "nr", 31.4), make_run(tmp_path, "Argus", "hr", 42.5)]
    table = build_table2(runs)
    assert table.systems == ("CT2Rep", "RadFM", "M3D", "Argus")
    assert list(table.resolutions) == ["nr", "hr"]
    assert len(table.blocks[0].cells) == 2 * 4 * 16
    assert (cell(table, "nr", "M3D", "BLEU-1").value, cell(table, "hr", "Argus", "BLEU-1").value) == (31.4, 42.5)
    filled = {place for place, found in table.blocks[0].cells.items() if found.value is not None}
    assert filled == {("nr", "M3D", "BLEU-1"), ("hr", "Argus", "BLEU-1")}


def test_what_is_missing_has_its_reason_and_is_never_zero(tmp_path):
    table = build_table2([make_run(tmp_path, "Argus", "nr", 0.0)])
    assert cell(table, "nr", "Argus", "METEOR").missing == JAVA
    assert cell(table, "nr", "Argus", "GREEN").missing == NOT_IN_RESULTS
    assert cell(table, "hr", "Argus", "BLEU-1").missing == NO_RUN
    assert cell(table, "nr", "Argus", "BLEU-1").value == 0.0  # a true zero stays one
    for found in table.blocks[0].cells.values():
        assert (found.value is None) == (found.missing is not None)
    markdown = table2_markdown(table)
    row = next(line for line in markdown.splitlines() if line.startswith("| METEOR"))
    assert re.findall(r"\bmissing \[(\w)\]", row) == ["a", "a", "a", "c", "a", "a", "a", "a"]
    assert not re.search(r"\d", row.removeprefix("| METEOR"))
    assert f"- [a] {NO_RUN}" in markdown and f"- [b] {NOT_IN_RESULTS}" in markdown
    assert r"- [c] needs Java & 50% more_time\|see {docs}" in markdown


def test_the_three_forms_hold_the_same_numbers(tmp_path):
    table = build_table2([make_run(tmp_path, "Argus", "hr", 41.256), make_run(tmp_path, "M3D", "nr", 30)])
    write_table2(table, tmp_path / "out")
    markdown = (tmp_path / "out" / "table2.md").read_text()
    latex = (tmp_path / "out" / "table2.tex").read_text()
    stored = json.loads((tmp_path / "out" / "table2.json").read_text())
    assert "41.26 (40.26 to 42.26)" in markdown
    assert r"41.26 {\scriptsize [40.26, 42.26]}" in latex
    values = [entry for entry in stored["subsets"][0]["cells"] if entry["value"] is not None]
    assert [(entry["system"], entry["resolution"], entry["value"]) for entry in values] == [
        ("M3D", "nr", 30),
        ("Argus", "hr", 41.256),
    ]
    assert stored["subsets"][0]["model_hashes"] == {"Argus hr": "ab" * 32, "M3D nr": "ab" * 32}
    assert "BLEU-1: sacrebleu|order:1" in markdown


def test_latex_is_balanced_and_escaped(tmp_path):
    latex = table2_latex(build_table2([make_run(tmp_path, "A_1", "hr", 41.2)]))
    assert r"A\_1" in latex and r"needs Java \& 50\% more\_time\textbar{}see \{docs\}" in latex
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 2
    rows = [line for line in latex.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {10}  # five systems at two resolutions
    unescaped = re.sub(r"\\[{}]", "", latex)
    assert unescaped.count("{") == unescaped.count("}")


def test_the_papers_numbers_are_marked_and_never_stand_for_ours(tmp_path):
    layout = yaml.safe_load(PAPER.read_text())
    given = {"subset": "ct-rate", "resolution": "hr", "metric": "BLEU-1"}
    layout["values"] = [given | {"system": "Argus", "value": 12.3}, given | {"system": "RadFM", "value": 4.5}]
    paper = tmp_path / "paper.yaml"
    paper.write_text(yaml.safe_dump(layout))
    table = build_table2([make_run(tmp_path, "Argus", "hr", 41.2)], paper)
    row = next(line for line in table2_markdown(table).splitlines() if line.startswith("| BLEU-1"))
    assert "41.20 (40.20 to 42.20)<br>*paper: 12.30*" in row
    assert "missing [a]<br>*paper: 4.50*" in row
    assert r"{\scriptsize \textit{paper: 12.30}}" in table2_latex(table)
    assert (cell(table, "hr", "RadFM", "BLEU-1").value, cell(table, "hr", "RadFM", "BLEU-1").paper) == (None, 4.5)
    assert "not measured here" in table2_markdown(table)
    layout["values"].append(given | {"system": "Radfm", "value": 4.5})
    paper.write_text(yaml.safe_dump(layout))
    with pytest.raises(ValueError, match="not in the table's layout"):
        build_table2([], paper)


def test_without_the_papers_numbers_the_table_says_so(tmp_path):
    table = build_table2([make_run(tmp_path, "Argus", "hr", 41.2)])
    assert not table.has_paper_values and all(found.paper is None for found in table.blocks[0].cells.values())
    assert "are not kept here" in table2_markdown(table)
    assert table2_json(table)["paper"]["has_values"] is False


def test_runs_on_other_scans_or_twice_in_a_column_are_refused(tmp_path):
    one = make_run(tmp_path, "Argus", "hr", 41.2)
    for number, changes in enumerate(({"n_test": 19}, {"split": "validation"})):
        with pytest.raises(ValueError, match="different scans of ct-rate"):
            build_table2([one, make_run(tmp_path, f"M{number}", "hr", 1.0, **changes)])
    other = make_run(tmp_path, "M3", "hr", 1.0)
    settings = other.folder / "predictions.jsonl.settings.json"
    settings.write_text(settings.read_text().replace("same", "other"))
    with pytest.raises(ValueError, match="different scans of ct-rate"):
        build_table2([one, other])
    with pytest.raises(ValueError, match="comes twice on ct-rate"):
        build_table2([one, one])


def test_subsets_keep_the_papers_order_and_those_without_a_run_are_named(tmp_path):
    f1 = MetricValue(0.8254, "argus findings", scale=1)
    runs = [
        make_run(tmp_path, "Argus", "hr", 1.0, subset=subset, metrics=metrics)
        for subset, metrics in (("phantom", {"finding_f1": f1}), ("inspect", {}), ("bimcv-r", {}))
    ]
    table = build_table2(runs)
    assert [block.subset for block in table.blocks] == ["bimcv-r", "inspect", "phantom"]
    assert table.left_out == ("ct-rate",)
    assert ["finding F1" in block.metrics for block in table.blocks] == [False, False, True]
    assert "| finding F1 |" in table2_markdown(table) and "0.825" in table2_markdown(table)
    assert "No evaluation in the runs file is of: ct-rate." in table2_markdown(table)


def test_numbers_computed_in_two_ways_are_called_so(tmp_path):
    other = {"BLEU-1": MetricValue(3.0, "nltk|order:1")}
    table = build_table2([make_run(tmp_path, "Argus", "hr", 1.0), make_run(tmp_path, "M3D", "hr", 1.0, metrics=other)])
    assert "COMPUTED DIFFERENTLY, do not compare: nltk|order:1; sacrebleu|order:1" in table2_markdown(table)
