"""Erasing a place in a scan: continued smoothly, noise like its surroundings, nothing else touched."""

import numpy as np
import pytest

from argus_evaluation.audit.erased_findings import NoPlaceError, erase, harmonic_fill, place_elsewhere
from argus_processing import CTVolume

SPACING = (3.0, 1.0, 2.0)


def box(shape, *parts):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*part) for part in parts)] = True
    return mask


@pytest.fixture
def lung():
    """Lung-like tissue with noise, and a bright ball in it."""
    noise = np.random.default_rng(0).normal(0, 20, (24, 40, 40))
    z, y, x = np.ogrid[:24, :40, :40]
    ball = (z - 12) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 <= 16
    hu = np.where(ball, 40, -850 + noise).round().astype(np.int16)
    return CTVolume.from_array(hu, (2.0, 2.0, 2.0)), box(hu.shape, (7, 18), (7, 18), (7, 18))


def test_a_linear_field_is_continued_exactly():
    z, y, x = np.meshgrid(*map(np.arange, (12, 14, 16)), indexing="ij")
    field = 3.0 * z - 2.0 * y + 0.5 * x - 700
    inside = box(field.shape, (3, 9), (4, 10), (5, 12))
    broken = np.where(inside, 1000.0, field)
    np.testing.assert_allclose(harmonic_fill(broken, inside, SPACING), field, atol=0.01)


def test_a_fill_stays_between_the_values_around_it():
    hu = np.random.default_rng(0).uniform(-900, -700, (10, 10, 10))
    inside = box(hu.shape, (3, 7), (3, 7), (3, 7))
    filled = harmonic_fill(np.where(inside, 500.0, hu), inside, SPACING)[inside]
    assert filled.min() >= hu[~inside].min() - 1e-3 and filled.max() <= hu[~inside].max() + 1e-3


def test_a_place_at_the_edge_of_the_scan_is_filled_too():
    hu = np.full((8, 8, 8), -800.0)
    inside = box(hu.shape, (0, 3), (0, 3), (0, 3))
    np.testing.assert_allclose(harmonic_fill(np.where(inside, 300.0, hu), inside, SPACING), hu, atol=0.01)


def test_an_erased_nodule_looks_like_the_lung_around_it(lung):
    volume, mask = lung
    other = place_elsewhere(volume, mask, mask, np.random.default_rng(0))
    erased = erase(volume, mask, other)
    assert (volume.hu[mask] > 0).any() and not (erased.hu[mask] > -700).any()
    np.testing.assert_array_equal(erased.hu[~mask], volume.hu[~mask])
    around = volume.hu[~mask]
    assert erased.hu[mask].mean() == pytest.approx(around.mean(), abs=10)
    assert erased.hu[mask].std() == pytest.approx(around.std(), rel=0.35)
    assert erased.hu.dtype == volume.hu.dtype


def test_the_place_elsewhere_has_the_same_form_and_tissue(lung):
    volume, mask = lung
    other = place_elsewhere(volume, mask, mask, np.random.default_rng(0))
    assert other.sum() == mask.sum() and not (other & mask).any()
    assert volume.hu[other].mean() == pytest.approx(-850, abs=5)


def test_a_scan_that_the_finding_fills_has_no_place_elsewhere(lung):
    volume, _ = lung
    everywhere = np.ones(volume.hu.shape, dtype=bool)
    with pytest.raises(NoPlaceError):
        place_elsewhere(volume, everywhere, everywhere, np.random.default_rng(0))
