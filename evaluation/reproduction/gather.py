"""Put the tables and figures of a reproduction into one folder, under the names that they have in the paper."""

import os
from collections.abc import Iterator
from pathlib import Path

from argus_processing.curation.dataset_card import FIGURE
from argus_processing.curation.overview.table1 import TABLE1_FILE
from argus_processing.storage.whole_files import make_folder, write_text, write_whole
from argus_training.ablate import STEPS
from argus_training.ablations.ablation_steps import last_step, model_of

from ..ablations.ablation import FIGURE_FILE, TABLE_FILE
from .jobs import INDEX, PlannedGrid, data_folder, read_grids
from .paper_plan import PaperPlan

PHANTOMS = "Made from phantoms, not patients: the numbers show that the chain runs, not how good a system is."
# name in the folder -> what it is; a grid adds its own
CONTENT = {
    "table1.md": "Table 1: the data set beside the paper's",
    "table2.md": "Table 2: all systems beside the paper's",
    "table4.md": "Table 4: the reader study beside the paper's",
    "figure2.png": "figure 2: words and lengths of the reports",
    "figure7.html": "figure 7: reports beside the truth",
}


def gather(plan: PaperPlan, out: Path) -> Path:
    """Copy each result that is there into `out`, with the model cards; return the list of them, which is written last.

    Each file is there whole or not at all.
    """
    grids = read_grids(plan, out)
    for source, name in (*_copies(plan, grids), *_cards(grids, out)):
        if source.is_file():
            make_folder((out / name).parent)
            write_whole(out / name, source.read_bytes())
    write_text(out / INDEX, _index(plan, grids, out))
    return out / INDEX


def _copies(plan: PaperPlan, grids: list[PlannedGrid]) -> Iterator[tuple[Path, str]]:
    data = data_folder(plan)
    yield data / TABLE1_FILE, "table1.md"
    yield data / FIGURE, "figure2.png"
    for planned in grids:
        if not planned.compares_systems:
            yield planned.out / FIGURE_FILE, f"{planned.grid.name}.png"


def _cards(grids: list[PlannedGrid], out: Path) -> Iterator[tuple[Path, str]]:
    """Yield the card of each compared system's model, of the first seed."""
    for planned in grids:
        for cell in planned.grid.cells() if planned.compares_systems else ():
            model = model_of(last_step(cell.settings, planned.grid.seeds[0]), out / STEPS)
            yield model / "README.md", f"cards/{'-'.join(cell.values.values())}.md".replace(" ", "-").lower()


def _index(plan: PaperPlan, grids: list[PlannedGrid], out: Path) -> str:
    figures = [one.grid for one in grids if not one.compares_systems]
    content = CONTENT | {f"{grid.name}.png": f"{grid.name}: {grid.title}" for grid in figures}
    lines = [f"- [{name}]({name}): {told}" for name, told in sorted(content.items()) if (out / name).exists()]
    tables = [f"- [{one.grid.name}]({os.path.relpath(one.out / TABLE_FILE, out)}): {one.grid.title}" for one in grids]
    parts = ["# The paper's tables and figures", *([PHANTOMS] if plan.prepare.phantoms else []), "\n".join(lines)]
    parts += ["Every cell of the grids, with its deviation over seeds:", "\n".join(tables)]
    return "\n\n".join(parts) + "\n"
