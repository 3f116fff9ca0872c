"""Draw the measurements of the phantom's healthy chest, and paint it."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .canvas import SIDE_SIGN, Canvas, Point, as_point

# One normal deviate per byte value: ten times faster than drawing floats, and the same on every machine.
_NORMAL_LEVELS = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)], dtype=np.float32)
AIR, FAT, MUSCLE, SOFT, BONE = -1000.0, -100.0, 50.0, 40.0, 420.0


@dataclass
class Anatomy:
    """Measurements of one patient in mm and HU; findings may change them before the chest is painted."""

    scale: float  # of the whole chest; 1 is an average adult
    chest_half_width: float
    chest_half_depth: float
    chest_top: float  # z of the lung apices
    dome_top: dict[str, float]  # z of each half of the diaphragm
    muscle: float
    fat: float
    heart_center: Point
    heart_radii: Point
    epicardial_fat: float
    pericardial_fluid: float
    blood_hu: float
    lung_hu: float
    noise_hu: float

    def point(self, z: float, y: float, x: float) -> Point:
        """Scale a point given for an average adult to this patient's size."""
        return z * self.scale, y * self.scale, x * self.scale


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a healthy patient: size, habitus, heart, diaphragm, contrast phase, noise."""
    scale = float(rng.uniform(0.92, 1.06))
    heart_scale = scale * float(rng.uniform(0.93, 1.05))
    right_dome = float(rng.uniform(-66, -52)) * scale
    enhancement = float(rng.uniform(60, 190)) if rng.random() < 0.4 else 0.0
    return Anatomy(
        scale=scale,
        chest_half_width=float(rng.uniform(128, 138)) * scale,
        chest_half_depth=float(rng.uniform(80, 92)) * scale,
        chest_top=float(rng.uniform(118, 128)) * scale,
        dome_top={"right": right_dome, "left": right_dome - float(rng.uniform(4, 14)) * scale},
        muscle=float(rng.uniform(12, 18)) * scale,
        fat=float(rng.uniform(7, 22)),
        heart_center=(-42 * scale, -22 * scale, float(rng.uniform(17, 24)) * scale),
        heart_radii=(45 * heart_scale, 42 * heart_scale, 56 * heart_scale),
        epicardial_fat=float(rng.uniform(1.0, 3.0)),
        pericardial_fluid=0.0,
        blood_hu=42.0 + enhancement,
        lung_hu=float(rng.uniform(-860, -830)),
        noise_hu=float(rng.uniform(12, 26)),
    )


def paint_anatomy(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Paint the whole healthy chest and set the canvas's lung masks."""
    _paint_table(canvas, anatomy)
    _paint_chest(canvas, anatomy)
    _paint_armpits(canvas, anatomy)
    _paint_abdomen(canvas, anatomy, rng)
    _paint_skeleton(canvas, anatomy)
    _paint_mediastinum(canvas, anatomy)
    _paint_heart(canvas, anatomy)
    _paint_great_vessels(canvas, anatomy)
    _split_lungs(canvas)
    _paint_airways(canvas, anatomy)
    _paint_lung_vessels(canvas, anatomy, rng)


def body_half_axes(anatomy: Anatomy) -> tuple[float, float]:
    """Return half depth and half width of the trunk at the skin, in mm."""
    wall = anatomy.muscle + anatomy.fat + 4
    return anatomy.chest_half_depth + wall + 4, anatomy.chest_half_width + wall


def _paint_table(canvas: Canvas, anatomy: Anatomy) -> None:
    back = body_half_axes(anatomy)[0]
    _, y, x = canvas.coordinates()
    depth = y[0] - np.float32(back + 4) + (x[0] / 60) ** 2
    for start, thickness, hu in ((0.0, 4.0, -250.0), (4.0, 14.0, -900.0), (18.0, 4.0, -250.0)):
        canvas.hu[:, (depth > start) & (depth <= start + thickness) & (np.abs(x[0]) < 190)] = hu


