"""What a metric is: a signature, a function of reports, and scores that can be drawn again from the same reports.

Every score here is a function of sums over reports: a mean is the sum of scores over their count, BLEU comes from
summed n-gram counts. So each metric keeps one row of summands per report, and a confidence interval or a paired test
sums other choices of the same rows, without scoring any text again.
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
        per_report: `(N,)` scores of the single reports, on the scale of the value.
        flags: what happened on the way that a reader must know, `(N,)` booleans by name, such as `unparsed`.
    """

    summands: np.ndarray
    finish: Callable[[np.ndarray], np.ndarray]
    per_report: np.ndarray
    flags: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The metric's value over all reports."""
        return float(self.finish(self.summands.sum(axis=0)))

    @property
    def counts(self) -> dict[str, int]:
        """How many reports have each flag."""
        return {name: int(np.sum(flagged)) for name, flagged in self.flags.items()}

    def take(self, indexes: Sequence[int]) -> "MetricScores":
        """Return the scores of the reports at these places, in this order, repeats allowed."""
        places = np.asarray(indexes, dtype=int)
        flags = {name: np.asarray(flagged)[places] for name, flagged in self.flags.items()}
        return MetricScores(self.summands[places], self.finish, self.per_report[places], flags)


def mean_of_reports(per_report: Sequence[float], flags: Mapping[str, Sequence[bool]] | None = None) -> MetricScores:
    """Make the scores of a metric whose value is the mean over reports."""
    scores = np.asarray(per_report, dtype=np.float64)
    summands = np.stack([scores, np.ones_like(scores)], axis=-1)
    return MetricScores(summands, ratio_of_sums, scores, {name: np.asarray(at) for name, at in (flags or {}).items()})


def ratio_of_sums(sums: np.ndarray) -> np.ndarray:
    """Divide the first column by the second; zero where that is zero."""
    return divide(sums[..., 0], sums[..., 1])


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide element by element; zero where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


def score_of_sums(summands: np.ndarray, finish: Callable[[np.ndarray], np.ndarray]) -> MetricScores:
    """Make the scores of a corpus metric; a report's own score is that of a corpus of one."""
    rows = np.asarray(summands, dtype=np.float64)
    return MetricScores(rows, finish, finish(rows))


def average(parts: Sequence[MetricScores]) -> MetricScores:
    """Make the scores of the plain mean of several metrics on the same reports."""
    edges = np.cumsum([0, *(part.summands.shape[1] for part in parts)])

    def finish(sums: np.ndarray) -> np.ndarray:
        columns = zip(parts, edges[:-1], edges[1:], strict=True)
        return np.mean([part.finish(sums[..., first:last]) for part, first, last in columns], axis=0)

    summands = np.concatenate([part.summands for part in parts], axis=1)
    return MetricScores(summands, finish, np.mean([part.per_report for part in parts], axis=0))


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
        pairwise: whether a report's summands depend on its own pair alone; then equal pairs are scored once. CIDEr's do
            not: its weights come from all references.
    """

    score: Callable[[Sequence[str], Sequence[str]], MetricScores]
    signature: str
    missing: Callable[[], str | None] = nothing_missing
    pairwise: bool = True


def score_rows(metric: Metric, rows: Mapping[str, Sequence[str]], references: Sequence[str]) -> dict[str, MetricScores]:
    """Score several systems' reports (`rows`) on the same references with one metric.

    A pairwise metric sees each distinct pair once, in one call: what is slow to start or runs in batches gains most.

    Raises:
        ValueError: if there are no reports, or a row has not as many as there are references.
    """
    for name, reports in rows.items():
        if not reports or len(reports) != len(references):
            raise ValueError(
                f"expected as many predictions as references, at least one; got {len(reports)} and {len(references)} "
                f"({name})"
            )
    if not metric.pairwise:
        return {name: metric.score(reports, references) for name, reports in rows.items()}
    place: dict[tuple[str, str], int] = {}
    places = {
        name: [place.setdefault(pair, len(place)) for pair in zip(reports, references, strict=True)]
        for name, reports in rows.items()
    }
    scores = metric.score([report for report, _ in place], [reference for _, reference in place])
    return {name: scores.take(indexes) for name, indexes in places.items()}
