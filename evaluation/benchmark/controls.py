"""Three controls that tell a model that looks at the scan from one that only writes well.

A model whose score does not fall under a blank or a shuffled image does not use the image. The most frequent report is
what anyone could say without a model.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from argus_inference.generation import Prediction

T = TypeVar("T")
AIR_HU = -1000
BLANK_SIDE = 8  # voxels; resampling a constant gives the same constant on every grid


def blank_image(example: dict[str, Any]) -> Any:
    """Return a CT of nothing but air, in place of the example's own: all zeros after preprocessing."""
    from argus_processing.ct_volume import CTVolume

    hu = np.full((BLANK_SIDE,) * 3, AIR_HU, dtype=np.int16)
    # D, H, W rise to Superior, Posterior, Left; columns are index axes, rows RAS+ mm. Readers refuse a scan of nothing,
    # so this one is built without them.
    affine = np.array([[0.0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    return CTVolume(hu=hu, affine=affine, original_orientation="SPL")


def first_of_each(keys: Sequence[Hashable]) -> list[int]:
    """Return the index of the first place of every distinct key, in order."""
    firsts: dict[Hashable, int] = {}
    for index, key in enumerate(keys):
        firsts.setdefault(key, index)
    return list(firsts.values())


def derange(items: Sequence[T], seed: int = 0) -> list[T]:
    """Shuffle so that no place keeps its own item (a random single cycle: Sattolo's algorithm).

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
    """Give every reference the report that the model wrote for another scan.

    No second generation: greedy decoding depends on the image and the instruction alone, so the report for another
    scan's image under that scan's own instruction is the one the real run already wrote for it.
    """
    others = derange(predictions, seed)
    return [
        replace(other, scan_id=own.scan_id, reference=own.reference)
        for own, other in zip(predictions, others, strict=True)
    ]


def most_frequent_report(reports: Sequence[str], findings_of: Callable[[str], Hashable]) -> str:
    """Return the commonest report among those with the commonest set of findings.

    Real reports rarely repeat word for word, so the findings are counted first. Ties go to what sorts first, so the
    order of `reports` does not matter; so what `findings_of` gives must print the same in every process (no sets).

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
