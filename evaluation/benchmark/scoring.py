"""Compute all numbers of an evaluation from its stored reports, without a model or data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from argus_processing.storage.progress import progress_bar

from ..floors.report_sections import split_sections
from ..metrics.labels.label_scores import LABEL_SCORES
from ..metrics.metric import Metric, MetricScores, average, score_pairs
from ..metrics.nlp_metrics import AVERAGES, METRICS
from ..metrics.phantom_truth import finding_metrics
from ..metrics.significance import PairedTest, compare_scores, confidence_interval, draw_reports
from .evaluation_results import ControlResults, MetricValue, PartValue, ScoredReports, SectionResults
from .scored_scans import scored_scans
from .stored_reports import MODEL, StoredReport

SECTION_METRICS = {*METRICS, *LABEL_SCORES}
WHOLE, FINDINGS, IMPRESSION = "whole", "findings", "impression"


@dataclass(frozen=True)
class ScoredMetric:
    """A metric with its scores on one system's reports, or with the reason why they are missing."""

    signature: str
    scale: int
    scores: MetricScores | None = None
    missing: str | None = None


Scores = dict[str, ScoredMetric]  # by metric


@dataclass(frozen=True)
class ReportPart:
    """Reports of several systems (`rows`) or one section of them, their references, and the metrics to compute."""

    rows: Mapping[str, Sequence[str]]
    references: Sequence[str]
    metrics: frozenset[str]


def score_stored(reports: Sequence[StoredReport], metrics: Mapping[str, Metric] = METRICS) -> ScoredReports:
    """Score the reports of a model and of the floors.

    Args:
        reports: reports that `argus evaluate` stored, one for each scan.
        metrics: metrics by name, as in `METRICS`; those of findings join them where the true findings are known.
    """
    rows = {name: [report.reports[name] for report in reports] for name in reports[0].reports}
    references = [report.reference for report in reports]
    draws = draw_reports(len(reports))
    chosen = metrics_for(reports, metrics)
    parts = {WHOLE: ReportPart(rows, references, frozenset(chosen))} | section_parts(rows, references, chosen)
    scored = {name: systems_of(scores, draws) for name, scores in score_parts(parts, chosen).items()}
    own, floors = scored.pop(WHOLE)
    without = {name: sum(split_sections(text).impression is None for text in texts) for name, texts in rows.items()}
    return ScoredReports(
        n_test=len(reports),
        metrics=own,
        controls=floors,
        counts=count_reports(reports) | {"unparsed": sum(value.counts.get("unparsed", 0) for value in own.values())},
        scans=scored_scans({report.scan_id: report.reference for report in reports}),
        sections={
            name: SectionResults(*of_section, without if name == IMPRESSION else {})
            for name, of_section in scored.items()
        },
    )


def systems_of(
    scored: Mapping[str, Scores], draws: np.ndarray
) -> tuple[dict[str, MetricValue], dict[str, ControlResults]]:
    """Return the values of the model's reports, and those of every floor with their tests; `scored` is by system."""
    values = {row: {name: value_of(metric, draws) for name, metric in scores.items()} for row, scores in scored.items()}
    own = values.pop(MODEL)
    with progress_bar() as progress:
        floors = {
            name: ControlResults(of_floor, paired_tests(scored[MODEL], scored[name], draws))
            for name, of_floor in progress.track(values.items(), description="tests against floors")
        }
    return own, floors


def paired_tests(model: Scores, floor: Scores, draws: np.ndarray) -> dict[str, PairedTest]:
    """Test the model's value minus a floor's, for each metric that both have."""
    tests = {}
    for name, metric in model.items():
        own, other = metric.scores, floor[name].scores
        if own and other and own.is_defined and other.is_defined:
            tests[name] = compare_scores(other, own, draws)
    return tests


