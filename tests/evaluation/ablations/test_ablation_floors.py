"""Floors as rows of an ablation's tables, and as a line of its figure."""

import pytest
from matplotlib.figure import Figure

from argus_evaluation.ablations.ablation_figure import divide, draw_panel, heading
from argus_evaluation.ablations.ablation_floors import different_test_sets, floor_value, highest_floor
from argus_evaluation.ablations.ablation_results import (
    AblationResults,
    AblationRun,
    CellResults,
    PanelResults,
    PaperOrder,
)
from argus_evaluation.ablations.ablation_scores import known_scores, with_average
from argus_evaluation.ablations.ablation_statistics import summarize
from argus_evaluation.ablations.ablation_table import build_table, panel_markdown

SCORES = {  # of every cell: GREEN by seed, and GREEN of two floors by seed
    "3B": [(10.0, 4.0, 6.0), (12.0, 4.0, 8.0)],
    "8B": [(20.0, 4.0, 5.0), (22.0, 4.0, 5.0)],
}


def results(test_sets: tuple[str, str] = ("a", "a"), num_scans: int | None = 9) -> AblationResults:
    cells = []
    for size, seeds in SCORES.items():
        runs = tuple(
            AblationRun(
                seed=seed,
                metrics={"GREEN inspect": own, "GREEN_normal inspect": normal, "GREEN_nearest inspect": nearest},
                num_scans=num_scans,
                seconds={},
                test_set=test_sets[seed],
            )
            for seed, (own, normal, nearest) in enumerate(seeds)
        )
        summary = {"GREEN inspect": summarize([run.metrics["GREEN inspect"] for run in runs])}
        cells.append(CellResults({"size": size, "grid": "nr"}, summary, runs, {}))
    axes = {"size": tuple(SCORES), "grid": ("nr",)}
    panel = PanelResults("Sizes", axes, tuple(cells), {}, PaperOrder())
    own = {"seeds": (0, 1), "score": "GREEN inspect", "metrics": ("GREEN inspect",), "error_bars": "std"}
    return AblationResults(name="g", title="G", panels=(panel,), num_runs=4, seconds=1.0, versions={}, **own)


def test_a_floor_is_the_highest_mean_over_seeds_of_any_cell():
    (panel,) = results().panels
    assert floor_value(panel.cells, "GREEN inspect", "normal") == 4.0
    assert floor_value(panel.cells, "GREEN inspect", "nearest") == 7.0  # the mean of 6 and 8, not of 5 and 5
    assert floor_value(panel.cells, "GREEN inspect", "blank") is None
    assert highest_floor(panel.cells, "GREEN inspect") == ("nearest training report", 7.0)


def test_the_table_has_the_floors_below_the_cells_and_names_those_it_lacks():
    shown = results()
    text = panel_markdown(shown, shown.panels[0])
    assert "| floor: constant normal report |  | 4.000 |  |" in text
    assert "| floor: nearest training report |  | 7.000 |  |" in text
    assert text.index("| 8B |") < text.index("| floor:")
    assert "Floors that were not computed here: most frequent report, label to text, blank image" in text
    assert build_table(shown, shown.panels[0]).row_count == 4


def test_the_figure_has_a_dashed_line_at_the_highest_floor():
    shown = results()
    ax = Figure().subplots()
    draw_panel(ax, *divide(shown.panels[0])[0], shown.score)
    (line,) = (line for line in ax.lines if line.get_linestyle() == "--")
    assert list(line.get_ydata()) == [7.0, 7.0]
    told = " ".join(heading(shown, 8.0).split("\n"))
    assert "dashed: the highest floor, nearest training report" in told and "not computed here: most frequent" in told


def test_grids_that_score_no_reports_have_no_word_of_floors():
    shown = results(num_scans=None)
    assert "not computed" not in panel_markdown(shown, shown.panels[0])


def test_runs_of_different_test_sets_are_told_apart():
    assert different_test_sets(results().panels[0]) == ""
    assert different_test_sets(results(("", "")).panels[0]) == ""
    told = different_test_sets(results(("a", "b")).panels[0])
    assert told.startswith("NOT ONE TEST SET") and told in panel_markdown(
        results(("a", "b")), results(("a", "b")).panels[0]
    )


def test_the_mean_of_the_clinical_metrics_is_there_for_every_floor():
    names = ("GREEN", "RaTEScore", "RadGraph-XL partial")
    scores = {name: 30.0 + at for at, name in enumerate(names)} | {
        f"{name}_normal": 10.0 + at for at, name in enumerate(names)
    }
    average = with_average(scores)
    assert average["Avg. clinical"] == pytest.approx(31.0) and average["Avg. clinical_normal"] == pytest.approx(11.0)
    assert "Avg. clinical_blank" not in average
    assert "BLEU-1_label_to_text" in known_scores({})
