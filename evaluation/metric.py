"""What a metric is: a signature, a function of reports, and scores that can be drawn again from the same reports.

Every score here is a function of sums over reports (a mean is the sum of scores over their count; BLEU comes from summed
n-gram counts). So each metric keeps one row of summands per report, and a confidence interval or a paired test sums
other choices of the same rows, without scoring any text again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class MetricScores:
    """The value of one metric on a set of reports, and what its resampling needs.

    Attributes:
        summands: `(N, K)` float64, one row a report.
        finish: gives values `(...)` from summed rows `(..., K)`; defined for a single row and for all-zero sums.
        per_report: `(N,)` scores of the single reports, on the scale of the value; None where they mean nothing.
        counts: what happened on the way that a reader must know, such as answers that could not be parsed.
    """

    summands: np.ndarray
    finish: Callable[[np.ndarray], np.ndarray]
    per_report: np.ndarray | None
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The metric's value over all reports."""
        return float(self.finish(self.summands.sum(axis=0)))


def mean_of_reports(per_report: Sequence[float], counts: Mapping[str, int] | None = None) -> MetricScores:
    """Make the scores of a metric whose value is the mean over reports."""
    scores = np.asarray(per_report, dtype=np.float64)
    summands = np.stack([scores, np.ones_like(scores)], axis=-1)
    return MetricScores(summands, _ratio, scores, counts or {})


def _ratio(sums: np.ndarray) -> np.ndarray:
    """Divide the first column by the second; zero where that is zero."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] != 0)


def score_of_sums(
    summands: np.ndarray, finish: Callable[[np.ndarray], np.ndarray], counts: Mapping[str, int] | None = None
) -> MetricScores:
    """Make the scores of a corpus metric; a report's own score is that of a corpus of one."""
    rows = np.asarray(summands, dtype=np.float64)
    return MetricScores(rows, finish, finish(rows), counts or {})


def average(parts: Sequence[MetricScores]) -> MetricScores:
    """Make the scores of the plain mean of several metrics on the same reports."""
    widths = [part.summands.shape[1] for part in parts]
    edges = np.cumsum([0, *widths])

    def finish(sums: np.ndarray) -> np.ndarray:
        columns = zip(parts, edges[:-1], edges[1:], strict=True)
        return np.mean([part.finish(sums[..., first:last]) for part, first, last in columns], axis=0)

    own = [part.per_report for part in parts]
    per_report = None if any(scores is None for scores in own) else np.mean(own, axis=0)
    return MetricScores(np.concatenate([part.summands for part in parts], axis=1), finish, per_report)


def nothing_missing() -> None:
    """Say that a metric can be computed."""
    return None


@dataclass(frozen=True)
class Metric:
    """One metric: how it is computed, and the signature that is printed with its values.

    Attributes:
        score: gives the scores of (predictions, references), as many of one as of the other, at least one.
        signature: implementation, version, tokenizer, level and settings.
        missing: gives in one line what to install and where to put it, or None if the metric can be computed.
    """

    score: Callable[[Sequence[str], Sequence[str]], MetricScores]
    signature: str
    missing: Callable[[], str | None] = nothing_missing


def compute_metrics(
    metrics: Mapping[str, Metric], predictions: Sequence[str], references: Sequence[str]
) -> dict[str, MetricScores | None]:
    """Return every metric's scores, None where it is missing.

    Raises:
        ValueError: if there are no reports, or not as many predictions as references.
    """
    if not predictions or len(predictions) != len(references):
        raise ValueError(
            f"expected as many predictions as references, at least one; got {len(predictions)} and {len(references)}"
        )
    return {
        name: None if metric.missing() else metric.score(predictions, references) for name, metric in metrics.items()
    }
