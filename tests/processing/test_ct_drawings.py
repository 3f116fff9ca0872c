"""A drawing of a few regions, with or without a little noise, is judged by the values of its regions."""

import numpy as np
import pytest

from argus_processing.ct_histogram import why_not_hu

BODY, LUNG, BONE = 40, -850, 900


def drawn(noise=0, air=-1000) -> np.ndarray:
    hu = np.full((24, 32, 40), air, np.int16)
    hu[:, 4:28, 5:35] = BODY
    hu[4:20, 8:20, 8:16] = LUNG
    hu[18:22, 20:26, 28:32] = BONE
    return hu + np.random.default_rng(0).integers(-noise, noise + 1, hu.shape).astype(np.int16)


def framed(hu, value) -> np.ndarray:
    hu = hu.copy()
    hu[:, [0, 1, 2, -3, -2, -1]] = value
    hu[:, :, [0, 1, 2, -3, -2, -1]] = value
    return hu


@pytest.fixture(params=[0, 3, 9])
def drawing(request) -> np.ndarray:
    return drawn(request.param)


def test_drawings_are_scans_under_any_padding(drawing):
    metal = np.where(drawing > 800, 12_000, drawing)
    for hu in (drawing, metal, drawing[:, 4:], np.clip(drawing, -1000, 1000), drawing.astype(np.float32)):
        assert why_not_hu(hu) is None
        for value in (-1000, -1024, -2000, -3024, -8192):
            assert why_not_hu(framed(hu, value)) is None


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.5, 2, 3, 4, 8])
def test_a_factor_is_told_in_a_drawing(drawing, factor):
    assert why_not_hu(drawing * np.float32(factor))


@pytest.mark.parametrize("slope", [0.25, 0.5, 2, 3, 4, 8])
def test_a_wrong_slope_is_told_in_a_drawing_though_air_lies_right(drawing, slope):
    assert why_not_hu((drawing + 1024) * np.float32(slope) - 1024)


@pytest.mark.parametrize("intercept", [-1000, -1024, -2047, -2048, -8192, 1000, 1024])
@pytest.mark.parametrize("padding", [None, -1024, -2048, -3024])
def test_a_second_or_missing_intercept_is_told_in_a_drawing(drawing, intercept, padding):
    moved = drawing.astype(np.int32) + intercept
    assert why_not_hu(moved if padding is None or padding > intercept else framed(moved, padding))


def test_a_second_intercept_is_told_with_bone_in_tissues_place():
    hu = drawn().astype(np.int32)
    hu[hu == LUNG] = BODY
    assert why_not_hu(hu - 1024)


def test_a_wrong_sign_is_told_in_a_drawing(drawing):
    assert why_not_hu(-drawing)
    assert why_not_hu(framed(-drawing, -1024))


@pytest.mark.parametrize("value", [-500, 0, 300, 1000, 3000])
def test_a_frame_and_a_background_of_a_tissue_are_told_in_a_drawing(drawing, value):
    assert why_not_hu(framed(drawing, value))
    assert why_not_hu(np.where(drawing < -950, value, drawing))


@pytest.mark.parametrize("window", [(-200, 300), (-160, 240), (-250, 250)])
def test_a_window_is_told_in_a_drawing_also_beside_padding(drawing, window):
    cut = np.clip(drawing, *window)
    assert why_not_hu(cut)
    assert why_not_hu(framed(cut, -1024)[:, 2:-2, 2:-2])


def test_masks_are_told_beside_padding(drawing):
    labels = np.digitize(drawing, [-950, -500, 0, 300])
    for mask in (labels, labels // 2 * 3, np.random.default_rng(0).integers(0, 60, drawing.shape)):
        assert why_not_hu(framed(mask, -1024))


def test_numbers_that_fill_8_bits_are_told():
    numbers = np.random.default_rng(0).normal(40, 60, (24, 32, 40)).round().astype(np.int8)
    assert "8 bits" in why_not_hu(framed(numbers.astype(np.int16), -1024))[0]


def test_a_drawing_may_be_of_dense_lung_or_of_one_region():
    hu = drawn()
    hu[hu == LUNG] = -500
    assert why_not_hu(hu) is None
    assert why_not_hu(np.where(hu == BODY, BODY, -1000)) is None
