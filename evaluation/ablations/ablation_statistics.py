"""Statistics of cells that were run with several seeds: mean, spread, confidence interval, order."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def summarize(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Summarize a metric over seeds.

    Returns:
        `n`, the number of seeds that have the metric; `mean`; `std`, the sample standard deviation (n - 1); `low` and
        `high`, the 95% confidence interval of the mean by Student's t. A value that needs more seeds is None.
    """
    known = [float(value) for value in values if value is not None]
    summary: dict[str, float | int | None] = {"n": len(known), "mean": None, "std": None, "low": None, "high": None}
    if known:
        summary["mean"] = float(np.mean(known))
    if len(known) > 1:
        summary["std"] = float(np.std(known, ddof=1))
        reach = half_width(summary["std"], len(known))
        summary |= {"low": summary["mean"] - reach, "high": summary["mean"] + reach}
    return summary


def half_width(std: float, count: int) -> float:
    """Return half the width of the 95% confidence interval of a mean of `count` values, by Student's t."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * std / math.sqrt(count)


def order_of(scores: Mapping[str, Mapping[int, float]], higher_is_better: bool = True) -> dict[str, Any]:
    """Sort the values of an axis by their mean score, and compare each pair seed by seed.

    Args:
        scores: value's name -> seed -> score.
        higher_is_better: False for a loss.

    Returns:
        `order`, best first; `pairs`, each with `better`, `worse`, the mean `difference` over the seeds that both have,
        its 95% interval `low` to `high` (paired, Student's t), and `clear`: true if the interval does not contain zero.
    """
    means = {name: float(np.mean(list(by_seed.values()))) for name, by_seed in scores.items() if by_seed}
    order = sorted(means, key=means.get, reverse=higher_is_better)
    return {"order": order, "pairs": [compare(scores, better, worse) for better, worse in combinations(order, 2)]}


def compare(scores: Mapping[str, Mapping[int, float]], better: str, worse: str) -> dict[str, Any]:
    """Compare two values over the seeds that both have; see `order_of`."""
    seeds = sorted(scores[better].keys() & scores[worse].keys())
    summary = summarize([scores[better][seed] - scores[worse][seed] for seed in seeds])
    low, high = summary["low"], summary["high"]
    return {
        "better": better,
        "worse": worse,
        "n": summary["n"],
        "difference": summary["mean"],
        "low": low,
        "high": high,
        "clear": low is not None and (low > 0 or high < 0),
    }
