import math

import pytest
import torch

from argus_training.pretraining.crop_views import blur, body_mask, change_intensity, draw_crops, draw_voxels
from argus_training.pretraining.vox2vec_objective import Vox2VecSettings, check_crop, half_grid, interpolate_tokens


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_voxel_at_a_patchs_centre_reads_that_patchs_token():
    tokens = torch.arange(12.0).view(1, 12, 1)  # grid (2, 3, 2), patches of 3 x 5 x 1 voxels
    voxels = torch.tensor([[[1, 2, 0], [4, 7, 1], [1, 12, 1]]])
    read = interpolate_tokens(tokens, (2, 3, 2), voxels, (6, 15, 2))
    assert read.flatten().tolist() == pytest.approx([0.0, 9.0, 5.0], abs=1e-5)


def test_tokens_mix_between_centres_and_the_nearest_counts_at_the_edge():
    tokens = torch.tensor([0.0, 10.0]).view(1, 2, 1)
    voxels = torch.tensor([[[0, 0, w] for w in range(8)]])
    read = interpolate_tokens(tokens, (1, 1, 2), voxels, (1, 1, 8)).flatten()
    assert read.tolist() == pytest.approx([0, 0, 1.25, 3.75, 6.25, 8.75, 10, 10], abs=1e-5)


def test_crops_lie_inside_and_at_most_half_a_crop_apart():
    pairs = [draw_crops((16, 30, 20), (8, 10, 20), generator(seed)) for seed in range(200)]
    for first, second in pairs:
        for low, other, side, crop in zip(first, second, (16, 30, 20), (8, 10, 20), strict=True):
            assert 0 <= low <= side - crop and 0 <= other <= side - crop and abs(low - other) <= crop // 2
    assert {first[1] for first, _ in pairs} == set(range(21))


def test_voxels_lie_in_both_crops_and_in_the_mask_and_none_comes_twice():
    mask = torch.zeros(8, 8, 8, dtype=torch.bool)
    mask[3:6, 2:7, 4:8] = True
    voxels, is_voxel = draw_voxels(mask, ((2, 0, 0), (0, 1, 4)), (4, 4, 4), 30, generator())
    # Common to both crops: d 2-3, h 1-3, w 4-... nothing beyond 3, so none at all.
    assert not is_voxel.any() and voxels.shape == (30, 3)
    voxels, is_voxel = draw_voxels(mask, ((2, 0, 2), (2, 1, 4)), (4, 4, 4), 30, generator())
    drawn = {tuple(voxel.tolist()) for voxel in voxels[is_voxel]}
    assert drawn == {(d, h, w) for d in (3, 4, 5) for h in (2, 3) for w in (4, 5)}
    assert int(is_voxel.sum()) == 12


def test_the_body_holds_the_lungs_and_not_the_air_around():
    volume = torch.zeros(1, 10, 10)
    volume[:, 2:8, 2:8] = 0.5
    volume[:, 4:6, 4:6] = 0.05  # a lung
    mask = body_mask(volume)
    expected = torch.zeros(1, 10, 10, dtype=torch.bool)
    expected[:, 2:8, 2:8] = True
    assert torch.equal(mask, expected)


def test_both_views_show_the_same_tissue_at_the_same_voxel():
    """With intensity unchanged, tokens that are voxels themselves must be equal in both views."""
    volume = torch.rand(8, 8, 8, generator=generator())
    corners = draw_crops((8, 8, 8), (4, 4, 4), generator(3))
    voxels, is_voxel = draw_voxels(torch.ones(8, 8, 8, dtype=torch.bool), corners, (4, 4, 4), 20, generator())
    read = []
    for corner in corners:
        d, h, w = corner
        tokens = volume[d : d + 4, h : h + 4, w : w + 4].reshape(1, 64, 1)
        read.append(interpolate_tokens(tokens, (4, 4, 4), (voxels - torch.tensor(corner))[None], (4, 4, 4)))
    assert corners[0] != corners[1] and is_voxel.any()
    torch.testing.assert_close(read[0][0, is_voxel], read[1][0, is_voxel])
    inside = voxels[is_voxel]
    torch.testing.assert_close(read[0][0, is_voxel, 0], volume[inside[:, 0], inside[:, 1], inside[:, 2]])


def test_blur_keeps_the_mean_of_an_impulse_and_intensity_stays_in_range():
    impulse = torch.zeros(9, 9, 9)
    impulse[4, 4, 4] = 1.0
    blurred = blur(impulse, 1.0)
    assert blurred.sum() == pytest.approx(1.0, abs=1e-5)
    assert blurred[4, 4, 3] == pytest.approx(blurred[3, 4, 4]) and blurred[4, 4, 4] > blurred[4, 4, 3] > 0
    torch.testing.assert_close(blur(impulse, 1e-3), impulse)
    changed = change_intensity(torch.rand(4, 8, 8), generator())
    assert 0 <= changed.min() and changed.max() <= 1


def test_views_follow_from_seed_step_and_sample_alone(objective_of, batch_of):
    objective, batch = objective_of("vox2vec"), batch_of("vox2vec")
    both = objective(**batch, step=3).first
    torch.rand(5)
    last = objective(batch["pixel_values"][3:], batch["index"][3:], step=3).first
    torch.testing.assert_close(last, both[-40:])
    assert not torch.allclose(objective(**batch, step=4).first, both)


def test_it_learns_to_find_voxels_again(objective_of, batch_of):
    objective, batch = objective_of("vox2vec"), batch_of("vox2vec")
    # Scans of their own brightness: to tell a voxel's scan alone leaves a quarter of the candidates.
    batch["pixel_values"] = torch.tensor([0.3, 0.45, 0.65, 0.9]).view(4, 1, 1, 1, 1).expand(4, 1, 8, 16, 16)
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    losses = []
    for step in range(1, 100):
        optimizer.zero_grad()
        loss = objective(**batch, step=step).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(319), abs=0.3)
    assert sum(losses[-5:]) / 5 < losses[0] - 0.5


def test_crops_that_are_no_whole_patches_or_too_large_are_refused():
    assert half_grid((64, 256, 256), (8, 16, 16)) == [32, 128, 128]
    assert half_grid((8, 16, 16), (8, 16, 16)) == [8, 16, 16]
    for wrong in ((4, 8), (6, 8, 8), (16, 32, 32), (0, 8, 8)):
        with pytest.raises(ValueError, match="whole numbers of patches"):
            check_crop(wrong, (8, 16, 16), (4, 4, 4))
    assert Vox2VecSettings().temperature == 0.1
