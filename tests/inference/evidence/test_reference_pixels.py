"""The reference on a model's grid: equal to the scan where both show the same, for every preprocessing."""

import numpy as np
import pytest
import torch

from argus_inference.evidence.reference_pixels import mean_in_scan, reference_pixels
from argus_processing import ArgusImageProcessor
from argus_processing.ct_volume import CTVolume
from argus_processing.mean_scan.body_shift import Shift
from argus_processing.mean_scan.mean_scan import MeanScan

GRID = (12, 20, 24)
SETTINGS = {
    "paper": {},
    "direct": {"resampling": "direct"},
    "m3d": {"normalization": "min_max", "crop": "foreground", "resampling": "direct"},
    "radfm": {"normalization": "min_max", "resampling": "direct"},
    "ct2rep, padded": {
        "resampling": "crop_or_pad",
        "target_spacing_mm": (12.0, 9.0, 9.0),
        "hu_window": (-1000.0, 200.0),
        "value_range": (-1.0, 1.0),
    },
    "ct2rep, cropped": {"resampling": "crop_or_pad", "target_spacing_mm": (6.0, 5.0, 5.0)},
}
SHIFT = Shift((8.0, -12.0, 6.0), 1.0)  # of the mean's middle from the scan's


def ramp(shape, spacing, middle) -> np.ndarray:
    """HU that rise evenly with the place in mm from `middle` (of the array's own middle): exact under interpolation."""
    axes = [
        (np.arange(size) - (size - 1) / 2) * step - at for size, step, at in zip(shape, spacing, middle, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (-300 + 2.0 * z + 1.5 * y - 1.0 * x).astype(np.float32)


@pytest.fixture(scope="module")
def volume():
    hu = ramp((30, 40, 50), (4.0, 3.0, 3.0), SHIFT.offset_mm)
    affine = np.array([[0, 0, -3.0, 0], [0, -3.0, 0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])
    return CTVolume(hu, affine, "SPL")


@pytest.fixture(scope="module")
def mean():
    return MeanScan(np.rint(ramp((40, 44, 50), (5.0,) * 3, (0, 0, 0))).astype(np.int16), 5.0, 40)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_mean_that_shows_the_scan_has_its_pixels(volume, mean, name):
    processor = ArgusImageProcessor(image_size=GRID, **SETTINGS[name])
    pixels, scan = processor([volume])["pixel_values"][0, 0], processor.to_grid(volume)
    found = reference_pixels(processor, volume, scan, pixels, mean, SHIFT)
    inner = tuple(slice(2, -2) for _ in range(3))  # at the edge interpolation is not linear
    unit = 1.0 / (scan.window[1] - scan.window[0]) * (processor.value_range[1] - processor.value_range[0])
    assert (found - pixels)[inner].abs().max() < 1.5 * unit  # the mean is rounded to 1 HU
    elsewhere = reference_pixels(processor, volume, scan, pixels, mean, Shift((0.0, 0.0, 0.0), 1.0))
    assert (elsewhere - pixels)[inner].abs().mean() > 5 * unit


@pytest.mark.parametrize("name", SETTINGS)
def test_where_the_mean_does_not_reach_the_scan_stays(volume, mean, name):
    processor = ArgusImageProcessor(image_size=GRID, **SETTINGS[name])
    pixels, scan = processor([volume])["pixel_values"][0, 0], processor.to_grid(volume)
    small = MeanScan(mean.hu[10:20, 10:20, 10:20] + np.int16(500), 5.0, 40)
    found = reference_pixels(processor, volume, scan, pixels, small, Shift((0.0, 0.0, 0.0), 1.0))
    changed = (found != pixels).nonzero()
    assert len(changed) and torch.equal(found[0], pixels[0]) and torch.equal(found[:, :, -1], pixels[:, :, -1])
    assert len(changed) < 0.5 * pixels.numel()
    far = reference_pixels(processor, volume, scan, pixels, small, Shift((900.0, 0.0, 0.0), 1.0))
    assert torch.equal(far, pixels)


def test_a_mean_at_the_scans_voxels(volume, mean):
    found = mean_in_scan(volume, mean, SHIFT)
    assert found.shape == volume.hu.shape and np.abs(found - volume.hu)[2:-2, 2:-2, 2:-2].max() < 1.0
    small = MeanScan(mean.hu[10:20, 10:20, 10:20], 5.0, 40)
    outside = mean_in_scan(volume, small, SHIFT)
    assert np.array_equal(outside[0], volume.hu[0]) and (outside != volume.hu).any()
