"""Define the parts of a metric: a signature, a function of reports, and scores that can be resampled.

Every score here is a function of sums over reports: a mean is the sum of scores divided by their count; BLEU comes from
summed n-gram counts. So each metric keeps one row of summands per report. A confidence interval or a paired test sums
other selections of the same rows and does not score any text again.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np


@dataclass(frozen=True)
class MetricScores:
    """The scores of one metric on a set of reports, in a form that can be resampled.

    Attributes:
        summands: `(N, K)` float64, one row for each report.
        finish: gives values `(...)` from summed rows `(..., K)`; defined for a single row and for all-zero sums.
        per_report: `(N,)` scores of the single reports, on the scale of the value.
        flags: events that a reader of the scores must know about, by name, such as `unparsed`: `(N,)` booleans, or the
            number of such events in each report.
        parts: the same metric on parts of what it scores, by name, such as one label.
        is_defined: whether these reports hold anything to score.
    """

    summands: np.ndarray
    finish: Callable[[np.ndarray], np.ndarray]
    per_report: np.ndarray
    flags: Mapping[str, np.ndarray] = field(default_factory=dict)
    parts: "Mapping[str, MetricScores]" = field(default_factory=dict)
    is_defined: bool = True

    @property
    def value(self) -> float:
        """Return the metric's value over all reports."""
        return float(self.finish(self.summands.sum(axis=0)))

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of events of each kind."""
        return {name: int(np.sum(flagged)) for name, flagged in self.flags.items()}

    def take(self, indexes: Sequence[int] | np.ndarray) -> "MetricScores":
        """Return the scores of the reports at these places, in this order, repeats allowed."""
        places = np.asarray(indexes, dtype=int)
        flags = {name: np.asarray(flagged)[places] for name, flagged in self.flags.items()}
        parts = {name: part.take(places) for name, part in self.parts.items()}
        return replace(
            self, summands=self.summands[places], per_report=self.per_report[places], flags=flags, parts=parts
        )


def mean_of_reports(
    per_report: Sequence[float] | np.ndarray, flags: Mapping[str, Sequence[bool]] | None = None
) -> MetricScores:
    """Make the scores of a metric whose value is the mean over reports."""
    scores = np.asarray(per_report, dtype=np.float64)
    summands = np.stack([scores, np.ones_like(scores)], axis=-1)
    return MetricScores(summands, ratio_of_sums, scores, {name: np.asarray(at) for name, at in (flags or {}).items()})


def ratio_of_sums(sums: np.ndarray) -> np.ndarray:
    """Divide the first column by the second; the result is zero where the second is zero."""
    return divide(sums[..., 0], sums[..., 1])


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide element by element; the result is zero where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


def score_of_sums(summands: np.ndarray, finish: Callable[[np.ndarray], np.ndarray]) -> MetricScores:
    """Make the scores of a corpus metric; the score of one report is that of a corpus with only this report."""
    rows = np.asarray(summands, dtype=np.float64)
    return MetricScores(rows, finish, finish(rows))


def average(parts: Sequence[MetricScores]) -> MetricScores:
    """Make the scores of the unweighted mean of several metrics on the same reports."""
    edges = np.cumsum([0, *(part.summands.shape[1] for part in parts)])

    def finish(sums: np.ndarray) -> np.ndarray:
        columns = zip(parts, edges[:-1], edges[1:], strict=True)
        return np.mean([part.finish(sums[..., first:last]) for part, first, last in columns], axis=0)

    summands = np.concatenate([part.summands for part in parts], axis=1)
    return MetricScores(summands, finish, np.mean([part.per_report for part in parts], axis=0))


def nothing_missing() -> None:
    """Return None, which means that a metric can be computed."""
    return None


@dataclass(frozen=True)
class Metric:
    """One metric: its scoring function, and the signature that is printed with its values.

    Attributes:
        score: gives the scores of (predictions, references); both have the same length, at least one.
        signature: implementation, version, tokenizer, level and settings.
        missing: gives one line that says what to install and where to put it, or None if the metric can be computed.
        pairwise: whether a report's summands depend only on its own pair; then equal pairs are scored once. This is
            false for CIDEr, whose weights come from all references.
        with_corpus: for a metric that is not pairwise, gives the pairwise metric whose weights come from these texts.
        scale: the factor by which the value is printed larger than the published score: 100, or 1 for a share.
    """

    score: Callable[[Sequence[str], Sequence[str]], MetricScores]
    signature: str
    missing: Callable[[], str | None] = nothing_missing
    pairwise: bool = True
    with_corpus: "Callable[[Sequence[str]], Metric] | None" = None
    scale: int = 100


def score_rows(metric: Metric, rows: Mapping[str, Sequence[str]], references: Sequence[str]) -> dict[str, MetricScores]:
    """Score several systems' reports (`rows`) on the same references with one metric; see `score_pairs`."""
    return score_pairs(metric, {name: (reports, references) for name, reports in rows.items()})


Row = TypeVar("Row", bound=Hashable)


def score_pairs(metric: Metric, rows: Mapping[Row, tuple[Sequence[str], Sequence[str]]]) -> dict[Row, MetricScores]:
    """Score several rows of reports, each with its own references, with one metric.

    A pairwise metric gets each distinct pair once, all in one call. This saves most time for metrics that start slowly
    or run in batches.

    Raises:
        ValueError: if there are no reports, or the number of reports in a row is not the number of references.
    """
    for name, (reports, references) in rows.items():
        if not reports or len(reports) != len(references):
            raise ValueError(
                f"expected as many predictions as references, at least one; got {len(reports)} and {len(references)} "
                f"({name})"
            )
    if not metric.pairwise:
        return {name: metric.score(*row) for name, row in rows.items()}
    place: dict[tuple[str, str], int] = {}
    places = {
        name: [place.setdefault(pair, len(place)) for pair in zip(reports, references, strict=True)]
        for name, (reports, references) in rows.items()
    }
    scores = metric.score([report for report, _ in place], [reference for _, reference in place])
    return {name: scores.take(indexes) for name, indexes in places.items()}
