"""The mean of scans: known means, moved scans, the fewest scans."""

import numpy as np
import pytest

from argus_processing.ct_volume import CTVolume
from argus_processing.mean_scan import mean_scan
from argus_processing.mean_scan.mean_scan import MIN_SCANS, mean_of
from argus_processing.phantom.scans import make_phantom

SPACING = (10.0, 10.0, 10.0)
FEW = 4


@pytest.fixture
def few(monkeypatch):
    """So many scans that a test takes a second."""
    monkeypatch.setattr(mean_scan, "MIN_SCANS", FEW)


def volumes(moves=((0, 0, 0),), num_scans=FEW):
    hu = make_phantom(3, SPACING).hu
    for number in range(num_scans):
        yield CTVolume.from_array(np.roll(hu, moves[number % len(moves)], (0, 1, 2)), SPACING)


def test_the_mean_of_equal_scans_is_that_scan_each_time(few):
    mean = mean_of(volumes())
    assert mean.num_scans == FEW and mean.hu.dtype == np.int16
    again = mean_of(volumes())
    assert np.array_equal(mean.hu, again.hu)
    coarse = make_phantom(3, SPACING).hu.clip(-1000, 1000)
    assert np.corrcoef(mean.hu[::2, ::2, ::2].ravel(), coarse[: len(mean.hu[::2])].ravel())[0, 1] > 0.9


def test_scans_that_lie_differently_are_laid_on_one_another(few):
    moves = [(0, 0, 0), (3, 0, 0), (0, 3, -3), (-3, -2, 3)]
    moved, still = (mean_of(volumes(each)) for each in (moves, moves[:1]))
    assert moved.hu.std() > 0.95 * still.hu.std()
    blurred = np.mean([volume.hu for volume in volumes(moves)], axis=0)  # laid middle on middle
    assert blurred.std() < 0.9 * still.hu.std()


def test_a_mean_of_few_scans_is_refused():
    with pytest.raises(ValueError, match=f"needs at least {MIN_SCANS} scans, got 31"):
        mean_of(volumes(num_scans=31))
