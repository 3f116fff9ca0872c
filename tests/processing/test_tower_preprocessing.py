"""Each baseline's preprocessing against its published steps, written out in plain numpy and torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from argus_processing import ArgusImageProcessor, CTVolume
from argus_processing.normalization import body_box, centred, foreground_box, in_thick_runs, whole_box
from argus_processing.tower_preprocessing import TOWER_SETTINGS, preprocessing_settings

SPACING = (3.0, 2.0, 2.0)


@pytest.fixture
def volume() -> CTVolume:
    generator = np.random.default_rng(0)
    hu = generator.integers(-900, 900, (20, 30, 26)).astype(np.int16)
    hu[5:17] = generator.normal(40, 25, (12, 30, 26)).round()  # soft tissue, without which it is no CT
    hu[:3], hu[:, 25:], hu[..., :2] = -1024, -1024, -1024  # nothing but background there
    return CTVolume.from_array(hu, SPACING)


def resized(volume: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Resize along one axis after the other; torch anti-aliases pictures only, so an axis is made a picture's row."""
    for axis, side in enumerate(size):
        rows = volume.movedim(axis, -1)
        flat = rows.reshape(1, 1, -1, rows.shape[-1])
        flat = functional.interpolate(flat, size=(flat.shape[2], side), mode="bilinear", antialias=True)
        volume = flat.reshape(*rows.shape[:-1], side).movedim(-1, axis)
    return volume


