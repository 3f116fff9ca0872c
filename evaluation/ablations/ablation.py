"""Run a whole ablation: every cell of a grid with every seed once, then a JSON file, a table and a figure."""

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from argus_inference.console.terminal import show, terminal
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.typed_json import from_json
from argus_processing.storage.whole_files import write_text
from argus_training.ablate import STEPS, planned
from argus_training.ablations.ablation_grid import Cell, Grid, Panel, key_of, read_grid

from ..floors.floor_list import choose_floors
from .ablation_figure import save_figure
from .ablation_results import (
    ABLATION_FILE,
    AblationResults,
    AblationRun,
    CellResults,
    PanelResults,
    PaperOrder,
    write_kept,
)
from .ablation_scores import LOWER_IS_BETTER, known_scores, score_folder, score_training
from .ablation_statistics import order_of, summarize
from .ablation_table import build_table, markdown, notes
from .compared_systems import compares_systems, write_runs
from .nodule_contrast import score_nodules

# kind of a grid -> function (settings, seed, folder of the scores, folder of the trainings)
MEASURES: dict[str, Callable[[dict[str, Any], int, Path, Path], AblationRun]] = {
    "reports": score_training,
    "nodules": score_nodules,
}
TABLE_FILE, FIGURE_FILE, RUNS_FILE = "table.md", "figure.png", "runs.yaml"
FIRST_RUNS_FILE = "runs_first_seed.yaml"
SCORES = "scores"
Runs = dict[str, dict[int, AblationRun]]  # by key of the cell's settings and by seed
LIBRARIES = ("torch", "transformers", "trl", "accelerate", "datasets", "numpy")
ERROR_BARS = {
    "reports": "mean and sample standard deviation over training seeds, on one test set",
    "nodules": "mean and sample standard deviation over draws of places and noise",
}


def run_ablation(
    path: Path, out: Path, base: Path | None = None, steps: Path | None = None, scores: Path | None = None
) -> AblationResults:
    """Train and score all cells of a grid, and write the results.

    Writes under `out`: `results.json`, `table.md`, `figure.png`, and the scores of every run; if the grid compares
    systems, also `runs.yaml` and, of the first seed only, `runs_first_seed.yaml`. When started again after an
    interruption, it goes on with the first run that is not finished.

    Args:
        path: the grid's YAML.
        out: folder to write.
        base: base recipe that replaces the grid's own, such as the one for CT-3DRRG.
        steps: folder of the trainings, which several grids can share. Default: `out`/steps.
        scores: folder of the scores, which several grids can share. Default: `out`/scores.

    Raises:
        ValueError: if the grid or the recipe is wrong, or `out` holds another grid's results.
    """
    grid = read_grid(path, base)
    out = Path(out)
    _check_own(out, grid)
    with claimed_folder(out):
        return _run(grid, out, steps or out / STEPS, scores or out / SCORES)


def score_run(
    path: Path, out: Path, run: str, base: Path | None = None, steps: Path | None = None, scores: Path | None = None
) -> AblationRun:
    """Score one run of a grid, and train it first if that is left; tables and figure are left to `run_ablation`.

    Args:
        path: the grid's YAML.
        out, base, steps, scores: see `run_ablation`.
        run: name of the folder of its scores, as `argus reproduce` tells it.

    Raises:
        ValueError: if the grid has no such run, or as `run_ablation`.
    """
    grid = read_grid(path, base)
    scores = scores or Path(out) / SCORES
    for cell, seed in planned(grid) if grid.kind == "reports" else ():
        if score_folder(cell.settings, seed, scores).name == run:
            return score_training(cell.settings, seed, scores, steps or Path(out) / STEPS)
    raise ValueError(f"{path}: has no run {run} with this base recipe")


