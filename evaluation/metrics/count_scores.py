"""Compute precision, recall and F1 from counts of right, reported and present findings.

Counts are `(N, 3)` for one kind of finding, or `(N, labels, 3)`: of each report the numbers of findings that are right,
that it states, and that are present.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .metric import MetricScores, divide, ratio_of_sums, score_of_sums


def f1_of(counts: np.ndarray) -> MetricScores:
    """Compute the F1 of counts `(N, 3)`."""
    return score_of_sums(np.stack([2 * counts[:, 0], counts[:, 1] + counts[:, 2]], axis=-1), ratio_of_sums)


def precision_of(counts: np.ndarray) -> MetricScores:
    """Compute the precision of counts `(N, 3)`."""
    return score_of_sums(counts[:, [0, 1]], ratio_of_sums)


def recall_of(counts: np.ndarray) -> MetricScores:
    """Compute the recall of counts `(N, 3)`."""
    return score_of_sums(counts[:, [0, 2]], ratio_of_sums)


def with_labels(
    score: Callable[[np.ndarray], MetricScores], by_label: np.ndarray, labels: Sequence[str]
) -> MetricScores:
    """Score counts `(N, labels, 3)` all together, and each label as a part that counts the reports it is present in."""
    parts = {
        label: replace(score(by_label[:, place]), flags={"present": by_label[:, place, 2].astype(int)})
        for place, label in enumerate(labels)
    }
    return replace(score(by_label.sum(axis=1)), parts=parts)


def macro_f1_of(by_label: np.ndarray, counted: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> MetricScores:
    """Compute the mean F1 over labels of counts `(N, labels, 3)`.

    Args:
        by_label: the counts.
        counted: whether a label is in the mean, from its numbers of reported and of present findings.
    """

    def finish(sums: np.ndarray) -> np.ndarray:
        hits, reported, present = split_counts(sums)
        chosen = counted(reported, present)
        scores = np.where(chosen, divide(2 * hits, reported + present), 0.0)
        # Added one by one: numpy's own sum of many numbers has other last digits.
        total = sum(np.moveaxis(scores, -1, 0), start=np.zeros(scores.shape[:-1]))
        return divide(total, chosen.sum(axis=-1))

    return score_of_sums(by_label.reshape(len(by_label), -1), finish)


def split_counts(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split flat sums `(..., 3 * labels)` into right, reported and present findings, `(..., labels)` each."""
    counts = sums.reshape(*sums.shape[:-1], -1, 3)
    return counts[..., 0], counts[..., 1], counts[..., 2]
