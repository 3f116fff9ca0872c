"""Draw an ablation in the paper's layout: panels side by side, a bar or point with error bar for each cell."""

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from argus_processing.storage.whole_files import whole_file

from .ablation_floors import highest_floor, lacking_floors
from .ablation_results import AblationResults, CellResults, PanelResults

PANEL_IN, HEIGHT_IN, DPI = 4.4, 3.8, 150
COLORS = ("#3b6ea5", "#d98032", "#5a9e6f", "#a0527f", "#8a8a8a", "#c9b037")
FLOOR_COLOR = "#444444"
TITLE_SIZE, LETTERS_PER_IN = 9, 14
Names = dict[str, tuple[str, ...]]  # of the values of each axis
Plot = tuple[str, Names, tuple[CellResults, ...]]  # title, axes, cells
GROUP_WIDTH = 0.8  # of the distance between two places on the x axis


def save_figure(results: AblationResults, out: Path) -> None:
    """Draw `results` (see `ablation.collect`) as a PNG.

    A panel's first axis is on x, drawn as a line if its names are numbers and as bars otherwise. The second axis gives
    the colours. Each value of a third and of a fourth axis has its own plot. Error bars are the sample standard
    deviation over seeds; dots are the single seeds.
    """
    plots = [plot for panel in results.panels for plot in divide(panel)]
    figure = Figure(figsize=(PANEL_IN * len(plots), HEIGHT_IN), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(plots), squeeze=False, sharey=True)[0]
    for ax, (title, names, cells) in zip(axes, plots, strict=True):
        draw_panel(ax, title, names, cells, results.score)
    figure.suptitle(heading(results, figure.get_figwidth()), fontsize=TITLE_SIZE)
    with whole_file(out) as part:
        figure.savefig(part)


def heading(results: AblationResults, width_in: float) -> str:
    """Return the figure's title and the meaning of its bars and dots, in lines that fit its width."""
    shown = f"{results.error_bars}; dots: seeds" if len(results.seeds) > 1 else "one run a cell, no error bars"
    texts = (results.title, shown, *floors_told(results))
    lines = (line for text in texts for line in textwrap.wrap(text, int(LETTERS_PER_IN * width_in)))
    return "\n".join(lines)


def floors_told(results: AblationResults) -> list[str]:
    """Return what the dashed lines are, or which floors the panels of reports lack."""
    every = [floor for panel in results.panels if (floor := highest_floor(panel.cells, results.score))]
    titles = dict.fromkeys(title for title, _ in every)
    lacks = dict.fromkeys(lacking_floors(panel, results.score) for panel in results.panels)
    return [*([f"dashed: the highest floor, {', '.join(titles)}"] if titles else []), *filter(None, lacks)]


def divide(panel: PanelResults) -> list[Plot]:
    """Divide a panel into plots of at most two axes: (title, axes, cells).

    Raises:
        ValueError: if there are more than four axes.
    """
    names, title = panel.axes, f"{panel.title} (ours)" if panel.ours else panel.title
    if len(names) > 4:
        raise ValueError(f"a panel has at most 4 axes, got {', '.join(names)}")
    if len(names) < 3:
        return [(title, names, panel.cells)]
    further = list(names)[2:]
    drawn = {axis: values for axis, values in names.items() if axis not in further}
    plots = []
    for values in itertools.product(*(names[axis] for axis in further)):
        own = dict(zip(further, values, strict=True))
        said = ", ".join(f"{axis}: {value}" for axis, value in own.items())
        cells = tuple(cell for cell in panel.cells if own.items() <= cell.values.items())
        plots.append((f"{title}\n{said}", drawn, cells))
    return plots


def draw_panel(ax: Axes, title: str, axes: Names, cells: Sequence[CellResults], score: str) -> None:
    """Draw cells of one or two axes."""
    first, *second = axes
    series = axes[second[0]] if second else [None]
    places = positions(axes[first])
    for number, name in enumerate(series):
        own = [cell for cell in cells if name is None or cell.values[second[0]] == name]
        draw = _draw_bars if places is None else _draw_line
        at = bar_places(len(own), number, len(series)) if places is None else places
        draw(ax, at, own, score, COLORS[number % len(COLORS)], name, GROUP_WIDTH / len(series))
    if places is None:
        ax.set_xticks(range(len(axes[first])), axes[first], rotation=20 if len(axes[first]) > 3 else 0)
    if floor := highest_floor(cells, score):
        ax.axhline(floor[1], linestyle="--", linewidth=1, color=FLOOR_COLOR)
    ax.set_xlabel(first)
    ax.set_ylabel(score.replace("_", " "))
    ax.set_title(title, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    if second:
        ax.legend(title=second[0], fontsize=7, title_fontsize=7)


def positions(names: Sequence[str]) -> list[float] | None:
    """Read an axis's names as numbers ("0.5", "25%", "3 mm"); return None if one is not a number."""
    try:
        return [float(name.split()[0].rstrip("%")) for name in names]
    except ValueError:
        return None


def bar_places(count: int, number: int, of: int) -> list[float]:
    """Return the x places of the bars of series `number` out of `of`, side by side around whole numbers."""
    return [place + GROUP_WIDTH / of * (number - (of - 1) / 2) for place in range(count)]


def _draw_bars(
    ax: Axes, places: list[float], cells: Sequence[CellResults], score: str, color: str, label: str | None, width: float
) -> None:
    means, stds = _means_and_stds(cells, score)
    ax.bar(places, means, width * 0.9, yerr=stds, capsize=3, color=color, alpha=0.75, label=label)
    _draw_seeds(ax, places, cells, score)


def _draw_line(
    ax: Axes, places: list[float], cells: Sequence[CellResults], score: str, color: str, label: str | None, width: float
) -> None:
    means, stds = _means_and_stds(cells, score)
    ax.errorbar(places, means, yerr=stds, capsize=3, color=color, marker="o", label=label)
    _draw_seeds(ax, places, cells, score)


def _means_and_stds(cells: Sequence[CellResults], score: str) -> tuple[np.ndarray, np.ndarray]:
    """Return means and deviations; a missing one (no score, or a single seed) is NaN, which is not drawn."""
    summaries = [cell.summary[score] for cell in cells]
    means, stds = [summary.mean for summary in summaries], [summary.std for summary in summaries]
    return np.array(means, dtype=float), np.array(stds, dtype=float)  # None becomes NaN


def _draw_seeds(ax: Axes, places: list[float], cells: Sequence[CellResults], score: str) -> None:
    for place, cell in zip(places, cells, strict=True):
        values = [value for run in cell.runs if (value := run.metrics[score]) is not None]
        ax.plot([place] * len(values), values, ".", color="#222222", markersize=4, zorder=3)