def _run(grid: Grid, out: Path, steps: Path, scores: Path) -> AblationResults:
    """Do every run that is not finished, and write the results of all runs."""
    check_scores(grid, grid.name)
    console = terminal(stderr=True)
    runs: Runs = {}
    plan = list(planned(grid))
    started = time.monotonic()
    for number, (cell, seed) in enumerate(plan, start=1):
        console.rule(f"[bold]{number} of {len(plan)}: {cell.name}, seed {seed}")
        run = MEASURES[grid.kind](cell.settings, seed, scores, steps)
        runs.setdefault(key_of(cell.settings), {})[seed] = run
        _check_metrics(grid, run)
    results = replace(collect(grid, runs), seconds_of_this_start=round(time.monotonic() - started, 1))
    write_kept(out / ABLATION_FILE, results)
    write_text(out / TABLE_FILE, markdown(results))
    if compares_systems(grid):
        write_runs(grid, grid.seeds, out / RUNS_FILE, scores, steps)
        write_runs(grid, grid.seeds[:1], out / FIRST_RUNS_FILE, scores, steps)
    save_figure(results, out / FIGURE_FILE)
    for panel in results.panels:
        show(build_table(results, panel))
        terminal().print(*notes(results, panel), sep="\n")
    return results


def _check_own(out: Path, grid: Grid) -> None:
    """Refuse a folder with another grid's results, before anything is trained."""
    advice = "choose another folder (--steps shares the trainings)"
    name = {"name": grid.name}
    claim_for_settings(out / ABLATION_FILE, name, settings_in=lambda content: {"name": content["name"]}, advice=advice)


def check_scores(grid: Grid, where: str) -> None:
    """Check the names of a grid's score, columns and floors before anything is trained.

    Raises:
        ValueError: beginning with `where`, if an evaluation of its cells gives no such score; or if there is no such
            floor.
    """
    for cell in grid.cells() if grid.kind == "reports" else ():
        evaluation = cell.settings.get("evaluation", {})
        choose_floors(evaluation.get("floors", ()))
        known = known_scores(evaluation)
        if missing := sorted({grid.score, *grid.metrics} - known):
            near = difflib.get_close_matches(missing[0], sorted(known), n=1)
            advice = f"did you mean {near[0]}?" if near else "take names of a results.json, or ask for their metric"
            raise ValueError(f"{where}: its evaluation gives no score {', '.join(missing)}; {advice}")


def _check_metrics(grid: Grid, run: AblationRun) -> None:
    if missing := [name for name in grid.metrics if name not in run.metrics]:
        raise ValueError(f"{grid.name}: no such metric: {', '.join(missing)}; known: {', '.join(run.metrics)}")


def collect(grid: Grid, runs: Runs) -> AblationResults:
    """Convert a grid's runs into the form that is saved, drawn and printed."""
    every = [run for by_seed in runs.values() for run in by_seed.values()]
    seconds = {step: cost for run in every for step, cost in run.seconds.items() if cost is not None}
    return AblationResults(
        name=grid.name,
        title=grid.title,
        seeds=grid.seeds,
        score=grid.score,
        metrics=grid.metrics,
        error_bars=ERROR_BARS[grid.kind],
        panels=tuple(_panel(grid, panel, runs) for panel in grid.panels),
        num_runs=len(every),
        # A training that several cells share is counted once.
        seconds=round(sum(seconds.values()), 1),
        versions={name: version(name) for name in LIBRARIES},
    )


def _panel(grid: Grid, panel: Panel, runs: Runs) -> PanelResults:
    cells = tuple(_cell(grid, cell, runs[key_of(cell.settings)]) for cell in panel.cells)
    axes = {axis: tuple(values) for axis, values in panel.axes.items()}
    measured = {axis: order_of(_scores_by(axis, cells, grid.score), grid.score not in LOWER_IS_BETTER) for axis in axes}
    return PanelResults(panel.title, axes, cells, measured, from_json(PaperOrder, panel.paper, "paper"), panel.ours)


def _cell(grid: Grid, cell: Cell, by_seed: dict[int, AblationRun]) -> CellResults:
    summary = {name: summarize([run.metrics[name] for run in by_seed.values()]) for name in grid.metrics}
    runs = tuple(replace(run, seed=seed) for seed, run in by_seed.items())
    return CellResults(cell.values, summary, runs, cell.settings)


def _scores_by(axis: str, cells: Sequence[CellResults], score: str) -> dict[str, dict[int, float]]:
    """Return the score of every value of an axis by seed, averaged over the other axes."""
    found: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        for run in cell.runs:
            value = run.metrics[score]
            if value is not None and run.seed is not None:
                found.setdefault(cell.values[axis], {}).setdefault(run.seed, []).append(value)
    return {
        value: {seed: sum(scores) / len(scores) for seed, scores in by_seed.items()} for value, by_seed in found.items()
    }
