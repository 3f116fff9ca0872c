import pytest
import torch
from transformers import LlamaConfig

from modeling_argus import ArgusConfig, pixel_shuffle_3d, pixel_unshuffle_3d
from modeling_argus.connector_argus import ArgusConnector


def config(**changes) -> ArgusConfig:
    vision = {"image_size": (8, 16, 16), "patch_size": (2, 4, 4), "hidden_size": 12, "num_attention_heads": 2}
    text = LlamaConfig(hidden_size=20, num_attention_heads=2, vocab_size=32)
    return ArgusConfig(vision_config=vision, text_config=text, **changes)


def test_first_shuffled_token_is_the_first_2x2x2_block():
    tokens = torch.arange(64.0).view(1, 64, 1)
    first = pixel_shuffle_3d(tokens, grid=(4, 4, 4), factor=2)[0, 0]
    assert first.tolist() == [0, 1, 4, 5, 16, 17, 20, 21]  # index = 16*d + 4*h + w


def test_shuffle_keeps_a_tokens_channels_together():
    tokens = torch.arange(16.0).view(1, 8, 2)
    assert pixel_shuffle_3d(tokens, grid=(2, 2, 2), factor=2)[0, 0].tolist() == list(range(16))


def test_unshuffle_is_the_exact_inverse_on_an_uneven_grid():
    tokens = torch.randn(3, 4 * 6 * 2, 5)
    shuffled = pixel_shuffle_3d(tokens, grid=(4, 6, 2), factor=2)
    assert shuffled.shape == (3, 6, 40)
    assert torch.equal(pixel_unshuffle_3d(shuffled, grid=(4, 6, 2), factor=2), tokens)


@pytest.mark.parametrize("grid", [(4, 4, 3), (3, 4, 4)])
def test_shuffle_refuses_a_grid_that_does_not_fit(grid):
    with pytest.raises(ValueError, match="grid"):
        pixel_shuffle_3d(torch.zeros(1, 48, 1), grid=grid, factor=2 if grid[0] == 3 else 4)


def test_one_and_two_layer_projectors_have_the_expected_weights():
    two, one = ArgusConnector(config()), ArgusConnector(config(num_projector_layers=1))
    width = 12 * 8
    assert sum(p.numel() for p in two.parameters()) == width * 20 + 20 + 20 * 20 + 20
    assert sum(p.numel() for p in one.parameters()) == width * 20 + 20
    assert two(torch.zeros(2, 64, 12)).shape == (2, 8, 20)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compressor": "none such"}, "none such"),
        ({"num_projector_layers": 3}, "num_projector_layers"),
        ({"compression_factor": 3}, "compression_factor 3"),
    ],
)
def test_connector_refuses_settings_it_does_not_know(changes, said):
    with pytest.raises(ValueError, match=said):
        ArgusConnector(config(**changes))
