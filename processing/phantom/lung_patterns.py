"""Draw changes of the airways and of the texture of the lungs, which fill no lobe.

All of them leave alone what other findings have filled, so that no pattern hides a nodule or a consolidation.
"""

import math

import numpy as np
from numpy.typing import NDArray

from .anatomy import AIR, SOFT, Anatomy
from .canvas import AERATED_HU, SIDE_SIGN, Canvas, Point, as_point
from .places import Finding, point_in_lobe, side_of


def paint_mosaic_attenuation(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    """Part both lungs into patches with sharp borders, darker and brighter than healthy lung."""
    voxels = np.nonzero(_aerated(canvas, "right") | _aerated(canvas, "left"))
    field = sum(_wave(canvas, voxels, rng, float(rng.uniform(45, 80))) for _ in range(4))
    bright = np.clip(4 * field + np.float32(0.9), 0, 1)
    canvas.hu[voxels] = np.maximum(canvas.hu[voxels] - 50 + 250 * bright, np.float32(AIR))


def paint_septal_thickening(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    """Paint the walls between the lobules, thin and bent, below the pleura and at the bases of both lungs."""
    lungs = _aerated(canvas, "right") | _aerated(canvas, "left")
    z, y, x = canvas.coordinates()
    toward_wall = np.sqrt((y / anatomy.chest_half_depth) ** 2 + (x / anatomy.chest_half_width) ** 2)
    lungs &= (toward_wall > 0.66) | (z < -12 * anatomy.scale)
    voxels = np.nonzero(lungs)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    weight = np.zeros(len(voxels[0]), dtype=np.float32)
    for axis in axes:
        pitch, bend = float(rng.uniform(17, 23)), _wave(canvas, voxels, rng, float(rng.uniform(50, 70)))
        place = (_along(canvas, voxels, axis) + 6 * bend) / np.float32(pitch)
        from_wall_mm = np.abs(place - np.rint(place)) * np.float32(pitch)
        weight = np.maximum(weight, canvas.soften(np.float32(1.1) - from_wall_mm))
    canvas.hu[voxels] += weight * (np.float32(-60.0) - canvas.hu[voxels])


def paint_peribronchial_thickening(
    canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator
) -> None:
    """Paint bronchi of both lungs, from the hilum outward, with thick cuffs around narrow lumens."""
    for side, sign in SIDE_SIGN.items():
        start = (12.0, 14.0, 40.0)
        tubes = []
        for reach in ((46, -8, 26), (20, -38, 34), (-14, 26, 40), (-46, 20, 24), (8, 34, 30)):
            end = as_point(s + r + float(d) for s, r, d in zip(start, reach, rng.uniform(-6, 6, size=3), strict=True))
            first, last = (anatomy.point(p[0], p[1], sign * p[2]) for p in (start, end))
            tubes.append((first, last, float(rng.uniform(6.5, 8.5)), float(rng.uniform(2.2, 2.8))))
        _paint_tubes(canvas, side, tubes, wall_hu=20.0)


def paint_bronchiectasis(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    """Paint a bundle of wide bronchi in the lobe, outward from the hilum: walls around much air, some full of mucus."""
    side = side_of(finding)
    center = point_in_lobe(canvas, anatomy, finding, rng, margin=16)
    outward = np.subtract(center, anatomy.point(10, 4, SIDE_SIGN[side] * 42))
    outward /= max(float(np.linalg.norm(outward)), 1.0)
    tubes = []
    for count in range(12):
        middle = np.asarray(center) + rng.uniform(-26, 26, size=3)
        half = 24 * (outward + rng.uniform(-0.35, 0.35, size=3))
        radius = float(rng.uniform(6.0, 8.5))
        lumen = 0.0 if count % 3 == 0 else radius - 2.4
        tubes.append((as_point(middle - half), as_point(middle + half), radius, lumen))
    _paint_tubes(canvas, side, tubes, wall_hu=SOFT)


def paint_fibrotic_sequela(canvas: Canvas, anatomy: Anatomy, finding: Finding, rng: np.random.Generator) -> None:
    """Paint old scars of an upper lobe: a ragged cap on the apex, and strands from it toward the hilum."""
    side = side_of(finding)
    sign = SIDE_SIGN[side]
    lung = _aerated(canvas, side)
    voxels = np.nonzero(lung)
    if not len(voxels[0]):
        return
    height = canvas.axes[0][voxels[0]] + 4 * _wave(canvas, voxels, rng, float(rng.uniform(18, 26)))
    level = np.quantile(height[::7], 1 - float(rng.uniform(0.03, 0.05)))
    canvas.hu[tuple(axis[height > level] for axis in voxels)] = SOFT
    for _ in range(5):
        top = anatomy.point(float(rng.uniform(88, 104)), float(rng.uniform(-32, 36)), sign * float(rng.uniform(42, 84)))
        end = anatomy.point(float(rng.uniform(36, 56)), float(rng.uniform(-16, 26)), sign * float(rng.uniform(44, 78)))
        canvas.capsule(top, end, float(rng.uniform(2.6, 4.2)), 0.0, lung)
    canvas.refresh_lungs()


Tube = tuple[Point, Point, float, float]  # start, end, outer radius and radius of the lumen in mm


def _paint_tubes(canvas: Canvas, side: str, tubes: list[Tube], wall_hu: float) -> None:
    lung = _aerated(canvas, side)
    for start, end, radius, _ in tubes:
        canvas.capsule(start, end, radius, wall_hu, lung)
    for start, end, _, lumen in (tube for tube in tubes if tube[3]):
        canvas.capsule(start, end, lumen, AIR, lung)


def _aerated(canvas: Canvas, side: str) -> NDArray[np.bool_]:
    """Return the voxels of a lung that hold air: no vessel, and nothing that a finding has filled."""
    return canvas.lungs[side] & (canvas.hu < AERATED_HU)


def _along(canvas: Canvas, voxels: tuple[NDArray, ...], axis: NDArray) -> NDArray[np.float32]:
    """Return how far voxels lie along a direction, in mm."""
    places = zip(canvas.axes, voxels, axis, strict=True)
    return sum(centres[index] * np.float32(step) for centres, index, step in places)


def _wave(canvas: Canvas, voxels: tuple[NDArray, ...], rng: np.random.Generator, length_mm: float) -> NDArray:
    """Return a wave of a drawn direction and phase at voxels, from -1 to 1."""
    direction = rng.normal(size=3)
    direction *= 2 * math.pi / (length_mm * max(float(np.linalg.norm(direction)), 1e-6))
    return np.sin(_along(canvas, voxels, direction) + np.float32(rng.uniform(0, 2 * math.pi)))
