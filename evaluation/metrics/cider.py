"""Compute CIDEr-D, the consensus score of image captioning (Vedantam et al. 2015), for all reports at once.

It is implemented here because the reference, pycocoevalcap, takes almost a minute for 6,708 reports and brings 100 MB
of other scorers. The tests check that both give equal values.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from .metric import MetricScores, divide, mean_of_reports
from .report_words import split_words

MAX_ORDER = 4  # longest n-gram of CIDEr-D and BLEU, in words
SIGMA = 6.0  # of the length penalty, in words
# The reference multiplies by 10; the factor 100 brings every metric to the scale used in tables.
SCALE = 10.0 * 100.0


def cider_d(predictions: Sequence[str], references: Sequence[str]) -> MetricScores:
    """Compute the mean over reports of CIDEr-D with one reference for each report, times 100.

    An n-gram has a higher weight if fewer references hold it. So the weights come from all `references`, and a set of
    one report scores zero. Confidence intervals and paired tests keep these weights and resample the reports' scores.
    """
    written = [split_words(text) for text in predictions]
    true = [split_words(text) for text in references]
    # The reference measures length in 2-grams.
    lengths = [np.array([max(len(words) - 1, 0) for words in texts], dtype=float) for texts in (written, true)]
    penalty = np.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * SIGMA**2))
    cosines = [_clipped_cosine(*_count_ngrams(written, true, order)) for order in range(1, MAX_ORDER + 1)]
    return mean_of_reports(SCALE * np.mean(cosines, axis=0) * penalty)


def _count_ngrams(written: list[list[str]], true: list[list[str]], order: int) -> tuple[csr_array, csr_array]:
    """Count every report's n-grams; both matrices are `(reports, n-grams of both sides)`."""
    columns: dict[tuple[str, ...], int] = {}
    parts = []
    for texts in (written, true):
        indexes, starts = [], [0]
        for words in texts:
            ngrams = zip(*(words[first:] for first in range(order)), strict=False)
            indexes.extend([columns.setdefault(ngram, len(columns)) for ngram in ngrams])
            starts.append(len(indexes))
        parts.append((indexes, starts))
    matrices = []
    for indexes, starts in parts:
        counts = csr_array((np.ones(len(indexes)), indexes, starts), shape=(len(written), max(len(columns), 1)))
        counts.sum_duplicates()
        matrices.append(counts)
    return matrices[0], matrices[1]


def _clipped_cosine(written: csr_array, true: csr_array) -> np.ndarray:
    """Compute the cosine of tf-idf weights, with a report's weight limited to its reference's: `(reports,)`."""
    holding = np.bincount(true.indices, minlength=true.shape[1])
    # An n-gram that is in no reference has the same weight as one that is in a single reference.
    rarity = np.log(true.shape[0]) - np.log(np.maximum(holding, 1))
    written, true = _scale_columns(written, rarity), _scale_columns(true, rarity)
    overlap = written.minimum(true).multiply(true).sum(axis=1)
    return divide(overlap, _norms(written) * _norms(true))


def _scale_columns(counts: csr_array, weights: np.ndarray) -> csr_array:
    return csr_array((counts.data * weights[counts.indices], counts.indices, counts.indptr), shape=counts.shape)


def _norms(rows: csr_array) -> np.ndarray:
    return np.sqrt(rows.multiply(rows).sum(axis=1))
