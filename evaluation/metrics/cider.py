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


def cider_d(predictions: Sequence[str], references: Sequence[str], corpus: Sequence[str] | None = None) -> MetricScores:
    """Compute the mean over reports of CIDEr-D with one reference for each report, times 100.

    An n-gram has a higher weight if fewer texts of the `corpus` hold it. Default: all `references`, so that a set of
    one report scores zero. Confidence intervals and paired tests keep these weights and resample the reports' scores.
    """
    written = [split_words(text) for text in predictions]
    true = [split_words(text) for text in references]
    sides = [written, true] if corpus is None else [written, true, [split_words(text) for text in corpus]]
    # The reference measures length in 2-grams.
    lengths = [np.array([max(len(words) - 1, 0) for words in texts], dtype=float) for texts in (written, true)]
    penalty = np.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * SIGMA**2))
    cosines = [_clipped_cosine(_count_ngrams(sides, order)) for order in range(1, MAX_ORDER + 1)]
    return mean_of_reports(SCALE * np.mean(cosines, axis=0) * penalty)


def _count_ngrams(sides: Sequence[list[list[str]]], order: int) -> list[csr_array]:
    """Count every report's n-grams; each side's matrix is `(reports, n-grams of all sides)`."""
    columns: dict[tuple[str, ...], int] = {}
    parts = []
    for texts in sides:
        indexes, starts = [], [0]
        for words in texts:
            ngrams = zip(*(words[first:] for first in range(order)), strict=False)
            indexes.extend([columns.setdefault(ngram, len(columns)) for ngram in ngrams])
            starts.append(len(indexes))
        parts.append((indexes, starts))
    matrices = []
    for indexes, starts in parts:
        shape = (len(starts) - 1, max(len(columns), 1))
        counts = csr_array((np.ones(len(indexes)), indexes, starts), shape=shape)
        counts.sum_duplicates()
        matrices.append(counts)
    return matrices


def _clipped_cosine(sides: Sequence[csr_array]) -> np.ndarray:
    """Compute the cosine of tf-idf weights, with a report's weight limited to its reference's: `(reports,)`.

    The sides are written and true reports, and the corpus if it is not that of the true ones.
    """
    written, true, corpus = sides[0], sides[1], sides[-1]
    holding = np.bincount(corpus.indices, minlength=corpus.shape[1])
    # An n-gram that is in no text of the corpus has the same weight as one that is in a single text.
    rarity = np.log(corpus.shape[0]) - np.log(np.maximum(holding, 1))
    written, true = _scale_columns(written, rarity), _scale_columns(true, rarity)
    overlap = written.minimum(true).multiply(true).sum(axis=1)
    return divide(overlap, _norms(written) * _norms(true))


def _scale_columns(counts: csr_array, weights: np.ndarray) -> csr_array:
    return csr_array((counts.data * weights[counts.indices], counts.indices, counts.indptr), shape=counts.shape)


def _norms(rows: csr_array) -> np.ndarray:
    return np.sqrt(rows.multiply(rows).sum(axis=1))
