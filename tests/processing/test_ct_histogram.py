"""Values that are not Hounsfield units are recognised by their histogram; no CT is refused for its own."""

import numpy as np
import pytest

from argus_processing.ct_histogram import why_not_hu
from argus_processing.phantom.layouts import write_layout
from argus_processing.read_ct import read_ct

PADDINGS = (-1000, -1024, -2000, -3024, -8192)


def draw(seed=0, noise=12.0, body=0.6, lung=0.15, bone=0.04, contrast=0.02, metal=0.0) -> np.ndarray:
    """Voxels of a body in the shares that the real CTs at hand have, in no order: the rules look at nothing else."""
    draws = np.random.default_rng(seed)
    total = 48 * 64 * 64
    num = [int(total * share) for share in (body * 0.4, body * 0.6, lung, bone, contrast, metal)]
    parts = [
        draws.normal(-100, 15, num[0]),  # fat
        draws.normal(50, 20, num[1]),  # muscle, organs, blood
        draws.normal(-860, 60, num[2]),
        250 + draws.exponential(250, num[3]),
        draws.normal(330, 60, num[4]),
        draws.uniform(2000, 12000, num[5]),
        draws.uniform(-950, 50, total // 50),  # voxels that hold both air and tissue
    ]
    parts.append(np.full(total - sum(map(len, parts)), -1000.0))
    hu = np.concatenate(parts) + draws.normal(0, noise, total)
    return np.maximum(draws.permutation(hu), -1024).round().astype(np.int16).reshape(48, 64, 64)


KINDS = {
    "chest": {},
    "low dose": {"noise": 80.0},
    "abdomen": {"lung": 0.01, "body": 0.7},
    "head": {"body": 0.05, "lung": 0.0, "bone": 0.06, "contrast": 0.0},
    "contrast": {"contrast": 0.12},
    "bone": {"bone": 0.3, "body": 0.3},
    "metal": {"metal": 0.01},
    "lung crop": {"body": 0.08, "lung": 0.85, "bone": 0.01},
    "small field of view": {"body": 0.9, "lung": 0.02},
}


@pytest.fixture(params=KINDS)
def ct(request) -> np.ndarray:
    return draw(**KINDS[request.param])


def cause(hu: np.ndarray) -> str:
    refusal = why_not_hu(hu)
    assert refusal is not None
    return refusal[0]


def padded(hu: np.ndarray, value: int, slices: int = 6) -> np.ndarray:
    """Fill some slices; negative means nothing is filled."""
    hu = hu.copy()
    hu[:slices] = value
    return hu


def test_cts_of_all_kinds_pass_with_and_without_padding(ct):
    assert why_not_hu(ct) is None
    for padding in PADDINGS:
        assert why_not_hu(padded(ct, padding)) is None


@pytest.mark.parametrize("ends", [(-1000, 1000), (-1024, 3071), (-1024, 1023)])
def test_a_cut_that_no_model_window_sees_passes(ct, ends):
    assert why_not_hu(np.clip(ct, *ends)) is None


@pytest.mark.parametrize("kind", ["chest", "abdomen", "contrast", "small field of view"])
def test_a_crop_without_air_or_lung_passes(kind):
    hu = draw(**KINDS[kind])
    inside = hu[hu > -190]
    assert why_not_hu(inside[: inside.size // 64 * 64].reshape(-1, 8, 8)) is None


@pytest.mark.parametrize(
    "window", [(-200, 300), (-160, 240), (-150, 250), (-100, 400), (-500, 500), (-1000, 400), (-1350, 150), (-900, 600)]
)
def test_windows_are_told(window):
    for kind in ("chest", "head", "abdomen", "small field of view"):
        cut = np.clip(draw(**KINDS[kind]), *window)
        assert "a window was cut out" in cause(cut)
        assert "a window was cut out" in cause(padded(cut, -1024))


def test_a_narrow_window_from_zero_is_refused(ct):
    assert "Hounsfield" in cause(np.clip(ct, 0, 80))


@pytest.mark.parametrize("intercept", [1000, 1024])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", ["chest", "head", "abdomen", "contrast", "low dose", "lung crop"])
def test_a_missing_intercept_is_told_with_a_filled_background(kind, intercept, padding):
    stored = np.maximum(draw(**KINDS[kind]), -intercept) + intercept
    assert "the intercept was not applied" in cause(padded(stored, padding))


@pytest.mark.parametrize("shift", [-1000, -1024, -2047])
@pytest.mark.parametrize("padding", [None, -2048, -3024])
def test_second_rescale_is_told_though_no_air_is_left_at_minus_1024(ct, shift, padding):
    twice = ct + shift
    assert "applied" in cause(twice if padding is None else padded(twice, padding))


def mr(seed=0) -> np.ndarray:
    draws = np.random.default_rng(seed)
    tissue = draws.gamma(6.0, 90.0, (48, 64, 64))
    tissue[:, :24] = np.abs(draws.normal(0, 8, (48, 24, 64)))
    return tissue


@pytest.mark.parametrize("offset", [0, -47, -100, -1000, -1024])
@pytest.mark.parametrize("scale", [1.0, 2.0, 30.0])
def test_mr_is_refused_whatever_was_added(offset, scale):
    assert cause(mr() * scale + offset)


@pytest.mark.parametrize("padding", PADDINGS)
def test_mr_with_the_padding_of_a_ct_is_refused(padding):
    assert cause(padded(mr().astype(np.int16), padding))


def test_pictures_masks_and_normalised_floats_are_refused(ct):
    unit = (np.clip(ct, -1000, 1000) + 1000) / 2000
    labels = np.random.default_rng(0).integers(0, 118, ct.shape)
    for other in (unit, unit * 255, unit * 2 - 1, (ct - ct.mean()) / ct.std(), ct / 1000, labels, labels - 1):
        assert cause(other.astype(np.float32))


def test_metal_on_an_extended_scale_passes_but_not_alone():
    hu = draw().astype(np.float32)
    hu[:2, :20, :20] = 40_000
    assert why_not_hu(hu) is None
    hu[:24] = 40_000
    assert cause(hu)


def test_a_drawing_of_two_values_in_air_passes():
    hu = np.full((16, 16, 16), -1000, np.int16)
    hu[:, :, 10:14] = 1000
    assert why_not_hu(hu) is None


@pytest.mark.parametrize("value", [-500, 0, 24])
def test_background_filled_with_the_value_of_a_tissue_is_told(ct, value):
    assert "filled with the value of a tissue" in cause(padded(ct, value, slices=3))


@pytest.mark.parametrize("step", [2, 5, 8, 25])
def test_coarse_steps_of_a_rescale_are_no_filling(ct, step):
    assert why_not_hu((ct // step * step).astype(np.float32)) is None


def test_large_metal_on_an_extended_scale_passes_beside_tissue():
    hu = draw().astype(np.float32)
    hu[:5] = 20_000
    assert why_not_hu(hu) is None


@pytest.mark.parametrize("layout", ["ct-rate", "bimcv-r", "inspect"])
def test_phantoms_in_the_layout_of_a_source_are_scans(layout, tmp_path):
    """Drawn without noise and blurred at the edges: the air of the airways is one value, the couch another."""
    write_layout(tmp_path / layout, layout, 1, 1, ())
    (scan, *_) = sorted((tmp_path / layout).rglob("*.nii.gz"))
    assert why_not_hu(read_ct(scan).hu) is None


BODIES = ("chest", "low dose", "abdomen", "head", "contrast", "metal", "small field of view")


@pytest.fixture(params=BODIES)
def body(request) -> np.ndarray:
    return draw(**KINDS[request.param])


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.5, 2, 3, 4])
def test_a_factor_is_told(body, factor):
    """A slope that was applied twice, or not at all."""
    assert cause((body * factor).round().astype(np.float32))


@pytest.mark.parametrize("factor", [8, 16])
@pytest.mark.parametrize("kind", ["chest", "abdomen", "head", "contrast"])
def test_a_large_factor_is_told(kind, factor):
    assert cause(draw(**KINDS[kind]).astype(np.float32) * factor)


@pytest.mark.parametrize("slope", [0.25, 0.5, 1.5, 2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["chest", "abdomen", "contrast", "metal"])
def test_a_wrong_slope_is_told_though_air_lies_right(kind, slope):
    """As where it was left out, or taken from another scan, and the intercept was applied."""
    assert cause((draw(**KINDS[kind]) + 1024) * np.float32(slope) - 1024)


@pytest.mark.parametrize("shift", [-512, 512])
def test_a_wrong_intercept_is_told(body, shift):
    assert cause(body + shift)


@pytest.mark.parametrize("kind", ["chest", "low dose", "abdomen", "head", "contrast", "metal"])
def test_a_wrong_sign_is_told_under_any_padding(kind):
    body = draw(**KINDS[kind])
    assert cause(-body)
    assert cause(padded(-body, -1024))
    assert cause(-1024 - body)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_numbers_that_were_wrapped_to_8_bits_are_told_beside_padding(body, kind):
    assert cause(padded(body.astype(kind).astype(np.int16), -1024))


@pytest.mark.parametrize("padding", [-1000, -1024, -3024])
def test_normalised_numbers_are_told_beside_padding(body, padding):
    unit = (np.clip(body, -1000, 1000) + 1000) / np.float32(2000)
    for other in (unit, unit * 2 - 1, (body - body.mean()) / body.std()):
        assert "normalised" in cause(padded(other.astype(np.float32), padding))


@pytest.mark.parametrize("window", [(-200, 300), (-100, 300), (-1000, 400), (-900, 500)])
@pytest.mark.parametrize("air", [-1000, -1024])
def test_a_window_beyond_which_all_was_set_to_air_is_told(body, window, air):
    assert "a window was cut out" in cause(np.where((body < window[0]) | (body > window[1]), air, body))


@pytest.mark.parametrize("window", [(-500, 500), (-250, 250), (-200, 300), (-175, 275)])
@pytest.mark.parametrize("noise", [5, 15])
def test_a_window_with_noise_upon_it_is_told_by_its_air(window, noise):
    for kind in ("chest", "abdomen", "head"):
        cut = np.clip(draw(**KINDS[kind]), *window)
        assert cause(cut + np.random.default_rng(1).normal(0, noise, cut.shape).astype(np.float32))


def test_two_or_three_values_of_tissue_are_a_filling_too(body):
    for values in ((0, 40), (-100, 50), (0, -500), (40, -1000, 20)):
        filled = body
        for value in values:
            filled = np.concatenate([filled[:-3], np.full_like(filled[:3], value)])
            filled = np.roll(filled, 3, axis=0)
        assert "filled with the value of a tissue" in cause(filled)


def test_a_filling_brighter_than_tissue_is_told(body):
    assert cause(padded(body, 1000))


def test_what_a_body_mask_took_away_is_no_window(body):
    assert why_not_hu(np.where(body < -300, -1024, body)) is None


def test_padding_that_was_resampled_is_no_second_rescale():
    head = draw(body=0.03, lung=0.0, bone=0.05).astype(np.float32)
    head[:6] = -2000
    head[6:8] = np.linspace(-2000, -1000, 64)  # where padding and air were mixed
    assert why_not_hu(head) is None


def test_the_couch_of_a_phantom_is_no_filling():
    """Of two even values in the drawing only that of the foam may be left once it was resampled."""
    hu = draw()
    hu[:2] = -900
    assert why_not_hu(hu) is None
    hu[2:4] = -250
    assert why_not_hu(hu) is None


@pytest.mark.parametrize("blood", [180, 200, 220, 300, 450])
def test_blood_full_of_contrast_hides_no_tissue_in_a_crop_of_the_heart(blood):
    draws = np.random.default_rng(0)
    parts = ((-860, 40, 30_000), (-95, 15, 8_000), (45, 15, 12_000), (blood, 15, 15_000), (-400, 250, 3_000))
    hu = np.concatenate([draws.normal(mean, spread, num) for mean, spread, num in parts])
    assert why_not_hu(draws.permutation(hu)[:67_200].round().astype(np.int16).reshape(28, 48, 50)) is None
