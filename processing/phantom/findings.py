"""Define the findings a phantom can have: their frequency, side and place, and the functions that paint them.

All 18 labels of CT-RATE are there. To add a finding, write a painter (or an anatomy change), add one line at the end of
`FINDING_KINDS` here and its wordings to `WORDINGS` in `wording.py`.
"""

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from .anatomy import SOFT, Anatomy, aorta_path
from .canvas import SIDE_SIGN, Canvas, Point, as_point
from .lung_patterns import (
    paint_bronchiectasis,
    paint_fibrotic_sequela,
    paint_mosaic_attenuation,
    paint_peribronchial_thickening,
    paint_septal_thickening,
)
from .places import LOBES, Finding, point_in_lobe, side_of

Locations = tuple[tuple[str | None, str | None], ...]
Painter = Callable[[Canvas, Anatomy, Finding, np.random.Generator], None]


@dataclass(frozen=True)
class FindingKind:
    """Properties of one label in the phantom.

    Attributes:
        prevalence: share of scans that have the finding.
        locations: every possible (side, place), equally likely; left and right mirror each other.
        paint: draws the finding on the painted chest.
        change: alters the anatomy before the chest is painted.
    """

    label: str
    prevalence: float
    locations: Locations = ((None, None),)
    paint: Painter | None = None
    change: Callable[[Anatomy, np.random.Generator], None] | None = None


def draw_findings(rng: np.random.Generator, labels: Collection[str] | None = None) -> list[Finding]:
    """Draw each kind of finding independently of the others, in the table's order.

    Args:
        rng: source of the draws.
        labels: those that may be drawn; which ones they are does not change the others. Default: all.

    Raises:
        ValueError: if the phantom has no such label.
    """
    chosen = known_labels(labels)
    findings = []
    for kind in FINDING_KINDS.values():
        present, choice = rng.random(), rng.random()
        if present < kind.prevalence and kind.label in chosen:
            side, place = kind.locations[int(choice * len(kind.locations))]
            findings.append(Finding(kind.label, side, place))
    return findings


def known_labels(labels: Collection[str] | None = None) -> tuple[str, ...]:
    """Return labels in the table's order. Default: all.

    Raises:
        ValueError: if the phantom has no such label.
    """
    if strange := set(labels or ()) - set(FINDING_KINDS):
        raise ValueError(f"unknown finding {min(strange)!r}; the phantom has {', '.join(FINDING_KINDS)}")
    return tuple(label for label in FINDING_KINDS if labels is None or label in labels)


def check_findings(findings: Iterable[Finding]) -> None:
    """Check that the phantom can paint all findings.

    Raises:
        ValueError: if a label is unknown, occurs twice, or cannot have that side and place.
    """
    seen = set()
    for finding in findings:
        kind = FINDING_KINDS.get(finding.label)
        if kind is None:
            raise ValueError(f"unknown finding {finding.label!r}; the phantom has {', '.join(FINDING_KINDS)}")
        if (finding.side, finding.place) not in kind.locations:
            raise ValueError(f"{finding.label} cannot be at {(finding.side, finding.place)}; use {kind.locations}")
        if finding.label in seen:
            raise ValueError(f"a phantom has each label at most once, got {finding.label!r} twice")
        seen.add(finding.label)


