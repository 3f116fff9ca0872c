"""Make three controls that show whether a model uses the scan or only writes typical reports.

If a model's score does not fall with a blank or a shuffled image, the model does not use the image. The most frequent
report needs no model at all.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from argus_inference.generation import Prediction

T = TypeVar("T")
BLANK_HU = -1000
BLANK_SIDE = 8  # voxels; resampling a constant gives the same constant on every grid


def blank_image(example: dict[str, Any]) -> Any:
    """Return a CT that holds only air, in place of the example's own; it is all zeros after preprocessing."""
    from argus_processing.ct_volume import CTVolume

    hu = np.full((BLANK_SIDE,) * 3, BLANK_HU, dtype=np.int16)
    # D, H, W rise to Superior, Posterior, Left; columns are index axes, rows RAS+ mm. The readers refuse an empty scan,
    # so this one is built without them.
    affine = np.array([[0.0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    return CTVolume(hu=hu, affine=affine, original_orientation="SPL")


def derange(items: Sequence[T], seed: int = 0) -> list[T]:
    """Shuffle items so that no item stays in its place (a random single cycle: Sattolo's algorithm).

    Raises:
        ValueError: if there are fewer than two items.
    """
    if len(items) < 2:
        raise ValueError(f"the shuffled-image control needs at least 2 scans, got {len(items)}")
    order = list(range(len(items)))
    draw = random.Random(seed)
    for last in range(len(order) - 1, 0, -1):
        other = draw.randrange(last)
        order[last], order[other] = order[other], order[last]
    return [items[index] for index in order]


def shuffle_images(predictions: Sequence[Prediction], seed: int = 0) -> list[Prediction]:
    """Pair every reference with the report that the model wrote for another scan.

    No second generation is needed. Greedy decoding depends only on the image and the instruction, which is the same
    for all, so the report for another scan's image is the report that the normal run already wrote for that scan.
    """
    others = derange(predictions, seed)
    return [
        replace(other, scan_id=own.scan_id, reference=own.reference)
        for own, other in zip(predictions, others, strict=True)
    ]


def most_frequent_report(reports: Sequence[str], findings_of: Callable[[str], Hashable]) -> str:
    """Return the commonest report among those with the commonest set of findings.

    Real reports rarely repeat word for word, so the findings are counted first. A tie goes to the one that sorts first,
    so the order of `reports` does not matter. For this, the values of `findings_of` must print the same in every
    process (no sets).

    Raises:
        ValueError: if there are no reports.
    """
    if not reports:
        raise ValueError("the most-frequent-report control needs at least one training report")
    findings = [findings_of(report) for report in reports]
    counts = Counter(findings)
    commonest = min(counts, key=lambda found: (-counts[found], repr(found)))
    wordings = Counter(report for report, found in zip(reports, findings, strict=True) if found == commonest)
    return min(wordings, key=lambda report: (-wordings[report], report))
