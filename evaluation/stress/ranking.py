"""Measure how well scores rank broken reports below harmlessly changed ones, within references and over all.

Both are areas under the ROC curve (AUC): the chance that a drawn broken report scores lower than a drawn harmless one,
where a tie counts half. Intervals are percentile bootstraps over references, because the changes of one reference are
not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.sparse import csr_array

from ..metrics.metric import MetricScores, divide, mean_of_reports, ratio_of_sums, score_of_sums
from ..metrics.significance import LEVEL, confidence_interval, draw_reports


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval over `n` references; all are None and 0 if there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Scored:
    """Scores of reports and the number of the reference of each."""

    scores: np.ndarray
    references: np.ndarray

    @cached_property
    def by_reference(self) -> dict[int, np.ndarray]:
        """Return the scores of each reference."""
        return {int(place): self.scores[self.references == place] for place in np.unique(self.references)}


def wins(broken: np.ndarray, harmless: np.ndarray) -> np.ndarray:
    """Compare every broken score with every harmless one: 1 if it is lower, 0.5 if it ties, 0 if it is higher."""
    ahead = harmless[None, :] - broken[:, None]
    return 0.5 * (np.sign(ahead) + 1.0)


def auc_within(broken: Scored, harmless: Sequence[Scored]) -> Estimate:
    """Compute the mean over references of the AUC among the changes of one reference.

    Args:
        broken: of one class of errors.
        harmless: of each class of harmless changes; those that a reference has count the same.
    """
    own = broken.by_reference
    others = [each.by_reference for each in harmless]
    areas = []
    for place, scores in own.items():
        of_classes = [wins(scores, other[place]).mean() for other in others if place in other]
        if of_classes:
            areas.append(np.mean(of_classes))
    return estimate(mean_of_reports(areas)) if areas else Estimate()


def auc_pooled(broken: Scored, harmless: Sequence[Scored]) -> Estimate:
    """Compute the AUC among all changes of all references."""
    scores = np.concatenate([each.scores for each in harmless]) if harmless else np.zeros(0)
    places = np.concatenate([each.references for each in harmless]) if harmless else np.zeros(0, dtype=int)
    if not len(scores) or not len(broken.scores):
        return Estimate()
    num = int(max(places.max(), broken.references.max())) + 1
    first, second = _membership(broken.references, num), _membership(places, num)
    between = first @ wins(broken.scores, scores) @ second.T  # (references, references)
    sizes = np.asarray(first.sum(axis=1)), np.asarray(second.sum(axis=1))
    draws = _draws(num)
    values = divide(((draws @ between) * draws).sum(axis=1), (draws @ sizes[0]) * (draws @ sizes[1]))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    present = int(np.sum((sizes[0] > 0) | (sizes[1] > 0)))
    return Estimate(float(between.sum() / (sizes[0].sum() * sizes[1].sum())), float(low), float(high), present)


def _membership(places: np.ndarray, num: int) -> csr_array:
    """Return `(num, changes)` with a one where a change is of a reference."""
    ones = np.ones(len(places))
    return csr_array((ones, (places, np.arange(len(places)))), shape=(num, len(places)))


def mean_drop(changed: Scored, own: np.ndarray) -> Estimate:
    """Compute by how much changes lower the score on average, as a share of the references' own mean score.

    Args:
        changed: scores of changed reports.
        own: `(references,)` scores of the references against themselves.
    """
    rows = [[float(np.mean(own[place] - scores)), float(own[place])] for place, scores in changed.by_reference.items()]
    return estimate(score_of_sums(np.array(rows), ratio_of_sums)) if rows else Estimate()


def unchanged_share(changed: Scored, own: np.ndarray) -> float:
    """Return the share of changed reports whose score is that of the reference itself."""
    return float(np.mean(changed.scores == own[changed.references])) if len(changed.scores) else 0.0


@lru_cache(maxsize=32)  # the classes of changes have few different numbers of references
def _draws(count: int) -> np.ndarray:
    return draw_reports(count)


def estimate(scores: MetricScores) -> Estimate:
    """Return a value with its interval over references."""
    count = len(scores.per_report)
    return Estimate(scores.value, *confidence_interval(scores, _draws(count)), count)
