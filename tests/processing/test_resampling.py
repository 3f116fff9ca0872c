import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from argus_processing.resampling import (
    PlaneFiller,
    antialiased_operator,
    bands_of,
    compose,
    fill_grid,
    grid_operators,
    linear_operator,
    operator_of,
    planes_in,
    scale_hu,
    spaced_size,
    terms_of,
)

WINDOW = (-1000.0, 1000.0)
TARGET_MM = (4.0, 1.0, 1.0)


def resample_ct(hu, spacing_mm, grid, window, target_mm, resampling) -> torch.Tensor:
    return resample_as_it_arrives(hu, spacing_mm, grid, window, target_mm, resampling, [range(hu.shape[0])])


def resample_as_it_arrives(hu, spacing_mm, grid, window, target_mm, resampling, arrivals) -> torch.Tensor:
    operators = grid_operators(hu.shape, spacing_mm, grid, target_mm, resampling)
    out = torch.full(grid, torch.nan)
    filler = PlaneFiller(operators, window, planes_in(out, operators.num_planes), lambda plane: scale_hu(plane, window))
    for arrived in arrivals:
        filler.add(hu, arrived)
    fill_grid(out, operators.to_grid)
    return out


def random_hu(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1500, 2000, shape).astype(np.int16)


def two_steps(hu: np.ndarray, spacing_mm, grid) -> torch.Tensor:
    volume = torch.from_numpy(np.ascontiguousarray(hu)).float().clamp(*WINDOW)[None, None]
    spaced = [spaced_size(*axis) for axis in zip(hu.shape, spacing_mm, TARGET_MM, strict=True)]
    for size in (spaced, grid):
        volume = interpolate(volume, size=size, mode="trilinear", align_corners=False)
    return (volume[0, 0] + 1000.0) / 2000.0


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "grid"),
    [
        ((30, 60, 50), (3.0, 3.0, 3.0), (64, 128, 128)),  # up in plane, down and up along depth
        ((90, 120, 110), (1.0, 0.7, 0.7), (16, 32, 48)),  # down everywhere
        ((20, 40, 44), (5.0, 2.0, 2.0), (64, 96, 96)),  # up everywhere
        ((7, 9, 11), (4.0, 1.0, 1.0), (7, 9, 11)),  # nothing to do
    ],
)
def test_composed_resampling_equals_two_trilinear_interpolations(shape, spacing_mm, grid):
    hu = random_hu(shape)
    composed = resample_ct(hu, spacing_mm, grid, WINDOW, TARGET_MM, "paper")
    assert composed.shape == grid
    assert (composed - two_steps(hu, spacing_mm, grid)).abs().max() < 1e-5


def test_strides_of_a_turned_scan_change_nothing():
    stored = random_hu((12, 20, 16))
    turned = stored.transpose(2, 0, 1)[::-1, :, ::-1]
    copied = np.ascontiguousarray(turned)
    arguments = ((2.0, 1.5, 1.5), (8, 16, 16), WINDOW, TARGET_MM, "paper")
    assert torch.equal(resample_ct(turned, *arguments), resample_ct(copied, *arguments))


GRIDS = [(10, 256, 256), (40, 512, 512)]  # normal and high resolution in the planes, with fewer slices


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("resampling", ["paper", "direct"])
def test_bands_give_what_whole_operators_do_on_both_grids(grid, resampling):
    hu = random_hu((12, 512, 512))
    operators = grid_operators(hu.shape, (4.0, 0.7, 0.7), grid, TARGET_MM, resampling)
    along_depth = operators.to_slices if operators.to_grid is None else operators.to_grid @ operators.to_slices
    clipped = scale_hu(torch.from_numpy(hu).float().clamp_(*WINDOW), WINDOW)
    expected = torch.einsum("dk,khw->dhw", along_depth, operators.rows @ clipped @ operators.columns.T)
    banded = resample_ct(hu, (4.0, 0.7, 0.7), grid, WINDOW, TARGET_MM, resampling)
    assert (banded - expected).abs().max() < 1e-5


@pytest.mark.parametrize("grid", [(16, 48, 64), (64, 96, 40)])
def test_the_order_in_which_slices_arrive_changes_nothing(grid):
    hu = random_hu((30, 70, 90))
    arguments = ((2.5, 1.0, 0.8), grid, WINDOW, TARGET_MM, "paper")
    expected = resample_ct(hu, *arguments)
    assert expected.isfinite().all()
    for arrivals in ([range(n) for n in range(31)], [range(n, 30) for n in range(30, -1, -1)]):
        assert torch.equal(resample_as_it_arrives(hu, *arguments, arrivals), expected)


