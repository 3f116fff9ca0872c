"""Make a page that shows the reports of several systems on the same scan beside the truth (paper, figure 7).

Right content has a background, wrong content is bold and red; what a report misses is underlined in the truth. The
findings come from a metric that names them, see `FINDINGS_METRICS`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from argus_inference.generation import Prediction
from argus_processing.storage.whole_files import write_text

from ..metrics.clinical.clinical_findings import GreenFindings, RadGraphFindings
from ..metrics.clinical.clinical_weights import ANSWERS
from ..metrics.named_findings import (
    DIFFERENT,
    FINDING_STATUSES,
    INVENTED,
    MATCHED,
    MISSED,
    FindingsMetric,
    Mark,
    RuleFindings,
)
from .run_list import RunSettings, read_predictions, read_runs, read_settings

TEMPLATE = Path(__file__).parent / "report_comparison.html"
# Each is made with the file that keeps a run's answers of clinical metrics.
FINDINGS_METRICS: dict[str, Callable[[Path], FindingsMetric]] = {
    "rules": lambda answers: RuleFindings(),
    "radgraph": RadGraphFindings,
    "green": GreenFindings,
}
PARTLY = "partly"
STATUSES = {
    MATCHED: ("✓", "right: as in the truth"),
    DIFFERENT: ("⇄", "wrong: in the truth, but not like this"),
    INVENTED: ("+", "wrong: not in the truth"),
    MISSED: ("–", "missed: only in the truth"),
    PARTLY: ("±", "in the truth: not the same for all reports"),
}


@dataclass(frozen=True)
class Piece:
    """A part of a report's text; `status` is None if the part names no finding."""

    text: str
    status: str | None = None


@dataclass(frozen=True)
class ComparedReport:
    """The report of one system: its text in pieces, and for each status a list of its findings as text."""

    system: str
    pieces: tuple[Piece, ...]
    findings: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Comparison:
    """The comparison of one scan: the truth in pieces, and every system's report."""

    scan_id: str
    reference: tuple[Piece, ...]
    reports: tuple[ComparedReport, ...]


@dataclass(frozen=True)
class System:
    """One column of the page: a system, and the folder of its evaluation."""

    name: str
    folder: Path


def compare_reports(
    scan_id: str, reference: str, reports: Mapping[str, str], metrics: Mapping[str, FindingsMetric]
) -> Comparison:
    """Compare the reports on one scan with their reference.

    Args:
        scan_id: name of the scan.
        reference: the truth.
        reports: by system, its report.
        metrics: by system, the metric that names the findings.
    """
    named = {system: metrics[system].compare(reference, report) for system, report in reports.items()}
    return Comparison(
        scan_id,
        _cut(reference, _join([found.reference for found in named.values()])),
        tuple(
            ComparedReport(system, _cut(reports[system], found.report), found.findings)
            for system, found in named.items()
        ),
    )


def _join(marks: Sequence[Iterable[Mark]]) -> list[Mark]:
    """Join the marks of several systems in the truth; where they are not the same, the status is `PARTLY`."""
    by_place = [{(mark.start, mark.end): mark.status for mark in found} for found in marks]
    joined = []
    for place in dict.fromkeys(place for found in by_place for place in found):
        statuses = {found.get(place, PARTLY) for found in by_place}
        joined.append(Mark(*place, statuses.pop() if len(statuses) == 1 else PARTLY))
    return joined


def _cut(text: str, marks: Iterable[Mark]) -> tuple[Piece, ...]:
    """Cut a text at its marks; if two overlap, only the first is used."""
    pieces, at = [], 0
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.end)):
        if mark.start >= at and mark.end > mark.start:
            pieces += [Piece(text[at : mark.start])] if mark.start > at else []
            pieces.append(Piece(text[mark.start : mark.end], mark.status))
            at = mark.end
    return (*pieces, Piece(text[at:])) if at < len(text) or not pieces else tuple(pieces)


