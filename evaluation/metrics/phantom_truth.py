"""Scores of a report's findings against the known findings of phantoms."""

from collections.abc import Callable, Sequence

import numpy as np

from argus_processing.phantom.findings import FINDING_KINDS, Finding

from .metric import MetricScores, ratio_of_sums, score_of_sums
from .report_findings import extract_findings

# Labels whose side carries information: those that can be on more than one side.
TWO_SIDED = {
    label for label, kind in FINDING_KINDS.items() if len({side for side, _ in kind.locations if side is not None}) > 1
}
Pairs = list[tuple[set[Finding], set[Finding]]]  # per scan: findings in the report, true findings


def score_findings(predictions: Sequence[str], truths: Sequence[Sequence[Finding]]) -> dict:
    """Score reports against the true findings.

    Args:
        predictions: one report for each scan.
        truths: the findings of each scan, in the same order.

    Returns:
        `precision`, `recall`, `finding_f1` over all labels (side ignored);
        `macro_f1`, the mean over the labels that occur in the truth;
        `finding_side_f1`, for which label and side must both be right;
        `n_sided`, the number of findings that are truly present with a side and also reported with a side; a label that
        always has the same side (emphysema in both lungs) tells nothing and is left out;
        `laterality_accuracy`, the share of these findings whose side is right (None if there are none);
        `per_label` with precision, recall, f1 and support.

    Raises:
        ValueError: if the two differ in length or are empty.
    """
    if len(predictions) != len(truths) or not predictions:
        raise ValueError(f"need one report for each truth, got {len(predictions)} reports and {len(truths)} truths")
    pairs = [(extract_findings(report), set(truth)) for report, truth in zip(predictions, truths, strict=True)]
    per_label = {label: _rates(*_counts(pairs, lambda f: f.label, label)) for label in FINDING_KINDS}
    overall = _rates(*_counts(pairs, lambda f: f.label))
    sided, right = _laterality(pairs)
    present = [scores["f1"] for scores in per_label.values() if scores["support"]]
    return {
        "finding_f1": overall["f1"],
        "precision": overall["precision"],
        "recall": overall["recall"],
        "macro_f1": sum(present) / len(present) if present else 0.0,
        "finding_side_f1": _rates(*_counts(pairs, lambda f: (f.label, f.side)))["f1"],
        "laterality_accuracy": right / sided if sided else None,
        "n_sided": sided,
        "n_scans": len(pairs),
        "per_label": per_label,
    }


def resample_findings(predictions: Sequence[str], truths: Sequence[Sequence[Finding]]) -> dict[str, MetricScores]:
    """Return `finding_f1` and `laterality_accuracy` as scores that can be resampled, one row for each scan.

    The second is left out if no finding was reported with a side.
    """
    scans = [(extract_findings(report), set(truth)) for report, truth in zip(predictions, truths, strict=True)]
    hits = np.array([_counts([scan], lambda f: f.label) for scan in scans], dtype=np.float64)
    sides = np.array([_laterality([scan])[::-1] for scan in scans], dtype=np.float64)
    doubled = np.stack([2 * hits[:, 0], hits[:, 1] + hits[:, 2]], axis=-1)
    scores = {"finding_f1": score_of_sums(doubled, ratio_of_sums)}
    return scores | ({"laterality_accuracy": score_of_sums(sides, ratio_of_sums)} if sides[:, 1].any() else {})


def _counts(pairs: Pairs, key: Callable[[Finding], object], only: str | None = None) -> tuple[int, int, int]:
    """Count true positives, reported findings and present findings over all scans; a key tells which are equal."""
    hits = reported = present = 0
    for predicted, truth in pairs:
        predicted_keys = {key(finding) for finding in predicted if only in (None, finding.label)}
        truth_keys = {key(finding) for finding in truth if only in (None, finding.label)}
        hits += len(predicted_keys & truth_keys)
        reported += len(predicted_keys)
        present += len(truth_keys)
    return hits, reported, present


def _rates(hits: int, reported: int, present: int) -> dict[str, float | int]:
    return {
        "precision": hits / reported if reported else 0.0,
        "recall": hits / present if present else 0.0,
        "f1": 2 * hits / (reported + present) if reported + present else 0.0,
        "support": present,
    }


def _laterality(pairs: Pairs) -> tuple[int, int]:
    """Count the findings with a true side that were reported with a side, and those reported with the right side."""
    sided = right = 0
    for predicted, truth in pairs:
        for label in {finding.label for finding in truth if finding.side} & TWO_SIDED:
            told = {finding.side for finding in predicted if finding.label == label and finding.side}
            due = {finding.side for finding in truth if finding.label == label and finding.side}
            if told:
                sided += 1
                right += told == due
    return sided, right
