"""Write the same report for every scan, in the words of the training reports."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from argus_processing.phantom.findings import Finding

from ..benchmark.controls import most_frequent_report
from ..metrics.labels.rule_reader import RULES
from ..metrics.report_findings import extract_findings
from .floor_material import NOTHING, FloorMaterial, FloorReports
from .usual_report import usual_report


class NormalReport:
    """A constant normal report: of the training reports without a label, the one whose sentences are most usual."""

    title = "constant normal report"
    needs = NOTHING

    def write(self, material: FloorMaterial) -> FloorReports:
        """Return the one report for every scan."""
        reports = material.train_reports
        normal = normal_report(reports, material.labels_of(reports))
        told = "normal" if normal.num_labels == 0 else f"with {normal.num_labels} labels, none is normal,"
        signature = f"the most usual of {normal.count} training reports {told}|{RULES}"
        return FloorReports([normal.text] * len(material.predictions), signature)


@dataclass(frozen=True)
class UsualNormal:
    """The most usual normal report, the number of normal ones, and the number of labels that each of them has."""

    text: str
    count: int
    num_labels: int


def normal_report(reports: Sequence[str], labels: Sequence[Collection[str]]) -> UsualNormal:
    """Return the most usual normal one of reports with these labels.

    Normal are the reports with the fewest of CT-RATE's labels, which is none wherever there are healthy patients.

    Raises:
        ValueError: if there are no reports.
    """
    if not reports:
        raise ValueError("the floors need at least one training report")
    fewest = min(map(len, labels))
    normal = [report for report, own in zip(reports, labels, strict=True) if len(own) == fewest]
    return UsualNormal(usual_report(normal), len(normal), fewest)


class MostFrequentReport:
    """The commonest training report among those with the commonest findings."""

    title = "most frequent report"
    needs = NOTHING

    def write(self, material: FloorMaterial) -> FloorReports:
        """Return the one report for every scan."""
        report = most_frequent_report(material.train_reports, _findings_of)
        signature = f"commonest wording of the commonest findings of {len(material.train_reports)} training reports"
        return FloorReports([report] * len(material.predictions), signature)


def _findings_of(report: str) -> tuple[Finding, ...]:
    """Return a report's findings in a fixed order."""
    return tuple(sorted(extract_findings(report), key=repr))
