"""Score the labels read from reports against those read from the references, from 0 to 1: F1 in four ways, and CRG."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from ..count_scores import f1_of, macro_f1_of, precision_of, recall_of, split_counts, with_labels
from ..metric import MetricScores, divide, mean_of_reports, score_of_sums
from .label_terms import CT_RATE_LABELS

F1, MACRO_F1, WEIGHTED_F1 = "label F1", "label F1 (macro)", "label F1 (weighted)"
SCAN_F1, PRECISION, RECALL, CRG = "label F1 (per scan)", "label precision", "label recall", "CRG"
# name -> how it is computed, for its signature
LABEL_SCORES = {
    F1: "f1|micro",
    MACRO_F1: "f1|macro over the labels of either side",
    WEIGHTED_F1: "f1|weighted by the references' labels",
    SCAN_F1: "f1|mean of scans|1 if both sides have no label",
    PRECISION: "precision|micro",
    RECALL: "recall|micro",
    CRG: "crg|w_TP=w_FN=(T-A)/2A,w_FP=1",
}
NO_LABEL = "no_label_on_both_sides"
Labels = AbstractSet[str]


def score_labels(predictions: Sequence[Labels], references: Sequence[Labels]) -> dict[str, MetricScores]:
    """Score sets of labels, one a report, by each of `LABEL_SCORES`; F1, precision and recall have a part per label.

    The values of F1, precision and recall are scikit-learn's. Where that asks what a division by zero is, the mean over
    labels leaves out those that neither side names (`zero_division=nan`); a scan that both sides call normal counts 1.
    A score that divides by nothing, such as the precision of silent reports, is 0 and not defined.

    Raises:
        ValueError: if the two differ in length or are empty, or if a label is not one of CT-RATE's.
    """
    if len(predictions) != len(references) or not predictions:
        raise ValueError(f"need one report for each reference, got {len(predictions)} and {len(references)}")
    if strange := set().union(*predictions, *references) - set(CT_RATE_LABELS):
        raise ValueError(f"no label of CT-RATE: {', '.join(sorted(strange))}")
    told, true = _marks(predictions), _marks(references)  # (N, labels)
    counts = np.stack([told * true, told, true], axis=-1)
    scores = {
        F1: with_labels(f1_of, counts, CT_RATE_LABELS),
        MACRO_F1: macro_f1_of(counts, lambda reported, present: reported + present > 0),
        WEIGHTED_F1: score_of_sums(counts.reshape(len(counts), -1), _weighted_f1),
        SCAN_F1: _scan_f1(counts.sum(axis=1)),
        PRECISION: with_labels(precision_of, counts, CT_RATE_LABELS),
        RECALL: with_labels(recall_of, counts, CT_RATE_LABELS),
        CRG: _crg(counts.sum(axis=1)),
    }
    is_told, is_true = bool(told.any()), bool(true.any())
    defined = {F1: is_told or is_true, MACRO_F1: is_told or is_true, WEIGHTED_F1: is_true}
    defined |= {PRECISION: is_told, RECALL: is_true}
    return {name: replace(each, is_defined=defined.get(name, each.is_defined)) for name, each in scores.items()}


def _marks(reports: Sequence[Labels]) -> np.ndarray:
    return np.array([[label in labels for label in CT_RATE_LABELS] for labels in reports], dtype=np.float64)


def _weighted_f1(sums: np.ndarray) -> np.ndarray:
    hits, reported, present = split_counts(sums)
    return divide((divide(2 * hits, reported + present) * present).sum(axis=-1), present.sum(axis=-1))


def _scan_f1(counts: np.ndarray) -> MetricScores:
    """Compute the mean over scans of each scan's F1, from its numbers of labels `(N, 3)`."""
    hits, reported, present = counts.T
    is_normal = reported + present == 0
    return mean_of_reports(np.where(is_normal, 1.0, divide(2 * hits, reported + present)), {NO_LABEL: is_normal})


def _crg(counts: np.ndarray) -> MetricScores:
    """Compute the clinical relevance gain (arXiv 2505.17167) from each scan's numbers of labels `(N, 3)`."""
    slots = np.full((len(counts), 1), float(len(CT_RATE_LABELS)))
    scores = score_of_sums(np.concatenate([counts, slots], axis=1), crg_of_sums)
    present = counts[:, 2].sum()
    return replace(scores, is_defined=bool(0 < present < slots.sum()))


def crg_of_sums(sums: np.ndarray) -> np.ndarray:
    """Compute CRG from `(..., 4)`: true positives, reported labels, present labels (A) and all label slots (T).

    A true positive gains and a missed label costs (T - A) / 2A, so that rare labels weigh as much as common ones; an
    invented label costs 1. Reports without any label give 1/3, perfect ones 1. Where no label is present, nothing can
    be missed, and only what is invented costs.
    """
    hits, reported, present, slots = np.moveaxis(sums, -1, 0)
    best = (slots - present) / 2  # A times the weight of a true positive
    found = np.where(present > 0, divide(2 * hits - present, present), 1.0)  # (TP - FN) / A
    return divide(best, 2 * best - (found * best - (reported - hits)))