def _chest_profile(z: np.ndarray, top: float) -> np.ndarray:
    """Return the share of the chest's full cross-section at each height: 1 in the middle, 0 above the apices."""
    rise = np.clip(z / np.float32(top), 0, 1)
    return np.sqrt(np.maximum(1 - rise**3, 0)) + np.float32(1e-3)


def _paint_chest(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint skin, fat, muscle and ribs around two hemithoraces filled with lung."""
    _, y, x = canvas.coordinates()
    depth, width = body_half_axes(anatomy)
    outline = np.sqrt((y / depth) ** 2 + np.abs(x / width) ** 2.4)[0]  # a trunk is squarer than an ellipse
    inside_mm = (1 - outline) * np.float32(depth)
    canvas.body = canvas.soften(inside_mm)
    skin = np.where(inside_mm > 3, np.float32(FAT), np.float32(30))
    canvas.hu += canvas.body * (skin - canvas.hu)

    reach = anatomy.muscle + canvas.edge_mm
    corner = (1e3, anatomy.chest_half_depth + reach, anatomy.chest_half_width + reach)
    box = canvas.box(as_point(-value for value in corner), corner)
    z, y, x = canvas.coordinates(box)
    target = canvas.hu[box]
    cavity_mm, profile = _cavity_depth(anatomy, z, y, x)
    muscle = canvas.soften(np.minimum(cavity_mm + np.float32(anatomy.muscle), inside_mm[box[1:]] - 5))
    target += muscle * (np.float32(MUSCLE) - target)
    pitch = np.float32(2 * math.pi / (23 * anatomy.scale))
    ribs = (np.cos((z + np.float32(0.4) * y) * pitch) > 0.25) & (profile > 0.4)  # ribs slope down toward the front
    target[ribs & (z < anatomy.chest_top - 8) & (cavity_mm < -3) & (cavity_mm > -11)] = BONE
    target += canvas.soften(cavity_mm) * (np.float32(anatomy.lung_hu) - target)
    cavity = np.zeros(canvas.hu.shape, dtype=bool)
    cavity[box] = cavity_mm > -canvas.edge_mm / 2
    canvas.lungs = {"cavity": cavity}


def _cavity_depth(anatomy: Anatomy, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth of each voxel inside the rib cage in mm, and the rib cage's relative size at each height."""
    profile = _chest_profile(z, anatomy.chest_top)
    half_depth = np.float32(anatomy.chest_half_depth) * profile
    radius = (y / half_depth) ** 2 + (x / (np.float32(anatomy.chest_half_width) * profile)) ** 2
    np.sqrt(radius, out=radius)
    return (1 - radius) * half_depth, profile


def _paint_armpits(canvas: Canvas, anatomy: Anatomy) -> None:
    wall = np.broadcast_to(canvas.hu > 20, canvas.hu.shape)  # fat replaces only muscle, not lung
    for sign in SIDE_SIGN.values():
        canvas.ellipsoid(anatomy.point(78, 6, sign * 128), (36, 38, 24), FAT, wall)


def _paint_abdomen(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Fill the chest under the two domes of the diaphragm: liver right, stomach and spleen left."""
    _, y, x = canvas.coordinates()
    scale = anatomy.scale
    height = np.full((len(canvas.axes[1]), len(canvas.axes[2])), -1e3, dtype=np.float32)
    for side, top in anatomy.dome_top.items():
        center_x = SIDE_SIGN[side] * 62 * scale
        drop = ((x[0] - center_x) / (95 * scale)) ** 2 + ((y[0] + 12 * scale) / (100 * scale)) ** 2
        height = np.maximum(height, np.float32(top) - np.float32(75 * scale) * drop)
    box = canvas.box((-1e3, -1e3, -1e3), (max(anatomy.dome_top.values()), 1e3, 1e3))
    z = canvas.coordinates(box)[0]
    below = canvas.soften(height[None] - z) * canvas.lungs["cavity"][box]
    organ_hu = 58.0 + 0.35 * (anatomy.blood_hu - 42.0)
    contents = np.where(x[0] < np.float32(28 * scale), np.float32(organ_hu), np.float32(-85.0))
    target = canvas.hu[box]
    target += below * (contents - target)
    left = anatomy.dome_top["left"]
    stomach_x, stomach_z = float(rng.uniform(48, 64)) * scale, left - 34 * scale
    canvas.ellipsoid((stomach_z, -20 * scale, stomach_x), (28 * scale, 38 * scale, 32 * scale), 30.0)
    bubble = float(rng.uniform(14, 24)) * scale
    canvas.ellipsoid((stomach_z + 4, -32 * scale, stomach_x), (bubble, bubble, bubble), AIR)
    canvas.ellipsoid((left - 40 * scale, 38 * scale, 92 * scale), (30 * scale, 32 * scale, 22 * scale), organ_hu)


def _paint_skeleton(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint the spine with discs and canal, the breastbone and the shoulder blades."""
    scale, depth = anatomy.scale, anatomy.chest_half_depth
    z, y, x = canvas.coordinates()
    spine_y = depth - 20 * scale
    column = np.sqrt((y[0] - spine_y) ** 2 + (x[0] * 0.9) ** 2)
    around = np.sqrt((y[0] - spine_y - 18 * scale) ** 2 * 0.8 + (x[0] * 0.72) ** 2)
    canvas.hu[:, around < 30 * scale] = MUSCLE
    disc = np.cos(z[:, 0, 0] * np.float32(2 * math.pi / (25 * scale))) > 0.85
    for hu, rows in ((190.0, ~disc), (80.0, disc)):
        canvas.hu[rows[:, None, None] & (column < 16 * scale)] = hu
    canvas.hu[:, (column >= 14 * scale) & (column < 17 * scale)] = 330.0
    canal_y = spine_y + 25 * scale
    canal = np.sqrt((y[0] - canal_y) ** 2 + x[0] ** 2)
    canvas.hu[:, canal < 13 * scale] = BONE
    canvas.hu[:, canal < 8 * scale] = 30.0
    spinous = (np.abs(x[0]) < 4) & (y[0] > canal_y + 8 * scale) & (y[0] < canal_y + 26 * scale)
    canvas.hu[:, spinous] = BONE
    sternum = anatomy.point(25, -depth / scale - 5, 0)
    canvas.slab(sternum, (68 * scale, 6, 18 * scale), 260.0)
    for sign in SIDE_SIGN.values():
        upper, lower = anatomy.point(95, 66, sign * 88), anatomy.point(20, 84, sign * 92)
        canvas.capsule(upper, lower, 5.0, BONE)


def _paint_mediastinum(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint the fat between the lungs, wider below than above."""
    scale, depth = anatomy.scale, anatomy.chest_half_depth
    box = canvas.box((-1e3, -depth, -60 * scale), (anatomy.chest_top + 8, depth, 60 * scale))
    z, y, x = canvas.coordinates(box)
    half_width = np.clip(np.float32(30 * scale) - z * np.float32(0.05), 22 * scale, 36 * scale)
    radius = np.sqrt(((x - np.float32(3 * scale)) / half_width) ** 2 + (y / np.float32(depth * 0.98)) ** 2)
    inside = canvas.soften((1 - radius) * half_width) * (canvas.hu[box] < -300)
    # Only lung is replaced: spine, liver and stomach are painted already.
    canvas.blend(box, inside, -75.0)


def _paint_heart(canvas: Canvas, anatomy: Anatomy) -> None:
    fat, fluid = anatomy.epicardial_fat, anatomy.pericardial_fluid
    for extra, hu in ((fat + fluid, 6.0 if fluid else -80.0), (fat, -95.0), (0.0, anatomy.blood_hu)):
        canvas.ellipsoid(anatomy.heart_center, as_point(radius + extra for radius in anatomy.heart_radii), hu)
    z, y, x = anatomy.heart_center
    wall = as_point(0.62 * radius for radius in anatomy.heart_radii)
    canvas.ellipsoid((z - 4, y + 4, x + 12), wall, 42.0 + 0.75 * (anatomy.blood_hu - 42.0))


def aorta_path(anatomy: Anatomy) -> list[Point]:
    """Return the aorta's centre line from the heart over the arch and down beside the spine."""
    corners = ((-12, -14, -6), (38, -26, -14), (54, -12, -8), (58, 14, 12), (44, 34, 24), (20, 40, 26), (-170, 42, 22))
    return [anatomy.point(*corner) for corner in corners]


def _paint_great_vessels(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint aorta, upper vena cava, pulmonary arteries and the vessels of the neck."""
    blood, scale = anatomy.blood_hu, anatomy.scale
    path = aorta_path(anatomy)
    for start, end in zip(path[:-1], path[1:], strict=True):
        canvas.capsule(start, end, 13 * scale, blood)
    point = anatomy.point
    canvas.capsule(point(-5, -12, -24), point(95, -8, -22), 9 * scale, blood)
    canvas.capsule(point(-5, -28, 16), point(22, -10, 14), 13 * scale, blood)
    for sign in SIDE_SIGN.values():
        canvas.capsule(point(22, -4, 8), point(14, 4, sign * 44), 10 * scale, blood)
        canvas.capsule(point(90, -4, sign * 16), point(140, 0, sign * 40), 8 * scale, blood)


def _split_lungs(canvas: Canvas) -> None:
    """Set the lung masks, one per side: voxels that are still aerated in the chest, with those at their border."""
    lung = canvas.lungs["cavity"] & (canvas.hu < -200)
    x = canvas.axes[2]
    canvas.lungs = {side: lung & (sign * x > 0) for side, sign in SIDE_SIGN.items()}


def _paint_airways(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint gullet, windpipe and main bronchi, and take them out of the lungs."""
    scale, point = anatomy.scale, anatomy.point
    canvas.capsule(point(-90, 36, 8), point(150, 34, 4), 7 * scale, SOFT)
    tubes = [(point(34, 16, 0), point(12, 16, sign * 42), 6 * scale) for sign in SIDE_SIGN.values()]
    tubes.append((point(34, 14, 0), point(180, 14, 0), 8 * scale))
    for wall, hu in ((2 * scale, SOFT), (0.0, AIR)):
        for start, end, radius in tubes:
            canvas.capsule(start, end, radius + wall, hu)
    aerated = (canvas.hu > -920) & (canvas.hu < -200)
    for mask in canvas.lungs.values():
        mask &= aerated


def _paint_lung_vessels(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Paint vessels from each hilum outward, every one with a thinner branch."""
    scale = anatomy.scale
    for side, sign in SIDE_SIGN.items():
        lung = canvas.lungs[side].copy()
        hilum = anatomy.point(10, 4, sign * 42)
        for _ in range(11):
            reach = rng.uniform((-75, -55, 25), (80, 62, 62)) * scale
            middle = as_point(h + 0.55 * r * s for h, r, s in zip(hilum, reach, (1, 1, sign), strict=True))
            end = as_point(h + r * s for h, r, s in zip(hilum, reach, (1, 1, sign), strict=True))
            turn = rng.uniform(-22, 22, size=3)
            fork = as_point(e + t for e, t in zip(end, turn, strict=True))
            thickness = float(rng.uniform(2.2, 3.4))
            canvas.capsule(hilum, middle, thickness, 20.0, lung)
            canvas.capsule(middle, end, 0.7 * thickness, 0.0, lung)
            canvas.capsule(middle, fork, 0.6 * thickness, 0.0, lung)


def add_noise(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Add the scanner's noise inside the body, a little correlated from column to column.

    The air around the body stays without noise, which halves the size of a compressed file.
    """
    levels = _NORMAL_LEVELS * np.float32(anatomy.noise_hu / math.sqrt(1.25))
    noise = levels[np.frombuffer(rng.bytes(canvas.hu.size), dtype=np.uint8)].reshape(canvas.hu.shape)
    noise *= canvas.body
    canvas.hu += noise
    canvas.hu[:, :, 1:] += np.float32(0.5) * noise[:, :, :-1]
