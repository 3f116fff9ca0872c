"""How far readers agree: Krippendorff's alpha for ordered scores."""

from collections import Counter
from collections.abc import Sequence


def ordinal_alpha(units: Sequence[Sequence[int]]) -> float | None:
    """Krippendorff's alpha with the ordinal difference, over units that each hold one score a reader.

    1 is full agreement, 0 what chance gives, below 0 disagreement by system. Readers may have left out units; a unit
    with fewer than two scores says nothing and is left out. Source: K. Krippendorff, Computing Krippendorff's
    Alpha-Reliability (2011), section E. The library of that name is under the GPL, so the formula stands here.

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
    """Squared number of given scores that lie between two scores, the two themselves by half."""
    low, high = min(first, second), max(first, second)
    between = sum(count for score, count in totals.items() if low <= score <= high)
    return (between - (totals[low] + totals[high]) / 2) ** 2
