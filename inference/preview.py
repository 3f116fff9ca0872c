"""Draw a scan in three planes with its report beside it, laid out as on a radiology workstation."""

import textwrap
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from argus_processing.storage.whole_files import whole_file

WIDTH_IN, HEIGHT_IN, DPI = 16.0, 5.2, 120
PLANES_WIDTH_IN = 10.0
INK, QUIET, GROUND = "#f2f2f2", "#9aa5b1", "#101418"
FONT_SIZES = (11, 10, 9, 8, 7, 6)
TEXT_LEFT, TEXT_TOP, TEXT_BOTTOM = 0.7, 0.9, 0.07  # figure fractions
NOTICE = "Research software, not a medical device. The text was written by a model and may be wrong."


@dataclass(frozen=True)
class Window:
    """A display window in HU: `level` is its middle, `width` its whole extent."""

    name: str
    level: float
    width: float

    @property
    def label(self) -> str:
        """Return the text that a workstation prints: name, width and level."""
        return f"{self.name} window  W {self.width:.0f}  L {self.level:.0f} HU"


LUNG = Window("lung", -600.0, 1500.0)
SOFT = Window("soft tissue", 40.0, 400.0)
MEDIASTINUM = Window("mediastinum", 50.0, 350.0)
BONE = Window("bone", 400.0, 1800.0)
BRAIN = Window("brain", 40.0, 80.0)
LUNG_HU = (-950.0, -500.0)
LUNG_SHARE = 0.05