def test_the_number_of_threads_changes_nothing_and_stays():
    hu = random_hu((20, 512, 512))
    arguments = ((4.0, 0.7, 0.7), (24, 512, 512), WINDOW, TARGET_MM, "paper")
    expected = resample_ct(hu, *arguments)
    before = torch.get_num_threads()
    try:
        for num_threads in (2, 3):
            torch.set_num_threads(num_threads)
            assert torch.equal(resample_ct(hu, *arguments), expected)
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)


def test_an_operator_is_the_sum_of_its_bands_and_of_its_terms():
    operator = compose([linear_operator(50, 37), linear_operator(37, 70)])
    whole = torch.zeros_like(operator)
    for band in bands_of(operator, 32):
        whole[band.rows, band.columns] += band.weights
    assert torch.equal(whole, operator)
    assert torch.equal(operator_of(terms_of(operator), 50), operator)


def test_antialiased_operator_equals_torchs_own():
    for num_in, num_out in ((50, 16), (16, 50), (31, 31), (100, 7)):
        rows = torch.rand(3, num_in)
        expected = interpolate(rows[None, None], size=(3, num_out), mode="bilinear", antialias=True)[0, 0]
        torch.testing.assert_close(rows @ antialiased_operator(num_in, num_out).T, expected, atol=1e-6, rtol=1e-5)


def test_rows_of_every_operator_sum_to_one_so_a_constant_stays():
    for operator in (linear_operator(75, 256), antialiased_operator(300, 64)):
        torch.testing.assert_close(operator.sum(1), torch.ones(len(operator)))
    hu = np.full((10, 10, 10), 500, np.int16)
    for resampling in ("paper", "direct"):
        grid = resample_ct(hu, (3.0, 1.0, 1.0), (16, 8, 12), WINDOW, TARGET_MM, resampling)
        torch.testing.assert_close(grid, torch.full((16, 8, 12), 0.75))


def test_hu_outside_the_window_is_clipped_before_resampling():
    hu = np.full((4, 4, 8), -1000, np.int16)
    hu[..., 4:] = 30000  # metal
    grid = resample_ct(hu, (4.0, 1.0, 1.0), (4, 4, 15), WINDOW, TARGET_MM, "paper")
    metal_as_1000 = np.where(hu > 1000, 1000, hu).astype(np.int16)
    assert torch.equal(grid, resample_ct(metal_as_1000, (4.0, 1.0, 1.0), (4, 4, 15), WINDOW, TARGET_MM, "paper"))


def test_known_values_of_a_two_fold_upsampling():
    weights = linear_operator(2, 4)
    assert weights.tolist() == [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    assert compose([weights, torch.ones(1, 4)]).tolist() == [[2.0, 2.0]]


def test_direct_keeps_a_small_sphere_that_the_papers_spacing_blurs():
    # A 3 mm sphere in 1 mm slices on the high-resolution grid: the reason why "direct" exists.
    axis = np.arange(75)
    # At slice 35 it falls between two samples of the 4 mm spacing, which lie at 33.5 and 37.5.
    distance = np.linalg.norm(np.stack(np.meshgrid(axis - 35, axis - 37, axis - 37, indexing="ij")), axis=0)
    hu = np.where(distance <= 1.5, 0, -1000).astype(np.int16)
    peaks = {
        name: float(resample_ct(hu, (1.0, 1.0, 1.0), (75, 75, 75), WINDOW, TARGET_MM, name).max())
        for name in ("paper", "direct")
    }
    assert peaks["direct"] == pytest.approx(0.5, abs=1e-6)
    assert peaks["paper"] < 0.3


@pytest.mark.parametrize(
    ("window", "resampling", "said"), [((100.0, 100.0), "paper", "window"), (WINDOW, "cubic", "cubic")]
)
def test_wrong_settings_are_refused(window, resampling, said):
    with pytest.raises(ValueError, match=said):
        resample_ct(random_hu((4, 4, 4)), (1.0, 1.0, 1.0), (4, 4, 4), window, TARGET_MM, resampling)
