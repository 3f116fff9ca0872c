"""Define a finding with its place, and draw points in the lobes of a painted chest."""

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy
from .canvas import SIDE_SIGN, Canvas, Point, as_point

LOBES = {"right": ("upper lobe", "middle lobe", "lower lobe"), "left": ("upper lobe", "lower lobe")}


@dataclass(frozen=True, order=True)
class Finding:
    """One finding: a CT-RATE label, a side (left, right, bilateral) and, if it has one, a place."""

    label: str
    side: str | None = None
    place: str | None = None


def side_of(finding: Finding) -> str:
    """Return the side of a finding.

    Raises:
        ValueError: if it has none.
    """
    if finding.side is None:
        raise ValueError(f"{finding.label} needs a side")
    return finding.side


_LOBE_RANGES: dict[str | None, tuple[Point, Point]] = {  # (z, y, |x|) of an average adult; the fissures run between
    "upper lobe": ((40, -45, 40), (88, 30, 95)),
    "middle lobe": ((-38, -66, 55), (-8, -42, 100)),
    "lower lobe": ((-48, 18, 42), (20, 62, 105)),
}


def point_in_lobe(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator, margin: float) -> Point:
    """Draw a point deep enough in the finding's lobe, in lung that is still aerated."""
    side = side_of(finding)
    sign = SIDE_SIGN[side]
    low, high = _LOBE_RANGES[finding.place]
    for attempt in range(200):
        z, y, x = (float(value) for value in rng.uniform(low, high))
        point = anatomy.point(z, y, sign * x)
        reach = margin * (1 - attempt / 200)
        around = [
            as_point(c + d * reach * (i == dim) for i, c in enumerate(point)) for dim in range(3) for d in (-1, 1)
        ]
        if all(canvas.is_aerated(side, near) for near in (point, *around)):
            return point
    z, y, x = (0.5 * (a + b) for a, b in zip(low, high, strict=True))
    return anatomy.point(z, y, sign * x)