def test_m3d_scales_the_whole_scans_range_then_crops_to_its_foreground(volume):
    hu = torch.from_numpy(volume.hu.astype(np.float32))
    scaled = (hu - hu.min()) / (hu - hu.min()).max()
    used = (scaled > 0).nonzero()
    low, high = used.min(0).values, used.max(0).values + 1
    cropped = scaled[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    assert cropped.shape == (17, 25, 24)
    pixels = ArgusImageProcessor(**TOWER_SETTINGS["m3d"]((8, 12, 16)))(volume)["pixel_values"][0, 0]
    torch.testing.assert_close(pixels, resized(cropped, (8, 12, 16)), atol=1e-5, rtol=0)


def test_radfm_scales_the_whole_scans_range_and_keeps_all_of_it(volume):
    hu = torch.from_numpy(volume.hu.astype(np.float32))
    scaled = (hu - hu.min()) / (hu.max() - hu.min())
    pixels = ArgusImageProcessor(**TOWER_SETTINGS["radfm"]((8, 12, 16)))(volume)["pixel_values"][0, 0]
    torch.testing.assert_close(pixels, resized(scaled, (8, 12, 16)), atol=1e-5, rtol=0)


def test_ct2rep_resamples_to_a_spacing_and_crops_or_pads_with_minus_one(volume):
    # 1.5 x 0.75 x 0.75 mm from 3 x 2 x 2: 40 x 80 x 69 voxels, into a grid that is longer, shorter and shorter.
    settings = TOWER_SETTINGS["ct2rep"]((240, 480, 480))
    assert settings["target_spacing_mm"] == (1.5, 0.75, 0.75)
    pixels = ArgusImageProcessor(**settings | {"image_size": (49, 60, 64)})(volume)["pixel_values"][0, 0]
    hu = torch.from_numpy(volume.hu.astype(np.float32)).clamp(-1000, 200)
    spaced = functional.interpolate(((hu + 400) / 600)[None, None], size=(40, 80, 69), mode="trilinear")[0, 0]
    expected = functional.pad(spaced[:, 10:70, 2:66], (0, 0, 0, 0, 4, 5), value=-1)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("tower", TOWER_SETTINGS)
def test_a_towers_settings_are_saved_and_preprocess_bit_for_bit_alike(tower, volume, tmp_path):
    made = ArgusImageProcessor(**TOWER_SETTINGS[tower]((8, 12, 16)))
    made.save_pretrained(tmp_path)
    loaded = ArgusImageProcessor.from_pretrained(tmp_path)
    assert torch.equal(loaded(volume)["pixel_values"], made(volume)["pixel_values"])


@pytest.mark.parametrize("tower", TOWER_SETTINGS)
def test_left_stays_left(tower):
    hu = np.full((20, 20, 20), -1000, np.int16)
    hu[:, :, 12:18] = 1000  # W rises to the patient's left
    hu[0, 0, 0] = hu[-1, -1, -1] = -999  # the foreground is the whole scan
    volume = CTVolume.from_array(hu, (18.0, 18.0, 18.0))
    pixels = ArgusImageProcessor(**TOWER_SETTINGS[tower]((16, 16, 16)))(volume)
    left, right = pixels["pixel_values"][0, 0, ..., 8:].mean(), pixels["pixel_values"][0, 0, ..., :8].mean()
    assert left - right > 0.2


@pytest.mark.parametrize("tower", TOWER_SETTINGS)
def test_a_blank_scan_is_all_lowest(tower):
    affine = np.array([[0.0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    blank = CTVolume(np.full((8, 8, 8), -1000, np.int16), affine, "SPL")
    processor = ArgusImageProcessor(**TOWER_SETTINGS[tower]((8, 12, 16)))
    assert (processor(blank)["pixel_values"] == processor.value_range[0]).all()


def test_foreground_is_the_smallest_box_and_all_of_a_scan_without_one():
    hu = np.zeros((4, 5, 6), np.int16)
    assert hu[foreground_box(hu)].shape == (4, 5, 6)
    hu[1, 2, 3] = hu[2, 4, 3] = 5
    assert hu[foreground_box(hu)].shape == (2, 3, 1)


def trunk(shape=(40, 60, 70)) -> np.ndarray:
    """Make an elliptic trunk of soft tissue with two lungs, in air."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    hu = np.full(shape, -1000, np.int16)
    hu[(np.abs(z) < 0.8) & ((y / 0.6) ** 2 + (x / 0.75) ** 2 < 1)] = 40
    for side in (-0.35, 0.35):
        hu[(z / 0.7) ** 2 + (y / 0.4) ** 2 + ((x - side) / 0.25) ** 2 < 1] = -850
    return hu


def test_the_body_is_boxed_without_table_and_cable():
    hu = trunk()
    expected = [np.flatnonzero((hu > -200).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    hu[:, 56:58, 10:60] = 300  # a table
    hu[5, 1:4, 30] = 2000  # a cable
    for box, used in zip(body_box(hu), expected, strict=True):
        assert 0 <= box.start - used[0] <= 1 and 0 <= used[-1] + 1 - box.stop <= 1


def test_a_scan_without_a_body_is_kept_whole():
    assert body_box(np.full((5, 6, 7), -1000, np.int16)) == whole_box(np.zeros((5, 6, 7)))


def test_cropped_to_the_body_its_place_in_the_view_does_not_matter():
    processor = ArgusImageProcessor(**preprocessing_settings("argus", (12, 24, 28), "body"))
    hu = trunk()
    inside = processor(CTVolume.from_array(hu, SPACING))["pixel_values"]
    for padding in (((9, 2), (0, 17), (4, 4)), ((0, 0), (12, 3), (0, 21))):
        wider = np.pad(hu, padding, constant_values=-1000)
        assert torch.equal(processor(CTVolume.from_array(wider, SPACING))["pixel_values"], inside)
    papers = ArgusImageProcessor(**preprocessing_settings("argus", (12, 24, 28), "paper"))
    assert not torch.equal(papers(CTVolume.from_array(wider, SPACING))["pixel_values"], inside)


def test_runs_are_kept_from_their_length_on():
    mask = np.array([0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1], bool).reshape(1, 12, 1)
    assert in_thick_runs(mask, 3).ravel().tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert np.array_equal(in_thick_runs(mask, 1), mask) and not in_thick_runs(mask, 13).any()


def test_the_body_of_a_large_scan_is_that_of_all_its_voxels():
    hu = np.pad(np.kron(trunk((20, 30, 35)), np.ones((4, 12, 12), np.int16)), 7, constant_values=-1000)
    share = [in_thick_runs(hu > -200, 23).mean(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    used = [np.flatnonzero(each > 0.05 * each.max()) for each in share]
    for box, whole in zip(body_box(hu), used, strict=True):
        assert (box.start, box.stop) == (whole[0], whole[-1] + 1)


def test_what_does_not_fit_the_grid_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        centred(torch.zeros(2, 2, 2), (3, 2, 2), fill=0.0)


@pytest.mark.parametrize("tower", TOWER_SETTINGS)
def test_the_papers_preprocessing_is_one_for_all_towers(tower, volume):
    papers = ArgusImageProcessor(**preprocessing_settings(tower, (8, 12, 16), "paper"))
    assert torch.equal(
        papers(volume)["pixel_values"], ArgusImageProcessor(image_size=(8, 12, 16))(volume)["pixel_values"]
    )
    assert (papers.hu_window, papers.target_spacing_mm) == ([-1000.0, 1000.0], [4.0, 1.0, 1.0])
    assert preprocessing_settings(tower, (8, 12, 16), "own") == TOWER_SETTINGS[tower]((8, 12, 16))
    with pytest.raises(ValueError, match="unknown preprocessing 'mine'; known: own, paper, body"):
        preprocessing_settings(tower, (8, 12, 16), "mine")
