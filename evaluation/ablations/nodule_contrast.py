"""Measure the contrast that a small nodule keeps after preprocessing, on spheres of known size and place.

The spheres go through the model's own processor. Linear resampling acts in the same way on every signal, so no training
is needed. Two things are measured: the contrast of a sphere that is left in its brightest voxel, and that contrast
divided by the noise. The noise is white and measured in single voxels. A finer grid averages less noise away, but the
model can average noise itself; it cannot restore lost contrast.
"""

import hashlib
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from argus_processing import ArgusImageProcessor, CTVolume
from argus_training.ablations.ablation_grid import key_of
from argus_training.ablations.ablation_recipes import NodulesRecipe

from .ablation_results import AblationRun, read_kept, write_kept

SUPERSAMPLING = 7  # points per voxel and axis, to compute the share of a voxel that lies in a sphere
JITTER_MM = 6.0  # more than any voxel's side, so that a sphere's place between the voxels is uniform
MARGIN_MM = 14.0  # between spheres, and from the edge: more than the reach of any interpolation
HU_RANGE = 2000.0  # of the image processor's window


def score_nodules(settings: dict[str, Any], seed: int, scores: Path, steps: Path) -> AblationRun:
    """Measure a cell with a seed for the spheres' places and the noise; reuse a finished measurement.

    Returns:
        the metrics `contrast_kept`, peak of a sphere above its surroundings as a share of the true contrast, mean over
        the spheres; `contrast_kept_worst`, the lowest of them; `contrast_to_noise` and `contrast_to_noise_worst`, the
        same peaks divided by the standard deviation of the resampled noise.
    """
    name = f"nodules-{hashlib.sha256(key_of(settings).encode()).hexdigest()[:16]}-seed{seed}"
    path = scores / f"{name}.json"
    if not path.exists():
        started = time.monotonic()
        metrics = measure_nodules(NodulesRecipe(**settings), seed)
        scores.mkdir(parents=True, exist_ok=True)
        write_kept(path, AblationRun(metrics=metrics, seconds={name: round(time.monotonic() - started, 1)}))
    return read_kept(path, AblationRun)


def measure_nodules(recipe: NodulesRecipe, seed: int) -> dict[str, float | None]:
    """Compute the metrics of `score_nodules`."""
    processor = ArgusImageProcessor(image_size=recipe.image_size, resampling=recipe.resampling)
    rng = np.random.default_rng([seed, 0])
    centers = place_nodules(recipe, rng)
    hu = np.full(recipe.scan_shape, recipe.lung_hu, dtype=np.float32)
    for center in centers:
        paint_sphere(hu, center, recipe.diameter_mm / 2, recipe.spacing_mm, recipe.nodule_hu)
    grid = _through(processor, hu, recipe.spacing_mm)
    true_contrast = recipe.nodule_hu - recipe.lung_hu
    field = [count * step for count, step in zip(recipe.scan_shape, recipe.spacing_mm, strict=True)]
    background = float(np.median(grid))
    peaks = np.array([peak_near(grid, center, field, recipe.diameter_mm / 2) for center in centers]) - background
    noise = noise_left(
        tuple(recipe.image_size), recipe.resampling, tuple(recipe.scan_shape), tuple(recipe.spacing_mm), seed
    )
    mean, worst = (float(value * HU_RANGE) for value in (peaks.mean(), peaks.min()))
    return {
        "contrast_kept": mean / true_contrast,
        "contrast_kept_worst": worst / true_contrast,
        "contrast_to_noise": mean / (noise * recipe.noise_hu),
        "contrast_to_noise_worst": worst / (noise * recipe.noise_hu),
    }


def place_nodules(recipe: NodulesRecipe, rng: np.random.Generator) -> NDArray[np.float64]:
    """Place spheres on a lattice, each shifted at random; return centres `(n, 3)` in mm from the scan's corner.

    Raises:
        ValueError: if the scan is too small to keep the spheres apart.
    """
    per_axis = int(np.ceil(round(recipe.num_nodules ** (1 / 3), 6)))
    field = np.array(recipe.scan_shape) * np.array(recipe.spacing_mm)
    step = field / per_axis
    needed = recipe.diameter_mm + 2 * JITTER_MM + 2 * MARGIN_MM
    if step.min() < needed:
        raise ValueError(
            f"{recipe.num_nodules} nodules of {recipe.diameter_mm} mm need {needed * per_axis:.0f} mm an axis"
        )
    lattice = np.stack(np.meshgrid(*[np.arange(per_axis)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    places = (lattice[: recipe.num_nodules] + 0.5) * step
    return places + rng.uniform(-JITTER_MM, JITTER_MM, size=places.shape)


def paint_sphere(
    hu: NDArray[np.float32], center: Sequence[float], radius: float, spacing_mm: Sequence[float], value: float
) -> None:
    """Paint a sphere into `(D, H, W)` HU in place; a voxel that is partly inside gets a weighted mean."""
    axes = list(zip(center, spacing_mm, hu.shape, strict=True))
    low = [max(0, int((c - radius) / step)) for c, step, _ in axes]
    high = [min(count, int((c + radius) / step) + 1) for c, step, count in axes]
    offsets = (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING
    points = [
        ((np.arange(a, b)[:, None] + offsets).ravel() * step - c) ** 2
        for a, b, (c, step, _) in zip(low, high, axes, strict=True)
    ]
    inside = points[0][:, None, None] + points[1][:, None] + points[2] <= radius**2
    sides = [b - a for a, b in zip(low, high, strict=True)]
    fine = inside.reshape(sides[0], SUPERSAMPLING, sides[1], SUPERSAMPLING, sides[2], SUPERSAMPLING)
    share = fine.mean(axis=(1, 3, 5)).astype(np.float32)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu[box] += share * (value - hu[box])


def peak_near(grid: NDArray, center: Sequence[float], field_mm: Sequence[float], radius: float) -> float:
    """Return the highest value of a resampled scan within a sphere and the voxels around it."""
    box = []
    for at, extent, count in zip(center, field_mm, grid.shape, strict=True):
        reach = radius + MARGIN_MM / 2
        box.append(slice(max(0, int((at - reach) / extent * count)), int(np.ceil((at + reach) / extent * count)) + 1))
    return float(grid[tuple(box)].max())


@lru_cache(maxsize=8)
def noise_left(
    image_size: tuple[int, ...],
    resampling: str,
    scan_shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    seed: int,
) -> float:
    """Return the share of a scan's white noise (its standard deviation) that is left on the grid."""
    processor = ArgusImageProcessor(image_size=image_size, resampling=resampling)
    std = 100.0
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal(scan_shape, dtype=np.float32) * np.float32(std)
    return float(_through(processor, noise, spacing_mm).std()) * HU_RANGE / std


def _through(processor: ArgusImageProcessor, hu: NDArray[np.float32], spacing_mm: Sequence[float]) -> NDArray:
    """Preprocess HU as a scan, without the file readers, because they refuse scans that show no patient."""
    depth, rows, columns = spacing_mm
    affine = np.array([[0, 0, -columns, 0], [0, -rows, 0, 0], [depth, 0, 0, 0], [0, 0, 0, 1.0]])
    volume = CTVolume(hu=np.rint(hu).astype(np.int16), affine=affine, original_orientation="SPL")
    return processor(volume)["pixel_values"][0, 0].numpy()
