"""Draw the effects of an audit with their intervals, and by finding."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from argus_processing.storage.whole_files import whole_file

from .audit_effects import Effect
from .audit_results import AuditResults

WIDTH_IN, ROW_IN, DPI = 11.0, 0.3, 130
INK, MAIN, QUIET = "#1b2733", "#1f6f54", "#7b8794"
# name in the results -> row of the figure and of the page's table
EFFECTS = {
    "paired_effect": "paired effect",
    "drawn_effect": "drawn minus not drawn",
    "elsewhere_effect": "change elsewhere",
    "beyond_another_finding": "beyond another finding",
    "beyond_the_same_change_elsewhere": "beyond the same change elsewhere",
    "beyond_the_same_values_scattered": "beyond the same values scattered",
    "removal_effect": "paired effect, removed findings",
    "insertion_effect": "paired effect, inserted findings",
    "other_patient_effect": "against other patients",
    "side_following": "side following",
    "cross_label_change": "other labels that change",
    "text_change": "reports that change",
}


def save_audit_figure(results: AuditResults, out: Path) -> None:
    """Draw the effects, and beside them the paired effect of each finding, as a PNG."""
    named = {EFFECTS[name]: effect for name, effect in results.effects.items() if name in EFFECTS}
    ordered = {label: named[label] for label in EFFECTS.values() if label in named}
    height = 1.4 + ROW_IN * max(len(ordered), len(results.by_finding))
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    draw_effects(left, ordered)
    draw_effects(right, results.by_finding)
    left.set_title("statements against the image", fontsize=10, color=INK)
    right.set_title("paired effect by finding", fontsize=10, color=INK)
    figure.suptitle(f"{results.model}: {results.verdict}", fontsize=12, color=INK, parse_math=False)
    with whole_file(out) as part:
        figure.savefig(part)


def draw_effects(ax: Axes, effects: Mapping[str, Effect]) -> None:
    """Draw one row for each effect: a dot with its interval; the first row is the strongest in colour."""
    for row, effect in enumerate(effects.values()):
        if effect.value is None or effect.low is None or effect.high is None:
            continue
        color = MAIN if row == 0 else INK
        ax.plot([effect.low, effect.high], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
        ax.plot(effect.value, row, "o", color=color, markersize=5.5)
    ax.axvline(0, color=QUIET, linewidth=0.9, zorder=0)
    ax.set_yticks(range(len(effects)), list(effects), fontsize=8.5, color=INK)
    ax.set_ylim(len(effects) - 0.4, -0.6)
    ax.set_xlim(-1.05, 1.05)
    ax.tick_params(axis="x", labelsize=8)
    ax.grid(axis="x", color="#e4e8ec", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
