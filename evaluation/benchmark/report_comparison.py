"""A page that shows reference and report side by side and marks matched, missed and invented findings.

It corresponds to figure 7 of the paper. Findings are read from both texts by the rules of `report_findings.py`. For
phantoms, the findings read from the reference are exactly those that were painted into the scan (a test checks this).
For reports of real scans, the same rules, made for 13 of CT-RATE's 18 labels, search for those labels clause by clause.
This is only a visual aid: it misses wordings that the rules do not know.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from argus_inference.generation import Prediction
from argus_processing.phantom.findings import Finding
from argus_processing.storage.whole_files import write_text

from ..metrics.report_findings import Mention, extract_findings, locate_findings
from .run_list import RunSettings, read_predictions, read_settings

TEMPLATE = Path(__file__).parent / "report_comparison.html"
MATCHED, OTHER_SIDE, MISSED, INVENTED = "matched", "other-side", "missed", "invented"
STATUSES = {
    MATCHED: ("✓", "matched: in both"),
    OTHER_SIDE: ("⇄", "on another side: in both, but not where it is"),
    MISSED: ("–", "missed: only in the reference"),
    INVENTED: ("+", "invented: only in the report"),
}


@dataclass(frozen=True)
class Piece:
    """A part of a report's text; `status` is None if the part names no finding."""

    text: str
    status: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The comparison of one scan: both texts in pieces, and for each status a list of its findings as text."""

    scan_id: str
    reference: tuple[Piece, ...]
    report: tuple[Piece, ...]
    findings: dict[str, tuple[str, ...]]


def compare_findings(true: Iterable[Finding], told: Iterable[Finding]) -> dict[str, str]:
    """Return the status of every label that occurs, in the way `score_findings` counts: by label, then by side.

    A label is on another side only if both texts name a side and the sides differ.
    """
    true_sides, told_sides = _sides(true), _sides(told)
    statuses = {}
    for label in sorted(true_sides.keys() | told_sides.keys()):
        if label not in told_sides:
            statuses[label] = MISSED
        elif label not in true_sides:
            statuses[label] = INVENTED
        else:
            named, due = told_sides[label], true_sides[label]
            statuses[label] = OTHER_SIDE if named and due and named != due else MATCHED
    return statuses


def _sides(findings: Iterable[Finding]) -> dict[str, set[str]]:
    sides: dict[str, set[str]] = {}
    for finding in findings:
        sides.setdefault(finding.label, set()).update({finding.side} - {None})
    return sides


def compare_reports(scan_id: str, reference: str, report: str) -> Comparison:
    """Compare a report with its reference; empty texts give no findings."""
    true, told = extract_findings(reference), extract_findings(report)
    statuses = compare_findings(true, told)
    lists = {
        status: tuple(_describe(label, true, told) for label, found in statuses.items() if found == status)
        for status in STATUSES
    }
    return Comparison(
        scan_id,
        _cut(reference, locate_findings(reference), statuses),
        _cut(report, locate_findings(report), statuses),
        lists,
    )


def _cut(text: str, mentions: Sequence[Mention], statuses: dict[str, str]) -> tuple[Piece, ...]:
    """Cut a text at its mentions; if two overlap, only the first is used."""
    pieces, at = [], 0
    for mention in mentions:
        if mention.start >= at:
            pieces += [Piece(text[at : mention.start])] if mention.start > at else []
            pieces.append(Piece(text[mention.start : mention.end], statuses[mention.finding.label]))
            at = mention.end
    return (*pieces, Piece(text[at:])) if at < len(text) or not pieces else tuple(pieces)


def _describe(label: str, true: Iterable[Finding], told: Iterable[Finding]) -> str:
    """Return a label with its true place, and with the report's place if that is different."""
    due, named = (_places(label, findings) for findings in (true, told))
    where = " → ".join(dict.fromkeys(place for place in (due, named) if place))
    return f"{label}: {where}" if where else label


def _places(label: str, findings: Iterable[Finding]) -> str:
    places = (" ".join(filter(None, (found.side, found.place))) for found in findings if found.label == label)
    return ", ".join(sorted(filter(None, places)))


def choose_predictions(folder: Path, scan_ids: Sequence[str], limit: int) -> list[Prediction]:
    """Return the named scans of an evaluation, or its first `limit` in the data set's order.

    The fixed order makes sure that no scan is chosen because of its result.

    Raises:
        ValueError: if a named scan is not in the evaluation.
    """
    predictions = read_predictions(folder)
    unknown = [scan_id for scan_id in scan_ids if scan_id not in predictions]
    if unknown:
        raise ValueError(f"{folder}: holds no report of scan {', '.join(unknown)}")
    return [predictions[scan_id] for scan_id in scan_ids] or list(predictions.values())[:limit]


def comparison_page(comparisons: Sequence[Comparison], settings: RunSettings, title: str) -> str:
    """Return the HTML page: one file without scripts that loads nothing from elsewhere.

    Args:
        settings: of the evaluation.
        title: name of the system on the page.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    counts = {status: sum(len(one.findings[status]) for one in comparisons) for status in STATUSES}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        comparisons=comparisons, settings=settings, title=title, statuses=STATUSES, counts=counts
    )


def write_comparison(folder: Path, out: Path, scan_ids: Sequence[str] = (), limit: int = 8, title: str = "") -> None:
    """Write the comparison page of an evaluation to the file `out`; no half-written file can remain."""
    chosen = choose_predictions(folder, scan_ids, limit)
    comparisons = [compare_reports(line.scan_id, line.reference, line.prediction) for line in chosen]
    write_text(out, comparison_page(comparisons, read_settings(folder), title or Path(folder).resolve().name))
