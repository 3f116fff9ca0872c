"""Mark the findings that a metric names in a report and its reference as right, wrong or missed (paper, figure 7).

A metric that names findings has one class with the method `compare` of `FindingsMetric`. Here is that of the rules of
`report_findings.py`; those of RadGraph and GREEN are in `clinical/clinical_findings.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from argus_processing.phantom.findings import Finding

from .report_findings import extract_findings, locate_findings

MATCHED, DIFFERENT, MISSED, INVENTED = "matched", "different", "missed", "invented"
FINDING_STATUSES = (MATCHED, DIFFERENT, INVENTED, MISSED)


@dataclass(frozen=True)
class Mark:
    """A part of a text, from `start` to `end`, that names a finding of this status."""

    start: int
    end: int
    status: str


@dataclass(frozen=True)
class NamedFindings:
    """The findings named in a reference and in a report on the same scan.

    Attributes:
        reference: marks in the reference: matched, different or missed.
        report: marks in the report: matched, different or invented.
        findings: for each status, its findings as text. It may hold findings without a mark.
    """

    reference: tuple[Mark, ...]
    report: tuple[Mark, ...]
    findings: dict[str, tuple[str, ...]]


class FindingsMetric(Protocol):
    """A metric that names the findings it compares."""

    def note(self, subset: str) -> str:
        """Return what its marks mean on reports of this subset, for the reader of a page."""

    def compare(self, reference: str, report: str) -> NamedFindings:
        """Mark the findings of a report and of its reference.

        Raises:
            ValueError: if the metric knows nothing of these two texts.
        """


class RuleFindings:
    """The rules that read a phantom's findings; the findings read from a phantom's reference are those painted."""

    def note(self, subset: str) -> str:
        """Return how exact the rules are on reports of this subset."""
        wrong = "A finding is wrong if it is not in the truth, or is there on another side."
        if subset == "phantom":
            return f"Findings are read by rules that read a phantom's truth exactly as it was painted. {wrong}"
        return (
            "Findings are read from both texts by simple rules for CT-RATE's 18 labels, made for synthetic "
            f"reports: they miss wordings they do not know. {wrong} The marks are a help for the eye, not a metric."
        )

    def compare(self, reference: str, report: str) -> NamedFindings:
        """Mark findings by label, then by side; empty texts have none."""
        true, told = extract_findings(reference), extract_findings(report)
        statuses = compare_findings(true, told)
        return NamedFindings(
            _marks(reference, statuses),
            _marks(report, statuses),
            {
                status: tuple(_describe(label, true, told) for label, found in statuses.items() if found == status)
                for status in FINDING_STATUSES
            },
        )


def compare_findings(true: Iterable[Finding], told: Iterable[Finding]) -> dict[str, str]:
    """Return the status of every label that occurs, in the way `score_findings` counts: by label, then by side.

    A label is different only if both texts name a side and the sides differ.
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
            statuses[label] = DIFFERENT if named and due and named != due else MATCHED
    return statuses


def _sides(findings: Iterable[Finding]) -> dict[str, set[str]]:
    sides: dict[str, set[str]] = {}
    for finding in findings:
        sides.setdefault(finding.label, set()).update({finding.side} - {None})
    return sides


def _marks(text: str, statuses: dict[str, str]) -> tuple[Mark, ...]:
    return tuple(Mark(mention.start, mention.end, statuses[mention.finding.label]) for mention in locate_findings(text))


def _describe(label: str, true: Iterable[Finding], told: Iterable[Finding]) -> str:
    """Return a label with its true place, and with the report's place if that is different."""
    due, named = (_places(label, findings) for findings in (true, told))
    where = " → ".join(dict.fromkeys(place for place in (due, named) if place))
    return f"{label}: {where}" if where else label


def _places(label: str, findings: Iterable[Finding]) -> str:
    places = (" ".join(filter(None, (found.side, found.place))) for found in findings if found.label == label)
    return ", ".join(sorted(filter(None, places)))
