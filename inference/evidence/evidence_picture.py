"""Draw the evidence for a report: for every sentence with a map, the transverse slice of its peak."""

import textwrap
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from argus_processing.ct_volume import CTVolume
from argus_processing.storage.whole_files import whole_file

from ..preview import DPI, GROUND, INK, NOTICE, QUIET, choose_window, cut_plane, draw_plane
from .evidence import Evidence, SentenceEvidence

COLUMNS = 4
MOST_PICTURES = 16
PANEL_IN, TEXT_IN = 3.6, 0.9
LEAST_SHOWN = 0.15  # of a map's peak; less is transparent
LETTERS_A_LINE = 44


def save_evidence_picture(volume: CTVolume, evidence: Evidence, out: Path) -> None:
    """Save a PNG with a panel for each sentence that has a map, at most 16; the rest are listed below them."""
    numbered = list(enumerate(evidence.sentences, start=1))
    mapped = [(number, each) for number, each in numbered if each.peak is not None]
    told = [f"{number}. {each.text} ({each.reason})" for number, each in numbered if each.peak is None]
    told += [f"{number}. {each.text} (not drawn)" for number, each in mapped[MOST_PICTURES:]]
    lines = [line for text in told for line in textwrap.wrap(text, 170)]
    foot = 0.5 + 0.2 * (len(lines) + 1)
    height = ceil(len(mapped[:MOST_PICTURES]) / COLUMNS) * (PANEL_IN + TEXT_IN) + foot
    figure = Figure(figsize=(COLUMNS * PANEL_IN + 0.4, height), dpi=DPI, facecolor=GROUND)
    FigureCanvasAgg(figure)
    for place, (number, sentence) in enumerate(mapped[:MOST_PICTURES]):
        row, column = divmod(place, COLUMNS)
        corner = 0.2 + column * PANEL_IN, height - (row + 1) * (PANEL_IN + TEXT_IN) + TEXT_IN
        _draw_panel(figure, corner, volume, evidence, number, sentence)
    heading = "\n".join(["Sentences without a map:", *lines] if lines else ["Every sentence has a map."])
    figure.text(0.015, (foot - 0.1) / height, heading, color=QUIET, fontsize=8, va="top", parse_math=False)
    figure.text(0.015, 0.1 / height, f"{NOTICE} Maps were validated on phantoms only.", color=QUIET, fontsize=8)
    with whole_file(Path(out)) as part:
        figure.savefig(part, facecolor=GROUND, format="png")


def _draw_panel(
    figure: Figure,
    corner: tuple[float, float],
    volume: CTVolume,
    evidence: Evidence,
    number: int,
    sentence: SentenceEvidence,
) -> None:
    """Draw the slice of a sentence's peak with its map, and its text below; the lower left corner is in inches."""
    peak = sentence.peak
    values = None if peak is None else evidence.slice_of(sentence, peak.index[0])
    if values is None or peak is None:
        return
    left, bottom = corner
    width, height = figure.get_figwidth(), figure.get_figheight()
    side = PANEL_IN - 0.15
    ax = figure.add_axes((left / width, bottom / height, side / width, side / height))
    depth, row, column = peak.index
    plane = cut_plane(volume.hu, volume.spacing_mm, "axial", depth)
    draw_plane(ax, plane, choose_window(volume.hu))
    relative = np.ma.masked_less(values / max(float(values.max()), 1e-30), LEAST_SHOWN)
    ax.imshow(relative, "inferno", aspect=plane.aspect, interpolation="bilinear", alpha=0.5, vmin=0, vmax=1)
    ax.plot(column, row, marker="+", color="#4cc9f0", markersize=12, markeredgewidth=1.5)
    text = textwrap.wrap(f"{number}. {sentence.text}", LETTERS_A_LINE)[:3]
    text.append(f"{sentence.support:.1f} nats, slice {depth + 1} of {volume.hu.shape[0]}")
    below = (bottom - 0.05) / height
    figure.text(left / width, below, "\n".join(text), color=INK, fontsize=8, va="top", parse_math=False)
