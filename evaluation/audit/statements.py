"""Read what a report states: the labels that it calls present, and the side of each."""

from dataclasses import dataclass

from ..metrics.labels import read_labels
from ..metrics.report_findings import extract_findings
from .audit_plan import OTHER_SIDE


@dataclass(frozen=True)
class Statements:
    """The statements of one report.

    Attributes:
        text: the report.
        labels: those of CT-RATE that it states as present.
        sides: pairs of a label and the one side, left or right, on which the report states it.
    """

    text: str
    labels: frozenset[str]
    sides: frozenset[tuple[str, str]]


def read_statements(report: str) -> Statements:
    """Read a report by the rules of the label metrics; a label on both sides or on no side has none here."""
    told: dict[str, set[str]] = {}
    for finding in extract_findings(report):
        told.setdefault(finding.label, set()).add(finding.side or "")
    sides = {(label, side) for label, own in told.items() for side in own if len(own) == 1 and side in OTHER_SIDE}
    return Statements(report, frozenset(read_labels(report)), frozenset(sides))
