import math

import numpy as np
import pytest

from argus_evaluation.ablations.nodule_contrast import measure_nodules, noise_left, paint_sphere, score_nodules
from argus_training.ablations.ablation_recipes import NodulesRecipe

SCAN = {"scan_shape": [64, 64, 64], "spacing_mm": [2.0, 2.0, 2.0], "num_nodules": 8}
SAME_GRID = {"image_size": [64, 64, 64], "resampling": "direct"}


def test_a_painted_sphere_has_the_volume_of_a_sphere_and_its_place():
    hu = np.full((24, 30, 40), -1000.0, dtype=np.float32)
    center, spacing, radius = (20.3, 17.9, 15.2), (2.0, 1.0, 0.7), 6.0
    paint_sphere(hu, center, radius, spacing, 0.0)
    share = (hu + 1000) / 1000
    assert share.sum() * math.prod(spacing) == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    places = [(np.arange(count) + 0.5) * step for count, step in zip(hu.shape, spacing, strict=True)]
    found = [np.average(axis, weights=share.sum(axis=tuple({0, 1, 2} - {n}))) for n, axis in enumerate(places)]
    assert found == pytest.approx(center, abs=0.05)


def test_a_large_sphere_on_its_own_grid_keeps_all_contrast_and_all_noise():
    metrics = measure_nodules(NodulesRecipe(**SAME_GRID, **SCAN, diameter_mm=12), seed=0)
    assert metrics["contrast_kept"] == pytest.approx(1, abs=2e-3)
    # 880 HU of contrast over 30 HU of noise
    assert metrics["contrast_to_noise"] == pytest.approx(880 / 30, rel=0.01)


def test_halving_with_a_triangle_leaves_the_known_share_of_noise():
    # The triangle 2 voxels wide to each side weighs 1/8, 3/8, 3/8, 1/8: squares sum to 20/64 an axis.
    left = noise_left((32, 32, 32), "direct", (64, 64, 64), (2.0, 2.0, 2.0), 0)
    assert left == pytest.approx((20 / 64) ** 1.5, rel=0.02)


def test_4_mm_slices_lose_more_of_a_small_sphere_than_a_fine_grid():
    recipe = {**SCAN, "diameter_mm": 4, "image_size": [64, 64, 64]}
    paper = measure_nodules(NodulesRecipe(**recipe, resampling="paper"), seed=0)
    direct = measure_nodules(NodulesRecipe(**recipe, resampling="direct"), seed=0)
    assert paper["contrast_kept"] < direct["contrast_kept"]
    assert paper["contrast_kept_worst"] < direct["contrast_kept_worst"]


def test_a_measured_cell_is_found_and_a_seed_draws_other_places(tmp_path):
    settings = {**SAME_GRID, **SCAN, "diameter_mm": 4}
    first = score_nodules(settings, 0, tmp_path, tmp_path)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    assert score_nodules(settings, 0, tmp_path, tmp_path) == first and path.stat().st_mtime_ns == written
    assert score_nodules(settings, 1, tmp_path, tmp_path).metrics != first.metrics


def test_a_scan_too_small_for_its_nodules_is_refused():
    with pytest.raises(ValueError, match="need"):
        measure_nodules(NodulesRecipe(**SAME_GRID, **(SCAN | {"num_nodules": 64}), diameter_mm=4), seed=0)