def read_systems(source: Path, subset: str | None = None, systems: Sequence[str] = ()) -> list[System]:
    """Return the systems of a runs file, or the one of a folder that `argus evaluate` wrote.

    Args:
        source: runs file or folder.
        subset: the subset whose runs are taken. Default: the only one of the file.
        systems: names of the systems to take from a runs file. Default: all.

    Raises:
        FileNotFoundError: if a folder of the file is not there, or holds no predictions.
        ValueError: if the file has not the form of a runs file, or has several subsets or none of this name.
    """
    if source.is_dir():
        return [System(source.resolve().name, source)]
    runs = [(read_settings(run.folder).subset, run) for run in read_runs(source, systems)]
    subsets = list(dict.fromkeys(name for name, _ in runs))
    if subset is None and len(subsets) > 1 or subset is not None and subset not in subsets:
        raise ValueError(f"{source}: has runs of {', '.join(subsets)}; choose one of them with --subset")
    return [System(run.name, run.folder) for name, run in runs if subset in (None, name)]


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


def compare_systems(
    systems: Sequence[System], metrics: Mapping[str, FindingsMetric], scan_ids: Sequence[str], limit: int
) -> list[Comparison]:
    """Compare the systems on the named scans, or on the first ones of the first system.

    Raises:
        ValueError: if a system has no report on one of the scans, or another reference for it.
    """
    chosen = choose_predictions(systems[0].folder, scan_ids, limit)
    ids = [line.scan_id for line in chosen]
    columns = [choose_predictions(system.folder, ids, len(ids)) for system in systems]
    for system, column in zip(systems, columns, strict=True):
        for first, line in zip(chosen, column, strict=True):
            if line.reference != first.reference:
                raise ValueError(f"{system.folder}: scan {line.scan_id} has another reference than in the first run")
    rows = [dict(zip((system.name for system in systems), lines, strict=True)) for lines in zip(*columns, strict=True)]
    return [
        compare_reports(first.scan_id, first.reference, {name: line.prediction for name, line in row.items()}, metrics)
        for first, row in zip(chosen, rows, strict=True)
    ]


def comparison_page(
    comparisons: Sequence[Comparison], settings: Mapping[str, RunSettings], title: str, note: str
) -> str:
    """Return the HTML page: one file without scripts that loads nothing from elsewhere.

    Args:
        comparisons: one for each scan, all of the same systems.
        settings: by system, those of its evaluation.
        title: heading of the page.
        note: what the marks mean, from the metric.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    counts = {system: _count(comparisons, system) for system in settings}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        comparisons=comparisons, settings=settings, title=title, note=note, statuses=STATUSES, counts=counts
    )


def _count(comparisons: Iterable[Comparison], system: str) -> dict[str, int]:
    """Return the number of a system's findings by status, over all scans."""
    lists = [report.findings for one in comparisons for report in one.reports if report.system == system]
    return {status: sum(len(findings[status]) for findings in lists) for status in FINDING_STATUSES}


def write_comparison(
    source: Path,
    out: Path,
    scan_ids: Sequence[str] = (),
    limit: int = 8,
    title: str = "",
    *,
    subset: str | None = None,
    systems: Sequence[str] = (),
    findings: str = "rules",
    answers: Path | None = None,
) -> None:
    """Write the page to the file `out`; no half-written file can remain.

    Args:
        source: runs file, or folder of one evaluation.
        out: HTML file.
        scan_ids: scans to show. Default: the first `limit`.
        limit: number of scans without `scan_ids`.
        title: heading. Default: the folder's name, or subset and split.
        subset, systems: see `read_systems`.
        findings: the metric that names the findings, of `FINDINGS_METRICS`.
        answers: file with the answers of clinical metrics. Default: that of each run's own folder.
    """
    shown = read_systems(source, subset, systems)
    if title and len(shown) == 1:
        shown = [System(title, shown[0].folder)]
    if twice := {system.name for system in shown if [other.name for other in shown].count(system.name) > 1}:
        raise ValueError(f"{source}: {', '.join(sorted(twice))} comes twice in one subset; name one run of it")
    metrics = {system.name: FINDINGS_METRICS[findings](answers or system.folder / ANSWERS) for system in shown}
    settings = {system.name: read_settings(system.folder) for system in shown}
    comparisons = compare_systems(shown, metrics, scan_ids, limit)
    first = settings[shown[0].name]
    heading = title or (shown[0].name if len(shown) == 1 else f"{first.subset} {first.split}")
    write_text(out, comparison_page(comparisons, settings, heading, metrics[shown[0].name].note(first.subset)))
