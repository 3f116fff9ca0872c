"""Compute the significance of scores: confidence intervals over reports, and a paired test of two systems.

Both resample reports without scoring texts again: a metric keeps the summands of every report (`MetricScores`), so a
resample is only a sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .metric import MetricScores

RESAMPLES = 1000
ROUNDS = 10_000  # of the paired test: p-values down to 1e-4
LEVEL = 0.95
SEED = 0
CHUNK = 500  # draws held in memory at a time


def draw_reports(num_reports: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Draw reports with replacement; return the count of each report in each draw, `(resamples, reports)`."""
    chances = np.full(num_reports, 1.0 / num_reports)
    return np.random.default_rng(seed).multinomial(num_reports, chances, size=resamples).astype(np.float64)


def confidence_interval(scores: MetricScores, draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a metric's value (Efron 1979) over `draws` of its reports."""
    return _percentiles(scores.finish(draws @ scores.summands), level)


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedTest:
    """The difference of two systems (second minus first), its bootstrap interval, and how likely it is by chance."""

    difference: float
    low: float
    high: float
    p_value: float


def compare_scores(
    first: MetricScores, second: MetricScores, draws: np.ndarray, rounds: int = ROUNDS, seed: int = SEED
) -> PairedTest:
    """Compare one metric of two systems on the same reports.

    The p-value is two-sided, by approximate randomisation (Noreen 1989), which exchanges the systems report by report;
    1 for equal systems.

    Raises:
        ValueError: if the two were scored on different numbers of reports.
    """
    if first.summands.shape != second.summands.shape:
        raise ValueError(f"a paired test needs the same reports, got {len(first.summands)} and {len(second.summands)}")
    difference = second.value - first.value
    spread = second.finish(draws @ second.summands) - first.finish(draws @ first.summands)
    low, high = _percentiles(spread, LEVEL)
    as_far = 0
    # The order of a sum changes its last digits, so a gap that is equal up to these digits counts as equally large.
    limit = abs(difference) - 1e-9 * max(abs(first.value), abs(second.value), 1.0)
    for swapped in _exchanges(len(first.summands), rounds, seed):
        moved = swapped @ (second.summands - first.summands)
        gap = second.finish(second.summands.sum(axis=0) - moved) - first.finish(first.summands.sum(axis=0) + moved)
        as_far += int(np.sum(np.abs(gap) >= limit))
    return PairedTest(difference, low, high, (as_far + 1) / (rounds + 1))


def _exchanges(num_reports: int, rounds: int, seed: int) -> Iterator[np.ndarray]:
    """Yield masks of the reports to exchange, each with probability one half: `(rounds, reports)`, in parts."""
    masks = _masks(num_reports, rounds, seed)
    for start in range(0, rounds, CHUNK):
        yield masks[start : start + CHUNK].astype(np.float64)


@lru_cache(maxsize=1)  # every metric and every floor of an evaluation is tested with the same ones
def _masks(num_reports: int, rounds: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    sizes = (min(CHUNK, rounds - start) for start in range(0, rounds, CHUNK))
    return np.concatenate([draw.integers(0, 2, size=(size, num_reports), dtype=np.int8) for size in sizes])