def section_parts(
    rows: Mapping[str, Sequence[str]], references: Sequence[str], metrics: Mapping[str, Metric]
) -> dict[str, ReportPart]:
    """Return findings and impression of all reports apart; nothing if a reference does not tell them apart.

    A report without a head of the impression is all findings, and its impression is empty. Metrics that need a model's
    weights are left to the whole reports.
    """
    chosen = frozenset(SECTION_METRICS & metrics.keys())
    true = [split_sections(reference) for reference in references]
    if not chosen or not all(part.findings and part.impression for part in true):
        return {}
    told = {name: [split_sections(report) for report in reports] for name, reports in rows.items()}
    findings = {name: [part.findings for part in parts] for name, parts in told.items()}
    impressions = {name: [part.impression or "" for part in parts] for name, parts in told.items()}
    return {
        FINDINGS: ReportPart(findings, [part.findings for part in true], chosen),
        IMPRESSION: ReportPart(impressions, [part.impression or "" for part in true], chosen),
    }


def metrics_for(reports: Sequence[StoredReport], metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics to compute for reports: also those of findings, if the true findings are known."""
    truths = [report.findings for report in reports if report.findings is not None]
    return {**(finding_metrics(truths) if truths else {}), **metrics}


def compute_scores(
    rows: Mapping[str, Sequence[str]], references: Sequence[str], metrics: Mapping[str, Metric] = METRICS
) -> dict[str, Scores]:
    """Return every row's scores by metric, and the averages over metrics."""
    return score_parts({WHOLE: ReportPart(rows, references, frozenset(metrics))}, metrics)[WHOLE]


def score_parts(parts: Mapping[str, ReportPart], metrics: Mapping[str, Metric]) -> dict[str, dict[str, Scores]]:
    """Return by part the scores of every row by metric, and the averages; a metric gets all parts in one call."""
    scored: dict[str, dict[str, Scores]] = {name: {row: {} for row in part.rows} for name, part in parts.items()}
    with progress_bar() as progress:
        for name, metric in progress.track(metrics.items(), description="scores"):
            reason = metric.missing()
            rows = {
                (of_part, row): (reports, part.references)
                for of_part, part in parts.items()
                if name in part.metrics
                for row, reports in part.rows.items()
            }
            done = {} if reason else score_pairs(metric, rows)
            for of_part, row in rows:
                scores = ScoredMetric(metric.signature, metric.scale, done.get((of_part, row)), reason)
                scored[of_part][row][name] = scores
    for of_part, by_row in scored.items():
        averages = {name: names for name, names in AVERAGES.items() if set(names) <= parts[of_part].metrics}
        for scores_of_row in by_row.values():
            scores_of_row |= {name: _average(scores_of_row, names) for name, names in averages.items()}
    return scored


def _average(scored: Scores, names: Sequence[str]) -> ScoredMetric:
    """Average metrics; the average is missing if one of them is, for all their reasons."""
    metrics = [scored[name] for name in names]
    signature, scale = f"mean of {', '.join(names)}", metrics[0].scale
    if reasons := [metric.missing for metric in metrics if metric.missing]:
        return ScoredMetric(signature, scale, missing="; ".join(reasons))
    return ScoredMetric(signature, scale, average([metric.scores for metric in metrics if metric.scores]))


def score_nlp(predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """Return the scores of every metric of `METRICS` and of their averages.

    Raises:
        ValueError: if there are no reports, or the numbers of predictions and references differ.
    """
    return compute_scores({MODEL: predictions}, references)[MODEL]


def value_of(metric: ScoredMetric, draws: np.ndarray) -> MetricValue:
    """Return a metric's value with its interval; `draws` come from `draw_reports`."""
    scores, signature, scale = metric.scores, metric.signature, metric.scale
    if scores is None:
        return MetricValue(None, signature, missing=metric.missing, scale=scale)
    if not scores.is_defined:
        return MetricValue(None, signature, scale=scale, counts=scores.counts)
    low, high = confidence_interval(scores, draws)
    parts = {
        name: PartValue(part.value, *confidence_interval(part, draws), part.counts)
        for name, part in scores.parts.items()
    }
    return MetricValue(scores.value, signature, low, high, None, scale, scores.counts, parts)


def count_reports(reports: Sequence[StoredReport]) -> dict[str, int]:
    """Count the reports that are empty, that repeat an earlier one word for word, and that the limit cut."""
    texts = [report.reports[MODEL] for report in reports]
    return {
        "empty": sum(not text.strip() for text in texts),
        "duplicate": len(texts) - len(set(texts)),
        "truncated": sum(report.truncated for report in reports),
    }
