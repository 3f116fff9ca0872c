"""Train the cells of an ablation's grid.

accelerate launch training/ablate.py --config training/recipes/ablations/figure3.yaml --output_dir runs/figure3 \
    --base training/recipes/ablations/ct3drrg.yaml

The same command started again continues an interrupted run. `--step NAME` trains one step of the grid, with those that
it needs; `argus reproduce` gives each step such a command. `argus ablate` scores the cells, and trains those that are
not trained yet.
"""

import argus_training.program_start  # noqa: F401 - before any library reads the number of threads

# isort: split

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import PartialState

from argus_training.ablations.ablation_grid import Cell, Grid, read_grid
from argus_training.ablations.ablation_steps import Step, last_step, run_step
from argus_training.recipe_command import run_command

STEPS = "steps"


def planned(grid: Grid) -> Iterator[tuple[Cell, int]]:
    """Return every cell with every seed, sorted by seed, so that a grid that is stopped early still compares cells."""
    for seed in grid.seeds:
        for cell in grid.cells():
            yield cell, seed


def train_cell(cell: Cell, seed: int, steps: Path) -> tuple[Step, Path]:
    """Train a cell with a seed, unless that is done already; return its last step and its model folder."""
    step = last_step(cell.settings, seed)
    return step, run_step(step, steps)


def steps_of(grid: Grid) -> dict[str, Step]:
    """Return every step of a grid by its name, each after those that it needs."""
    steps = (step for cell, seed in planned(grid) for step in last_step(cell.settings, seed).with_needs())
    return {step.name: step for step in steps}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the grid, a YAML")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--base", type=Path, help="another base recipe than the grid names")
    parser.add_argument("--step", help="train only this step, which is named as its folder, and those that it needs")
    return parser


def main() -> None:
    """Parse the command line and train all cells, or one step."""
    arguments = build_parser().parse_args()
    # Must come before anything asks for the rank: otherwise, on a CPU, each process takes itself for the only one.
    PartialState(cpu=not torch.accelerator.is_available())
    run_command("ablate.py", lambda: train_grid(**vars(arguments)))


def train_grid(config: Path, base: Path | None, output_dir: Path, step: str | None = None) -> None:
    """Train every cell of a grid with every seed, or only one step, except those that are trained already.

    Raises:
        ValueError: if the grid trains nothing or has no such step, or as `run_step`.
    """
    grid = read_grid(config, base)
    if grid.kind != "reports":
        raise ValueError(f"{config}: nothing to train; score it with argus ablate")
    if step is not None:
        known = steps_of(grid)
        if step not in known:
            raise ValueError(f"{config}: has no step {step} with this base recipe")
        run_step(known[step], output_dir / STEPS)
        return
    for cell, seed in planned(grid):
        train_cell(cell, seed, output_dir / STEPS)


if __name__ == "__main__":
    main()
