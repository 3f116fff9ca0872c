"""Score whether reports tell side, lobe and size of a label as the references do, where both tell them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..metric import MetricScores, ratio_of_sums, score_of_sums
from .label_details import LabelDetails, read_details
from .label_terms import CT_RATE_LABELS

SIDE, LOBE, SIZE = "side agreement", "lobe agreement", "size agreement"
# Two measurements of one nodule differ by up to 2 mm (Fleischner Society, Bankier et al. 2017); growth is 20% (RECIST).
SIZE_MARGIN_MM, SIZE_MARGIN = 2.0, 0.2
COMPARED, ONLY_TRUE = "compared", "told_by_reference_only"
Details = Mapping[str, LabelDetails]


def share_in_common(told: set[str], true: set[str]) -> float:
    """Return the share of what either tells that both tell."""
    return len(told & true) / len(told | true)


def is_same_size(told: set[float], true: set[float]) -> float:
    """Return 1 if the largest sizes differ by at most 2 mm or 20% of the true one, else 0."""
    own, due = max(told), max(true)
    return float(abs(own - due) <= max(SIZE_MARGIN_MM, SIZE_MARGIN * due) + 1e-9)


# name -> what is taken of a label's details, how two are compared, how it is computed, for its signature
AGREEMENTS: dict[str, tuple[Callable[[LabelDetails], set], Callable[[set, set], float], str]] = {
    SIDE: (lambda details: details.sides, share_in_common, "share of sides in common"),
    LOBE: (lambda details: details.lobes, share_in_common, "share of lobes in common"),
    SIZE: (lambda details: details.sizes_mm, is_same_size, "largest within 2 mm or 20%"),
}


def score_details(predictions: Sequence[str], references: Sequence[str]) -> dict[str, MetricScores]:
    """Score reports by each of `AGREEMENTS`: the mean over labels that both state and tell the detail of.

    Each label is a part. `compared` counts these labels, and `told_by_reference_only` those of which only the reference
    tells the detail. A score is not defined where nothing is compared.

    Raises:
        ValueError: if the two differ in length or are empty.
    """
    if len(predictions) != len(references) or not predictions:
        raise ValueError(f"need one report for each reference, got {len(predictions)} and {len(references)}")
    read = {text: read_details(text) for text in dict.fromkeys([*predictions, *references])}
    pairs = [(read[told], read[true]) for told, true in zip(predictions, references, strict=True)]
    return {name: _score(pairs, take, compare) for name, (take, compare, _) in AGREEMENTS.items()}


def _score(
    pairs: Sequence[tuple[Details, Details]],
    take: Callable[[LabelDetails], set],
    compare: Callable[[set, set], float],
) -> MetricScores:
    counts = np.zeros((len(pairs), len(CT_RATE_LABELS), 3))  # agreement, compared, told by the reference only
    for row, (told, true) in enumerate(pairs):
        for column, label in enumerate(CT_RATE_LABELS):
            if label in told and label in true and take(true[label]):
                own = take(told[label])
                counts[row, column] = (compare(own, take(true[label])), 1, 0) if own else (0, 0, 1)
    parts = {
        label: _share(counts[:, column]) for column, label in enumerate(CT_RATE_LABELS) if counts[:, column, 1].any()
    }
    return replace(_share(counts.sum(axis=1)), parts=parts)


def _share(counts: np.ndarray) -> MetricScores:
    flags = {COMPARED: counts[:, 1].astype(int), ONLY_TRUE: counts[:, 2].astype(int)}
    return replace(score_of_sums(counts[:, :2], ratio_of_sums), flags=flags, is_defined=bool(counts[:, 1].any()))
