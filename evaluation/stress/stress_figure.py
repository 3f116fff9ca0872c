"""Draw the results of the stress test as heat maps: metrics by errors, and what harmless changes cost."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from argus_processing.storage.whole_files import whole_file

from .changes import ERRORS, HARMLESS
from .stress_results import StressResults
from .stress_table import scored_metrics

FIGURE_FILE = "stress.png"
WIDTH_IN, ROW_IN, REST_IN, DPI = 11.0, 0.32, 1.9, 150
LONGEST_NAME = 34  # letters
DARK_BELOW = 0.4  # mean of a colour's parts, from 0 to 1
COSTLIEST = 0.3  # share of the score at which the colour of a cost is darkest


def save_stress_figure(folder: Path, results: StressResults) -> None:
    """Draw `stress.png` into a folder: the AUC within references, and the mean drop by harmless changes."""
    scored = scored_metrics(results)
    areas = np.array([[_known(metric.errors[kind].within.value) for kind in ERRORS] for metric in scored.values()])
    costs = np.array([[_known(metric.harmless[kind].drop.value) for kind in HARMLESS] for metric in scored.values()])
    figure = Figure(figsize=(WIDTH_IN, ROW_IN * len(scored) + REST_IN), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(len(ERRORS), len(HARMLESS)), sharey=True)
    _draw(left, areas.reshape(-1, len(ERRORS)), tuple(ERRORS), "{:.2f}", "RdYlGn", (0.0, 1.0))
    _draw(right, costs.reshape(-1, len(HARMLESS)), tuple(HARMLESS), "{:.1%}", "Oranges", (0.0, COSTLIEST))
    left.set_yticks(range(len(scored)), [_shortened(name) for name in scored])
    left.set_title("broken ranked below harmless (AUC within references; 0.5 is chance)", fontsize=9)
    right.set_title("mean drop by harmless changes", fontsize=9)
    with whole_file(Path(folder) / FIGURE_FILE) as part:
        figure.savefig(part)


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def _draw(
    ax: Axes, values: np.ndarray, columns: tuple[str, ...], form: str, colors: str, limits: tuple[float, float]
) -> None:
    """Draw values `(rows, columns)` as coloured cells with their numbers; a missing one is left blank."""
    image = ax.imshow(values, cmap=colors, vmin=limits[0], vmax=limits[1], aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right", fontsize=8)
    ax.tick_params(axis="y", labelsize=8)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            is_dark = np.mean(image.to_rgba(value)[:3]) < DARK_BELOW
            text = form.format(value + 0.0)
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if is_dark else "black")
