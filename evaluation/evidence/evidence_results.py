"""Compute the shares of sentences whose maps point right, with bootstrap intervals over scans."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from ..metrics.metric import ratio_of_sums, score_of_sums
from ..metrics.significance import confidence_interval, draw_reports
from .evidence_measures import MeasuredCase, PointedSentence
from .pointing import NEAR_MM


@dataclass(frozen=True)
class Share:
    """A mean over sentences with its 95% bootstrap interval over scans; `n` sentences were counted."""

    value: float
    low: float
    high: float
    n: int


# A finding that takes up more of the body, such as emphysema of both lungs, is hit wherever a map points.
MOST_OF_BODY = 0.05
Counted = Callable[[PointedSentence], float | None]
# Of sentences that have a map, about findings that are somewhere; None leaves a sentence out.
MEASURES: dict[str, Counted] = {
    "pointing": lambda told: told.within_a_voxel,
    "within_8_mm": lambda told: None if told.distance_mm is None else told.distance_mm <= NEAR_MM,
    "overlap": lambda told: told.overlap,
    "chance": lambda told: None if told.within_a_voxel is None else told.chance,
    "no_model": lambda told: None if told.within_a_voxel is None else told.no_model,
    "other_sentence": lambda told: told.other_sentence,
    "deletion": lambda told: told.deletion,
    "deletion_elsewhere": lambda told: told.deletion_elsewhere,
    "has_map": lambda told: told.within_a_voxel is not None,
}


def share_of(cases: Sequence[MeasuredCase], counted: Counted) -> Share | None:
    """Return the mean of a measure over the sentences of cases about findings that take up a small part of the body.

    None if there is no such sentence.
    """
    rows = []
    for case in cases:
        local = [each for each in case.sentences if each.share_of_body <= MOST_OF_BODY]
        values = [float(value) for each in local if (value := counted(each)) is not None]
        rows.append((sum(values), len(values)))
    return share_of_counts(rows)


def share_of_counts(rows: Sequence[tuple[float, int]]) -> Share | None:
    """Return the share of sums and numbers of sentences, a row for each scan; None if there is no sentence."""
    sums = np.array(rows, dtype=np.float64).reshape(-1, 2)
    count = int(sums[:, 1].sum())
    if not count:
        return None
    scores = score_of_sums(sums, ratio_of_sums)
    low, high = confidence_interval(scores, draw_reports(len(rows)))
    return Share(scores.value, low, high, count)


def seconds_per_sentence(cases: Sequence[MeasuredCase]) -> float | None:
    """Return the seconds that a map took, with all that comes before it; None if there is no map."""
    count = sum(case.num_maps for case in cases)
    return sum(case.seconds for case in cases if case.num_maps) / count if count else None


def summarize(cases: Sequence[MeasuredCase]) -> dict[str, Share]:
    """Return every measure that cases have."""
    shares = {name: share_of(cases, counted) for name, counted in MEASURES.items()}
    return {name: share for name, share in shares.items() if share is not None}


def evidence_table(shares: Mapping[str, Share]) -> Table:
    """Format shares as a table for the terminal."""
    table = Table("measure", "value", "95% interval", "n", title="Maps of evidence", box=SIMPLE)
    for name, share in shares.items():
        table.add_row(
            name.replace("_", " "), f"{share.value:.3f}", f"{share.low:.3f} to {share.high:.3f}", str(share.n)
        )
    return table