def choose_window(hu: np.ndarray) -> Window:
    """Choose the lung window if at least 5% of the middle of the body is as dense as lung, else soft tissue."""
    _, height, width = hu.shape
    # The outer quarters hold the air and the blankets around the patient.
    sample = hu[:, height // 4 : height - height // 4 : 2, width // 4 : width - width // 4 : 2]
    share = np.mean((sample > LUNG_HU[0]) & (sample < LUNG_HU[1]))
    return LUNG if share >= LUNG_SHARE else SOFT


@dataclass(frozen=True)
class Plane:
    """One slice as shown: `pixels`, first row on top; `aspect`, a pixel's height / width; letters at the edges."""

    name: str
    pixels: np.ndarray
    aspect: float
    left: str
    right: str
    top: str
    bottom: str


PLANES = ("axial", "coronal", "sagittal")  # cut across D, H and W


def cut_plane(hu: np.ndarray, spacing_mm: tuple[float, float, float], name: str, index: int) -> Plane:
    """Cut one slice out of a canonical volume, feet down.

    `hu` is `(D, H, W)` with D toward the head, H toward the back, W toward the patient's left. So W already has the
    direction of the picture, with the patient's right on the left, and only D has to be turned over. The edges have
    the letters of DICOM: Right, Left, Anterior, Posterior, Head, Feet.

    Raises:
        ValueError: if there is no such plane or slice.
    """
    if name not in PLANES or not 0 <= index < hu.shape[PLANES.index(name)]:
        raise ValueError(f"no slice {index} of plane {name!r} in a volume of shape {hu.shape}")
    depth, height, width = spacing_mm
    if name == "axial":
        return Plane(name, hu[index], height / width, "R", "L", "A", "P")
    if name == "coronal":
        return Plane(name, hu[::-1, index, :], depth / width, "R", "L", "H", "F")
    return Plane(name, hu[::-1, :, index], depth / height, "A", "P", "H", "F")


def middle_planes(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[Plane]:
    """Cut the middle axial, coronal and sagittal slices out of a canonical volume; see `cut_plane`."""
    return [cut_plane(hu, spacing_mm, name, side // 2) for name, side in zip(PLANES, hu.shape, strict=True)]


def save_preview(volume: Any, report: str, out: Path) -> None:
    """Save a PNG of a `CTVolume`'s three middle planes with `report` beside them; no half-written file can remain.

    A report that is too long for the picture is cut, and the picture says how many lines are missing.

    Raises:
        ValueError: if `out` does not end in `.png`.
    """
    if Path(out).suffix.lower() != ".png":
        raise ValueError(f"{out}: the preview is a PNG; give a name that ends in .png")
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=GROUND)
    FigureCanvasAgg(figure)
    window = choose_window(volume.hu)
    planes = middle_planes(volume.hu, volume.spacing_mm)
    axes = figure.subplots(
        1, 3, gridspec_kw={"left": 0.015, "right": TEXT_LEFT - 0.025, "top": 0.88, "bottom": 0.07, "wspace": 0.04}
    )
    for plane, ax in zip(planes, axes, strict=True):
        draw_plane(ax, plane, window)
    _draw_report(figure, report)
    figure.text(0.015, 0.95, f"Argus   {window.label}", color=INK, fontsize=11, va="center")
    figure.text(0.015, 0.025, NOTICE, color=QUIET, fontsize=8, va="center")
    with whole_file(Path(out)) as part:
        figure.savefig(part, facecolor=GROUND)


def draw_planes(volume: Any) -> bytes:
    """Draw a `CTVolume`'s three middle planes side by side; return a PNG, the same for the same volume."""
    figure = Figure(figsize=(PLANES_WIDTH_IN, PLANES_WIDTH_IN * 0.36), dpi=DPI, facecolor=GROUND)
    FigureCanvasAgg(figure)
    window = choose_window(volume.hu)
    axes = figure.subplots(1, 3, gridspec_kw={"left": 0.01, "right": 0.99, "top": 0.86, "bottom": 0.02, "wspace": 0.03})
    for plane, ax in zip(middle_planes(volume.hu, volume.spacing_mm), axes, strict=True):
        draw_plane(ax, plane, window)
    figure.text(0.01, 0.96, window.label, color=INK, fontsize=9, va="center")
    file = BytesIO()
    figure.savefig(file, format="png", facecolor=GROUND)
    return file.getvalue()


def draw_plane(ax: Axes, plane: Plane, window: Window) -> None:
    """Draw one slice with its name above it and the letters of the patient's sides at its edges."""
    low, high = window.level - window.width / 2, window.level + window.width / 2
    ax.imshow(plane.pixels, cmap="gray", vmin=low, vmax=high, aspect=plane.aspect, interpolation="bilinear")
    ax.set_title(plane.name.title(), color=QUIET, fontsize=10)
    ax.set_anchor("N")
    ax.set_axis_off()
    edges = {
        plane.left: (0.025, 0.5, "left", "center"),
        plane.right: (0.975, 0.5, "right", "center"),
        plane.top: (0.5, 0.975, "center", "top"),
        plane.bottom: (0.5, 0.025, "center", "bottom"),
    }
    for letter, (x, y, horizontal, vertical) in edges.items():
        text = ax.text(x, y, letter, transform=ax.transAxes, ha=horizontal, va=vertical, color="#ffd166", fontsize=11)
        text.set_path_effects([withStroke(linewidth=3, foreground=GROUND)])


def _draw_report(figure: Figure, report: str) -> None:
    """Write the report in the largest font size that shows all of it."""
    figure.text(TEXT_LEFT, 0.95, "Report", color=INK, fontsize=11, weight="bold", va="center")
    for size in FONT_SIZES:
        lines, room = _wrap(report, size), _num_lines(size)
        if len(lines) <= room:
            break
    else:
        left_out = len(lines) - (room - 1)
        lines = [*lines[: room - 1], f"[... {left_out} more lines]"]
    # Math is not parsed: a report may hold a dollar sign or a caret.
    figure.text(
        TEXT_LEFT, TEXT_TOP, "\n".join(lines), color=INK, fontsize=size, va="top", linespacing=1.4, parse_math=False
    )


def _wrap(report: str, font_size: int) -> list[str]:
    """Wrap a report to the width of the text column at a font size; its own line ends stay."""
    # A sans-serif letter is about 0.52 of the font size wide; 72 points to the inch.
    num_letters = int((0.985 - TEXT_LEFT) * WIDTH_IN * 72 / (0.52 * font_size))
    paragraphs = report.strip().splitlines() or ["(empty report)"]
    return [line for paragraph in paragraphs for line in textwrap.wrap(paragraph, num_letters) or [""]]


def _num_lines(font_size: int) -> int:
    """Return how many lines of a font size the text column holds."""
    return int((TEXT_TOP - TEXT_BOTTOM) * HEIGHT_IN * 72 / (1.45 * font_size))
