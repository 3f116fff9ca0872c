"""Compute statistics of cells that were run with several seeds: mean, spread, confidence interval, order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """A metric over seeds; a value that needs more seeds is None.

    Attributes:
        n: number of seeds that have the metric.
        mean: their mean.
        std: the sample standard deviation (n - 1).
        low, high: the 95% confidence interval of the mean by Student's t.
    """

    n: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedDifference:
    """Two values of an axis compared over the `n` seeds that both have.

    Attributes:
        better, worse: names of the values.
        difference: the mean difference.
        low, high: its 95% interval (paired, Student's t).
        clear: whether the interval does not contain zero.
    """

    better: str
    worse: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    clear: bool


@dataclass(frozen=True)
class MeasuredOrder:
    """The values of an axis by their mean score, best first, and each pair of them compared."""

    order: tuple[str, ...]
    pairs: tuple[PairedDifference, ...]


def summarize(values: Sequence[float | None]) -> Summary:
    """Summarize a metric over seeds."""
    known = [float(value) for value in values if value is not None]
    if not known:
        return Summary(0, None, None, None, None)
    mean = float(np.mean(known))
    if len(known) == 1:
        return Summary(1, mean, None, None, None)
    std = float(np.std(known, ddof=1))
    reach = half_width(std, len(known))
    return Summary(len(known), mean, std, mean - reach, mean + reach)


def half_width(std: float, count: int) -> float:
    """Return half the width of the 95% confidence interval of a mean of `count` values, by Student's t."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * std / math.sqrt(count)


def order_of(scores: Mapping[str, Mapping[int, float]], higher_is_better: bool = True) -> MeasuredOrder:
    """Sort the values of an axis by their mean score, and compare each pair seed by seed.

    Args:
        scores: value's name -> seed -> score.
        higher_is_better: False for a loss.
    """
    means = {name: float(np.mean(list(by_seed.values()))) for name, by_seed in scores.items() if by_seed}
    order = sorted(means, key=lambda name: means[name], reverse=higher_is_better)
    pairs = tuple(compare(scores, better, worse) for better, worse in combinations(order, 2))
    return MeasuredOrder(tuple(order), pairs)


def compare(scores: Mapping[str, Mapping[int, float]], better: str, worse: str) -> PairedDifference:
    """Compare two values over the seeds that both have."""
    seeds = sorted(scores[better].keys() & scores[worse].keys())
    summary = summarize([scores[better][seed] - scores[worse][seed] for seed in seeds])
    low, high = summary.low, summary.high
    clear = low is not None and high is not None and (low > 0 or high < 0)
    return PairedDifference(better, worse, summary.n, summary.mean, low, high, clear)
