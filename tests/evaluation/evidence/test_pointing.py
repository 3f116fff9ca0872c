"""Scores of maps against masks, on masks of a few voxels."""

import numpy as np
import pytest

from argus_evaluation.evidence.pointing import (
    body_of,
    chance_of,
    distance_mm,
    is_within_a_voxel,
    overlap,
    top_region,
)
from argus_processing.phantom.scans import make_phantom


@pytest.fixture
def mask():
    found = np.zeros((6, 7, 8), dtype=bool)
    found[2, 3, 4] = found[2, 3, 5] = True
    return found


@pytest.mark.parametrize(
    ("index", "hit"), [((2, 3, 4), True), ((3, 4, 6), True), ((1, 2, 3), True), ((4, 3, 4), False), ((2, 3, 7), False)]
)
def test_a_voxel_that_touches_the_finding_counts(mask, index, hit):
    assert is_within_a_voxel(index, mask) is hit
    assert not is_within_a_voxel((0, 0, 0), mask)  # at the corner nothing wraps around


def test_the_distance_is_in_mm_to_the_nearest_voxel(mask):
    assert distance_mm((2, 3, 4), mask, (5.0, 3.0, 2.0)) == 0
    assert distance_mm((4, 3, 7), mask, (5.0, 3.0, 2.0)) == pytest.approx(np.hypot(10, 4))
    assert distance_mm((0, 0, 0), np.zeros_like(mask), (1.0, 1.0, 1.0)) == np.inf


def test_regions_and_their_overlap(mask):
    values = np.zeros(mask.shape)
    assert not top_region(values).any() and overlap(top_region(values), mask) == 0
    values[2, 3, 4:7] = (4.0, 2.0, 1.9)
    assert top_region(values).sum() == 2 and overlap(top_region(values), mask) == 1
    assert overlap(top_region(values, 0.4), mask) == pytest.approx(2 / 3)
    assert overlap(np.zeros_like(mask), np.zeros_like(mask)) == 0


def test_chance_is_the_share_of_the_body_that_touches_the_finding(mask):
    body = np.ones(mask.shape, dtype=bool)
    assert chance_of(mask, body) == pytest.approx(3 * 3 * 4 / body.size)
    body[:3] = False  # the finding's own slice is not in the body, but one that touches it is
    assert chance_of(mask, body) == pytest.approx(3 * 4 / body.sum())


def test_the_body_holds_its_lungs_and_no_table():
    hu = make_phantom(5, (8.0, 5.0, 5.0)).hu
    body = body_of(hu)
    middle = hu.shape[0] // 2
    assert (hu[middle] < -700)[body[middle]].mean() > 0.15  # lungs
    assert not body[:, :, 0].any() and not body[:, 0].any()
    lowest = np.flatnonzero(body[middle].any(axis=1)).max() * 5.0
    assert lowest < 0.5 * hu.shape[1] * 5.0 + 150  # the table lies behind that
