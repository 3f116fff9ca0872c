"""Write the runs file of a grid that compares systems, so that Table 2, figure 7 and the reader study can be made."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from argus_processing.storage.whole_files import write_text
from argus_training.ablations.ablation_grid import Cell, Grid
from argus_training.ablations.ablation_recipes import ReportRecipe

from ..benchmark.run_list import RESOLUTIONS, label_of
from .ablation_scores import Evaluation, score_folder

COMPARED = ("system", "size", "resolution")  # axes whose values a runs file names
NEEDED = {"system", "resolution"}


def compares_systems(grid: Grid) -> bool:
    """Return whether a grid has a panel of systems at resolutions."""
    return any(NEEDED <= set(panel.axes) for panel in grid.panels)


def compared_names(grid: Grid) -> list[str]:
    """Return the names of a grid's systems, such as Argus-8B nr.

    Raises:
        ValueError: if a resolution has another name than a runs file may have.
    """
    every = [cell.values for cell in _compared_cells(grid)]
    if strange := next((values["resolution"] for values in every if values["resolution"] not in RESOLUTIONS), None):
        raise ValueError(f"the axis resolution has {' and '.join(RESOLUTIONS)}, not {strange}")
    labels = (f"{label_of(values['system'], values.get('size', ''))} {values['resolution']}" for values in every)
    return list(dict.fromkeys(labels))


def _compared_cells(grid: Grid) -> list[Cell]:
    return [cell for panel in grid.panels if NEEDED <= set(panel.axes) for cell in panel.cells]


def write_runs(grid: Grid, seeds: Sequence[int], out: Path, scores: Path, steps: Path) -> None:
    """Write `out`, the runs file of a grid's systems: for each, every subset's evaluation with these seeds.

    Folders are relative to the file.
    """
    cells = _compared_cells(grid)
    runs = [run for seed in seeds for cell in cells for run in _runs_of(cell, seed, out, scores, steps)]
    write_text(out, yaml.safe_dump({"runs": runs}, sort_keys=False))


def _runs_of(cell: Cell, seed: int, out: Path, scores: Path, steps: Path) -> Iterator[dict[str, Any]]:
    own = score_folder(cell.settings, seed, scores)
    names = {axis: cell.values[axis] for axis in COMPARED if axis in cell.values}
    for folder in Evaluation(ReportRecipe(**cell.settings), own, steps).folders.values():
        yield names | {"seed": seed, "folder": os.path.relpath(folder, out.parent)}
