"""The shift of a mean scan in another scan, on phantoms that were moved by known amounts."""

import numpy as np
import pytest

from argus_processing.ct_volume import CTVolume
from argus_processing.mean_scan.body_shift import find_shift
from argus_processing.mean_scan.mean_scan import coarse_scan
from argus_processing.phantom.scans import make_phantom

SPACING = (10.0, 5.0, 5.0)


@pytest.fixture(scope="module")
def hu():
    return make_phantom(7, SPACING).hu


@pytest.fixture(scope="module")
def mean():
    """The mean of four other patients."""
    scans = [coarse_scan(CTVolume.from_array(make_phantom(seed, SPACING).hu, SPACING)) for seed in range(4)]
    size = [min(scan.shape[axis] for scan in scans) for axis in range(3)]
    return np.mean([middle(scan, size) for scan in scans], axis=0)


def middle(array: np.ndarray, size: list[int]) -> np.ndarray:
    starts = [(own - wanted) // 2 for own, wanted in zip(array.shape, size, strict=True)]
    return array[tuple(slice(start, start + wanted) for start, wanted in zip(starts, size, strict=True))]


def shift_of(hu, mean):
    return find_shift(coarse_scan(CTVolume.from_array(hu, SPACING)), mean, 5.0)


def test_a_scan_lies_where_it_is_in_itself(hu):
    own = coarse_scan(CTVolume.from_array(hu, SPACING))
    shift = find_shift(own, own, 5.0)
    assert shift.offset_mm == pytest.approx((0, 0, 0), abs=0.5) and shift.correlation > 0.999


@pytest.mark.parametrize(
    "edges", [((3, -3), (-4, 4), (8, -8)), ((4, 0), (8, 2), (0, 6)), ((-4, -1), (0, -6), (-7, -2))]
)
def test_a_moved_cropped_or_larger_scan_gives_its_move(hu, mean, edges):
    fixed = shift_of(hu, mean)
    kept = [slice(max(0, -a), size - max(0, -b)) for (a, b), size in zip(edges, hu.shape, strict=True)]
    added = [(max(0, a), max(0, b)) for a, b in edges]
    moved = shift_of(np.pad(hu[tuple(kept)], added, constant_values=-1000), mean)
    # voxels that are added before move the content by half of them and half of those after
    expected = [(a - b) / 2 * step for (a, b), step in zip(edges, SPACING, strict=True)]
    found = np.subtract(moved.offset_mm, fixed.offset_mm)
    assert np.abs(found - expected).max() < 5.0 and moved.correlation > 0.85


def test_what_is_no_chest_does_not_fit(mean):
    draw = np.random.default_rng(0)
    block = np.full((30, 60, 70), -1000.0, dtype=np.float32)
    block[:, 20:40, 20:50] = draw.integers(-100, 200, (30, 20, 30))
    assert find_shift(block, mean, 5.0).correlation < 0.75
    assert find_shift(np.full_like(block, -1000), mean, 5.0).correlation == -1.0  # air alone fits nowhere
