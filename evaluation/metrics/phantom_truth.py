"""Score a report's findings against the known findings of phantoms, from 0 to 1."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from argus_processing.phantom.findings import FINDING_KINDS, Finding

from .count_scores import f1_of, macro_f1_of, precision_of, recall_of, with_labels
from .metric import Metric, MetricScores, ratio_of_sums, score_of_sums
from .report_findings import extract_findings

SIGNATURE = "argus findings|phantom truth"
FINDING_METRICS = ("finding_f1", "precision", "recall", "macro_f1", "finding_side_f1", "laterality_accuracy")
# Labels whose side carries information: those that can be on more than one side.
TWO_SIDED = {
    label for label, kind in FINDING_KINDS.items() if len({side for side, _ in kind.locations if side is not None}) > 1
}
Pair = tuple[set[Finding], set[Finding]]  # of one scan: findings in the report, true findings


def finding_metrics(truths: Sequence[Sequence[Finding]]) -> dict[str, Metric]:
    """Return the metrics of `score_findings` for the scans with these findings; they do not read the references."""

    @lru_cache(maxsize=8)  # of the model and the floors
    def scores_of(reports: tuple[str, ...]) -> dict[str, MetricScores]:
        return score_findings(reports, truths)

    def metric(name: str) -> Metric:
        return Metric(lambda reports, _: scores_of(tuple(reports))[name], SIGNATURE, pairwise=False, scale=1)

    return {name: metric(name) for name in FINDING_METRICS}


def score_findings(predictions: Sequence[str], truths: Sequence[Sequence[Finding]]) -> dict[str, MetricScores]:
    """Score reports against the true findings.

    Args:
        predictions: one report for each scan.
        truths: the findings of each scan, in the same order.

    Returns:
        `precision`, `recall`, `finding_f1` over all labels (side ignored), with each label as a part, which counts the
        scans where it is `present`;
        `macro_f1`, the mean over the labels that occur in the truth;
        `finding_side_f1`, for which label and side must both be right, and `finding_place_f1`, also the place;
        `laterality_accuracy`, the share of right sides among the `sided` findings: those truly present with a side and
        also reported with a side. A label that always has the same side (emphysema in both lungs) tells nothing and is
        left out. It is not defined if there is no such finding.

    Raises:
        ValueError: if the two differ in length or are empty.
    """
    if len(predictions) != len(truths) or not predictions:
        raise ValueError(f"need one report for each truth, got {len(predictions)} reports and {len(truths)} truths")
    pairs = [(extract_findings(report), set(truth)) for report, truth in zip(predictions, truths, strict=True)]
    by_label = np.stack([_counts(pairs, _label_of, label) for label in FINDING_KINDS], axis=1)  # (N, labels, 3)
    sides = np.array([_laterality(*pair) for pair in pairs], dtype=np.float64)
    return {
        "finding_f1": with_labels(f1_of, by_label, tuple(FINDING_KINDS)),
        "precision": with_labels(precision_of, by_label, tuple(FINDING_KINDS)),
        "recall": with_labels(recall_of, by_label, tuple(FINDING_KINDS)),
        "macro_f1": macro_f1_of(by_label, lambda reported, present: present > 0),
        "finding_side_f1": f1_of(_counts(pairs, lambda finding: (finding.label, finding.side))),
        "finding_place_f1": f1_of(_counts(pairs, lambda finding: finding)),
        "laterality_accuracy": replace(
            score_of_sums(sides, ratio_of_sums),
            flags={"sided": sides[:, 1].astype(int)},
            is_defined=bool(sides[:, 1].any()),
        ),
    }


def _label_of(finding: Finding) -> str:
    return finding.label


def _counts(pairs: Sequence[Pair], key: Callable[[Finding], object], only: str | None = None) -> np.ndarray:
    """Count true positives, reported and present findings of each scan, `(N, 3)`; a key tells which are equal."""
    rows = []
    for predicted, truth in pairs:
        predicted_keys = {key(finding) for finding in predicted if only in (None, finding.label)}
        truth_keys = {key(finding) for finding in truth if only in (None, finding.label)}
        rows.append((len(predicted_keys & truth_keys), len(predicted_keys), len(truth_keys)))
    return np.array(rows, dtype=np.float64)


def _laterality(predicted: set[Finding], truth: set[Finding]) -> tuple[int, int]:
    """Count a scan's findings that were reported with the right side, and those with a true and a reported side."""
    sided = right = 0
    for label in {finding.label for finding in truth if finding.side} & TWO_SIDED:
        told = {finding.side for finding in predicted if finding.label == label and finding.side}
        due = {finding.side for finding in truth if finding.label == label and finding.side}
        if told:
            sided += 1
            right += told == due
    return right, sided
