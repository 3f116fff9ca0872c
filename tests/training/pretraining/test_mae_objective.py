import pytest
import torch
from torch.nn import functional

from argus_training.pretraining.mae_objective import MAEObjective, MAESettings, normalize_patches, unpatchify
from argus_training.pretraining.objective import draw_orders, generators_of
from modeling_argus.vision_argus import sincos_positions_3d

INDEX = torch.tensor([3, 7])


@pytest.fixture
def objective(tower) -> MAEObjective:
    settings = MAESettings(mask_ratio=0.75, decoder_width=36, decoder_layers=2, decoder_heads=4)
    return MAEObjective(tower, settings, seed=5)


@pytest.fixture
def volumes() -> torch.Tensor:
    return torch.rand(2, 1, 8, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_loss_is_that_of_the_published_way_on_masked_patches_alone(objective, volumes):
    """The reference puts every token back in its place, decodes the whole grid and weighs by the mask."""
    order = draw_orders(32, generators_of(5, 9, INDEX), volumes.device)
    kept = objective.vision_tower(volumes, kept=order[:, :8]).last_hidden_state
    decoder = objective.decoder
    grid = decoder.mask_token.expand(2, 32, -1).clone()
    mask = torch.ones(2, 32)
    for sample in range(2):
        for place, token in zip(order[sample, :8], decoder.embed(kept[sample]), strict=True):
            grid[sample, place] = token
            mask[sample, place] = 0
    decoded = grid + sincos_positions_3d((2, 4, 4), 36)
    for layer in decoder.layers:
        decoded = layer(decoded)
    predicted = decoder.predict(decoder.layer_norm(decoded))
    voxels = volumes.unfold(2, 4, 4).unfold(3, 4, 4).unfold(4, 4, 4).reshape(2, 32, 64)
    target = (voxels - voxels.mean(-1, keepdim=True)) / (voxels.var(-1, keepdim=True) + 1e-6) ** 0.5
    per_patch = (predicted - target).square().mean(-1)
    expected = (per_patch * mask).sum() / mask.sum()
    torch.testing.assert_close(objective(volumes, INDEX, step=9).loss, expected)


def test_the_prediction_does_not_depend_on_masked_voxels(objective, volumes):
    first = objective(volumes, INDEX, step=1)
    patches, grid = objective.vision_tower.embeddings.patchify(volumes)
    places = first.masked[..., None].expand(-1, -1, 64)
    changed = unpatchify(patches.scatter(1, places, 0.5 * torch.rand(2, 24, 64)), grid, (4, 4, 4))
    second = objective(changed, INDEX, step=1)
    assert torch.equal(first.prediction, second.prediction)
    assert first.loss != second.loss


def test_masks_follow_from_seed_step_and_sample_whatever_else_was_drawn(objective, volumes):
    masked = objective(volumes, INDEX, step=2).masked
    torch.rand(7)
    alone = objective(volumes[1:], INDEX[1:], step=2).masked
    assert torch.equal(alone[0], masked[1])
    assert not torch.equal(objective(volumes, INDEX, step=3).masked, masked)
    objective.seed = 6
    assert not torch.equal(objective(volumes, INDEX, step=2).masked, masked)
    assert masked.shape == (2, 24) and all(len(set(row.tolist())) == 24 for row in masked)


def test_predicting_each_patchs_mean_costs_about_one(objective, volumes):
    assert objective(volumes, INDEX).mean_loss == pytest.approx(63 / 64, abs=1e-3)
    even, _, _ = normalize_patches(torch.full((1, 2, 64), 0.3))
    assert even.abs().max() < 1e-3


def test_unpatchify_undoes_patchify(objective, volumes):
    patches, grid = objective.vision_tower.embeddings.patchify(volumes)
    assert torch.equal(unpatchify(patches, grid, (4, 4, 4)), volumes)


def test_it_learns_to_continue_what_it_sees(objective):
    ramp = torch.linspace(0, 1, 16).expand(4, 1, 8, 16, 16) * torch.tensor([0.3, 0.5, 0.7, 0.9]).view(4, 1, 1, 1, 1)
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    for step in range(1, 60):
        optimizer.zero_grad()
        objective(ramp, torch.arange(4), step).loss.backward()
        optimizer.step()
    assert (
        functional.mse_loss(objective(ramp, torch.arange(4)).prediction, objective(ramp, torch.arange(4)).target) < 0.2
    )


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.5])
def test_a_ratio_that_masks_nothing_or_all_is_refused(ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        MAESettings(mask_ratio=ratio)
