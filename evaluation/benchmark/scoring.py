"""Compute all numbers of an evaluation from its stored reports, without a model or data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from argus_processing.storage.progress import progress_bar

from ..metrics.metric import Metric, MetricScores, average, score_rows
from ..metrics.nlp_metrics import AVERAGES, METRICS
from ..metrics.phantom_truth import finding_metrics
from ..metrics.significance import confidence_interval, draw_reports
from .evaluation_results import ControlResults, MetricValue, PartValue, ScoredReports
from .stored_reports import MODEL, StoredReport


@dataclass(frozen=True)
class ScoredMetric:
    """A metric with its scores on one system's reports, or with the reason why they are missing."""

    signature: str
    scale: int
    scores: MetricScores | None = None
    missing: str | None = None


Scores = dict[str, ScoredMetric]  # by metric


def score_stored(reports: Sequence[StoredReport], metrics: Mapping[str, Metric] = METRICS) -> ScoredReports:
    """Score the reports of a model and of its controls.

    Args:
        reports: reports that `argus evaluate` stored, one for each scan.
        metrics: metrics by name, as in `METRICS`; those of findings join them where the true findings are known.
    """
    rows = {name: [report.reports[name] for report in reports] for name in reports[0].reports}
    scored = compute_scores(rows, [report.reference for report in reports], metrics_for(reports, metrics))
    draws = draw_reports(len(reports))
    values = {row: {name: value_of(metric, draws) for name, metric in scores.items()} for row, scores in scored.items()}
    own = values.pop(MODEL)
    unparsed = sum(value.counts.get("unparsed", 0) for value in own.values())
    return ScoredReports(
        n_test=len(reports),
        metrics=own,
        controls={name: ControlResults(of_control) for name, of_control in values.items()},
        counts=count_reports(reports) | {"unparsed": unparsed},
    )


def metrics_for(reports: Sequence[StoredReport], metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics to compute for reports: also those of findings, if the true findings are known."""
    truths = [report.findings for report in reports if report.findings is not None]
    return {**(finding_metrics(truths) if truths else {}), **metrics}


def compute_scores(
    rows: Mapping[str, Sequence[str]], references: Sequence[str], metrics: Mapping[str, Metric] = METRICS
) -> dict[str, Scores]:
    """Return every row's scores by metric, and the averages over metrics."""
    scored: dict[str, Scores] = {name: {} for name in rows}
    with progress_bar() as progress:
        for name, metric in progress.track(metrics.items(), description="scores"):
            reason = metric.missing()
            done = {} if reason else score_rows(metric, rows, references)
            for row, scores in scored.items():
                scores[name] = ScoredMetric(metric.signature, metric.scale, done.get(row), reason)
    for scores in scored.values():
        scores |= {name: _average(scores, parts) for name, parts in AVERAGES.items() if set(parts) <= set(metrics)}
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
