"""Compute the agreement of readers: Krippendorff's alpha for ordered scores."""

from collections import Counter
from collections.abc import Sequence


def ordinal_alpha(units: Sequence[Sequence[int]]) -> float | None:
    """Compute Krippendorff's alpha with the ordinal difference, over units that hold one score from each reader.

    1 is full agreement, 0 is agreement by chance, below 0 is systematic disagreement. Readers may leave out units; a
    unit with fewer than two scores gives no information and is not used. Source: K. Krippendorff, Computing
    Krippendorff's Alpha-Reliability (2011), section E. The library of that name is under the GPL, so the formula is
    implemented here.

    Returns:
        Alpha, or None where it is not defined: no unit with two scores, or all scores equal.
    """
    pairable = [Counter(scores) for scores in units if len(scores) > 1]
    totals = sum(pairable, Counter())
    if len(totals) < 2:
        return None
    observed = sum(
        sum(
            count * other * _difference(score, second, totals)
            for score, count in unit.items()
            for second, other in unit.items()
        )
        / (unit.total() - 1)
        for unit in pairable
    )
    expected = sum(
        count * other * _difference(score, second, totals)
        for score, count in totals.items()
        for second, other in totals.items()
    ) / (totals.total() - 1)
    return 1.0 - observed / expected


def _difference(first: int, second: int, totals: Counter[int]) -> float:
    """Return the squared number of given scores between two scores; scores equal to one of the two count half."""
    low, high = min(first, second), max(first, second)
    between = sum(count for score, count in totals.items() if low <= score <= high)
    return (between - (totals[low] + totals[high]) / 2) ** 2
