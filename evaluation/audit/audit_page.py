"""Make the page of an audit: verdict, figures, tables and examples in one HTML file that loads nothing."""

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from argus_inference.preview import LUNG, SOFT
from argus_processing import CTVolume

from .audit_figure import EFFECTS, save_audit_figure
from .audit_plan import Plan
from .audit_results import PHANTOMS, AuditResults
from .audit_verdict import shown
from .audited_models import Written
from .redrawn_scans import Spacing, draw_scan
from .statements import read_statements

TEMPLATE = Path(__file__).parent / "audit.html"
NUM_EXAMPLES = 4
AERATED_HU = -500


@dataclass(frozen=True)
class Example:
    """One finding drawn and not drawn: the slice where they differ most, and both reports."""

    label: str
    manner: str
    picture: str
    drawn: str
    bare: str
    states_drawn: bool
    states_bare: bool


def audit_page(results: AuditResults, examples: Sequence[Example]) -> str:
    """Return the HTML page of an audit."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["shown"] = shown
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        results=results,
        effects=[
            (label, results.effects[name], MEANINGS[name]) for name, label in EFFECTS.items() if name in results.effects
        ],
        figure=_figure_of(results),
        examples=examples,
        on_phantoms=results.kind == PHANTOMS,
    )


MEANINGS = {
    "paired_effect": "drawn minus not drawn, minus change elsewhere: the number that decides",
    "drawn_effect": "how much more often a finding is stated when it is drawn than when it is not",
    "elsewhere_effect": "how the same statement changes when something is drawn elsewhere; mean of two kinds",
    "beyond_another_finding": "drawn minus not drawn, minus the change by another finding",
    "beyond_the_same_change_elsewhere": "the same, minus the change by equally much brightness at another place",
    "beyond_the_same_values_scattered": "the same, minus the change by the finding's values one by one among others",
    "removal_effect": "of findings that the phantom had",
    "insertion_effect": "of findings that were put in",
    "other_patient_effect": "how much more often a finding is stated on its scan than on others where it is not listed",
    "side_following": "how much more often a side is stated where the finding is drawn than where it is not",
    "cross_label_change": "share of the other labels whose statement changes; lower is more exact",
    "text_change": "share of the reports that change in any way",
}


def _figure_of(results: AuditResults) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        save_audit_figure(results, path)
        return _data_address(path.read_bytes())


def _data_address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def phantom_examples(plan: Plan, answers: Sequence[Written], spacing_mm: Spacing | None) -> list[Example]:
    """Return the first question of each of the first phantoms, of removed and inserted findings in turn.

    They are chosen by their place in the plan, so that none is chosen for its result.
    """
    examples = []
    for phantom in range(NUM_EXAMPLES):
        own = (one for one in plan.questions if one.phantom == phantom and one.is_inserted is bool(phantom % 2))
        if (question := next(own, None)) is not None:
            places = (question.drawn, question.bare)
            reports = [answers[place].report for place in places]
            if None not in reports:
                scans = [draw_scan(plan.drawings[place], spacing_mm) for place in places]
                manner = "put in" if question.is_inserted else "removed"
                examples.append(example_of(question.label, manner, scans, reports))
    return examples


def example_of(label: str, manner: str, scans: Sequence[CTVolume], reports: Sequence[str | None]) -> Example:
    """Make an example of a scan with a finding and one without it, and their reports."""
    (drawn, bare), (text, other) = scans, (report or "" for report in reports)
    states = [label in read_statements(each).labels for each in (text, other)]
    return Example(label, manner, _picture(drawn.hu, bare.hu, drawn.spacing_mm), text, other, *states)


def _picture(drawn: NDArray, bare: NDArray, spacing_mm: Spacing) -> str:
    """Draw the slice that differs most, with and without the finding, in the window of the tissue that changes."""
    change = np.abs(drawn.astype(np.float32) - bare)
    index = int(change.sum(axis=(1, 2)).argmax())
    tissue = np.average(bare[index], weights=change[index] + 1e-6)
    window = LUNG if tissue < AERATED_HU else SOFT
    figure = Figure(figsize=(7.2, 3.2), dpi=90, layout="constrained", facecolor="black")
    FigureCanvasAgg(figure)
    for ax, hu, title in zip(figure.subplots(1, 2), (drawn, bare), ("drawn", "not drawn"), strict=True):
        low, high = window.level - window.width / 2, window.level + window.width / 2
        ax.imshow(hu[index], cmap="gray", vmin=low, vmax=high, aspect=spacing_mm[1] / spacing_mm[2])
        ax.set_title(title, fontsize=9, color="white")
        ax.axis("off")
    content = BytesIO()
    figure.savefig(content, format="png")
    return _data_address(content.getvalue())