def _medical_material(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    front = -anatomy.chest_half_depth / anatomy.scale
    if finding.place == "sternum":
        for middle in range(-30, 90, 20):
            start, end = anatomy.point(middle - 4, front - 9, -11), anatomy.point(middle + 4, front - 9, 11)
            canvas.capsule(start, end, 3.0, 2800.0)
        return
    sign = SIDE_SIGN[side_of(finding)]
    z, x = float(rng.uniform(62, 74)), float(rng.uniform(68, 80))
    box = anatomy.point(z, front - 2, sign * x)
    canvas.ellipsoid(box, (32, 16, 34), 30.0)
    canvas.slab(box, (20, 7, 22), 3000.0)
    lead = [(z + 10, front + 2, sign * x), (100, -25, sign * 50), (90, -9, -20), (0, -12, -22), (-55, -30, 22)]
    for one, other in zip(lead[:-1], lead[1:], strict=True):
        canvas.capsule(anatomy.point(*one), anatomy.point(*other), 2.5, 2600.0)


def _arterial_calcification(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    path, wall = aorta_path(anatomy), 12.0 * anatomy.scale
    parts = list(zip(path[2:5], path[3:6], strict=True)) if finding.place == "aortic arch" else [(path[5], path[6])]
    for index in range(9):
        start, end = parts[index % len(parts)]
        share = float(rng.uniform(0.05, 0.95 if finding.place == "aortic arch" else 0.45))
        center = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
        turn = float(rng.uniform(0, 2 * math.pi))
        points = []
        for angle in (turn, turn + 0.5, turn + 1.0):
            around, across = wall * math.sin(angle), wall * math.cos(angle)
            # The arch runs front to back, the descending part downward: the wall is perpendicular to that.
            offset = (around, 0.0, across) if finding.place == "aortic arch" else (0.0, around, across)
            points.append(as_point(c + o for c, o in zip(center, offset, strict=True)))
        for first, second in zip(points[:-1], points[1:], strict=True):
            canvas.capsule(first, second, 4.5, 1500.0)


def _cardiomegaly(anatomy: Anatomy, rng: np.random.Generator) -> None:
    growth = float(rng.uniform(1.32, 1.48))
    z, y, x = anatomy.heart_center
    anatomy.heart_radii = as_point(
        radius * factor for radius, factor in zip(anatomy.heart_radii, (growth, 1.15, growth), strict=True)
    )
    anatomy.heart_center = (z + 4 * anatomy.scale, y, x + 4 * anatomy.scale)


def _pericardial_effusion(anatomy: Anatomy, rng: np.random.Generator) -> None:
    anatomy.pericardial_fluid = float(rng.uniform(13, 20))
    anatomy.epicardial_fat = 5.0


def _coronary_calcification(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    # Angles on the heart's surface: the left anterior descending runs down the front, the circumflex to the left.
    for start, step, count in (((0.9, -1.15), (-0.42, 0.05), 4), ((0.6, 0.05), (-0.2, 0.3), 2)):
        latitude, longitude = (a + float(rng.uniform(-0.08, 0.08)) for a in start)
        for _ in range(count):
            ends = []
            for extra in (0.0, 0.7):
                rise, turn = latitude + extra * step[0], longitude + extra * step[1]
                unit = (math.sin(rise), math.cos(rise) * math.sin(turn), math.cos(rise) * math.cos(turn))
                ends.append(
                    as_point(c + r * u for c, r, u in zip(anatomy.heart_center, anatomy.heart_radii, unit, strict=True))
                )
            start_point, end_point = ends
            canvas.capsule(start_point, end_point, 4.5, 1500.0)
            latitude, longitude = latitude + step[0], longitude + step[1]


def _hiatal_hernia(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    radius = float(rng.uniform(19, 26)) * anatomy.scale
    z, y, x = anatomy.point(-50, 34, 4)
    canvas.ellipsoid((z, y, x), (radius * 1.15, radius * 0.85, radius), 45.0)
    canvas.ellipsoid((z + 4, y - 4, x), (radius * 0.6, radius * 0.45, radius * 0.6), -950.0)


def _lymphadenopathy(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    if finding.place == "mediastinum":
        places: list[Point] = [(66, 2, -24), (48, 6, -30), (30, 22, -18), (28, 26, 4), (44, -36, 16), (68, -22, 14)]
    else:
        sign = SIDE_SIGN[side_of(finding)]
        places = [(82, -12, sign * 124), (64, 2, sign * 135), (92, 14, sign * 118), (74, 24, sign * 130)]
    for place in places:
        radius = float(rng.uniform(11, 16))
        canvas.ellipsoid(anatomy.point(*place), (radius * 1.1, radius, radius * 0.9), 70.0)


def _emphysema(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    for side, sign in SIDE_SIGN.items():
        lung = canvas.lungs[side]
        canvas.hu[lung & (canvas.hu < -700)] = -950.0
        for _ in range(9):
            z, y, x = rng.uniform((10, -60, 35), (105, 60, 110))
            radius = float(rng.uniform(7, 15))
            center = anatomy.point(float(z), float(y), sign * float(x))
            canvas.ellipsoid(center, (radius + 2.5,) * 3, -820.0, lung)
            canvas.ellipsoid(center, (radius,) * 3, -1000.0, lung)


def _pleural_effusion(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    z, y, _ = canvas.coordinates()
    depth = np.broadcast_to(y - np.float32(0.55) * z, canvas.hu.shape)  # fluid collects at the back and at the base
    for side in ("right", "left") if finding.side == "bilateral" else (side_of(finding),):
        lung = canvas.lungs[side]
        level = np.quantile(depth[lung][::7], 1 - float(rng.uniform(0.13, 0.24)))
        canvas.hu[lung & (depth > level)] = float(rng.uniform(4, 16))
    canvas.refresh_lungs()


def _consolidation(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    center = point_in_lobe(canvas, anatomy, finding, rng, margin=14)
    lung = canvas.lungs[side_of(finding)].copy()
    for _ in range(4):
        part = as_point(c + float(d) for c, d in zip(center, rng.uniform(-15, 15, size=3), strict=True))
        canvas.ellipsoid(part, as_point(float(r) for r in rng.uniform(22, 34, size=3)), 45.0, lung, blur=1.5)
    for _ in range(3):  # air bronchograms
        end = as_point(c + float(d) for c, d in zip(center, rng.uniform(-20, 20, size=3), strict=True))
        canvas.capsule(center, end, 2.2, -800.0, lung)
    canvas.refresh_lungs()


def _atelectasis(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    """Paint a plate of collapsed lung: a thin flat band across the lobe."""
    center = point_in_lobe(canvas, anatomy, finding, rng, margin=8)
    lung = canvas.lungs[side_of(finding)].copy()
    tilt = float(rng.uniform(0.5, 0.9)) * (1 if rng.random() < 0.5 else -1)
    for shift in np.linspace(-32, 32, 9):
        z, y, x = center[0] + tilt * shift, center[1], center[2] + float(shift)
        canvas.ellipsoid((z, y, x), (9, 34, 11), SOFT, lung)
    canvas.refresh_lungs()


def _lung_opacity(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    center = point_in_lobe(canvas, anatomy, finding, rng, margin=16)
    side = side_of(finding)
    lung = canvas.lungs[side] & (canvas.hu < -650)  # vessels stay visible through ground glass
    density = float(rng.uniform(-500, -380))
    for _ in range(3):
        part = as_point(c + float(d) for c, d in zip(center, rng.uniform(-11, 11, size=3), strict=True))
        canvas.ellipsoid(part, as_point(float(r) for r in rng.uniform(27, 38, size=3)), density, lung, blur=3.0)
    canvas.lungs[side] &= canvas.hu < -700


def _lung_nodule(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    radius = float(rng.uniform(10, 16))
    center = point_in_lobe(canvas, anatomy, finding, rng, margin=radius + 4)
    canvas.ellipsoid(center, (radius,) * 3, 40.0)


_SIDES: Locations = (("left", None), ("right", None))
_BOTH: Locations = (*_SIDES, ("bilateral", None))
# Both sides are listed equally often, so a lobe of the left lung is drawn more often than one of the right lung.
_IN_LOBES: Locations = tuple(
    (side, lobe) for side in LOBES for lobe in LOBES[side] for _ in range(6 // len(LOBES[side]))
)
_AT_BASES: Locations = (("left", "lower lobe"), ("right", "lower lobe"))
_AT_APICES: Locations = (("left", "upper lobe"), ("right", "upper lobe"))
_IN_BOTH_LUNGS: Locations = (("bilateral", None),)

FINDING_KINDS: dict[str, FindingKind] = {
    kind.label: kind
    # In the order in which they are drawn and painted: later ones lie on top. A place in the table is a random stream.
    for kind in (
        FindingKind("Cardiomegaly", 0.22, change=_cardiomegaly),
        FindingKind("Pericardial effusion", 0.20, change=_pericardial_effusion),
        FindingKind("Emphysema", 0.20, _IN_BOTH_LUNGS, _emphysema),
        FindingKind("Pleural effusion", 0.28, _BOTH, _pleural_effusion),
        FindingKind("Consolidation", 0.24, _IN_LOBES, _consolidation),
        FindingKind("Atelectasis", 0.20, _AT_BASES, _atelectasis),
        FindingKind("Lung opacity", 0.24, _IN_LOBES, _lung_opacity),
        FindingKind("Lung nodule", 0.25, _IN_LOBES, _lung_nodule),
        FindingKind("Hiatal hernia", 0.20, paint=_hiatal_hernia),
        FindingKind(
            "Lymphadenopathy",
            0.22,
            ((None, "mediastinum"), (None, "mediastinum"), ("left", "axilla"), ("right", "axilla")),
            _lymphadenopathy,
        ),
        FindingKind(
            "Arterial wall calcification",
            0.20,
            ((None, "aortic arch"), (None, "descending aorta")),
            _arterial_calcification,
        ),
        FindingKind("Coronary artery wall calcification", 0.20, paint=_coronary_calcification),
        FindingKind(
            "Medical material",
            0.20,
            (("left", "chest wall"), ("right", "chest wall"), (None, "sternum")),
            _medical_material,
        ),
        FindingKind("Mosaic attenuation pattern", 0.16, _IN_BOTH_LUNGS, paint_mosaic_attenuation),
        FindingKind("Interlobular septal thickening", 0.16, _IN_BOTH_LUNGS, paint_septal_thickening),
        FindingKind("Peribronchial thickening", 0.16, _IN_BOTH_LUNGS, paint_peribronchial_thickening),
        FindingKind("Bronchiectasis", 0.18, _AT_BASES, paint_bronchiectasis),
        FindingKind("Pulmonary fibrotic sequela", 0.18, _AT_APICES, paint_fibrotic_sequela),
    )
}
