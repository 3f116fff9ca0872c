import pytest
import torch
from tiny_models import tiny_text, tiny_vision
from torch import nn
from torch.nn import functional

from modeling_argus import ArgusConfig, pixel_shuffle_3d, pixel_unshuffle_3d
from modeling_argus.connector_argus import COMPRESSORS, ArgusConnector, AveragePooling3D, PerceiverResampler


def config(**changes) -> ArgusConfig:
    vision = tiny_vision(patch_size=(2, 4, 4), hidden_size=12, num_attention_heads=2)
    return ArgusConfig(vision_config=vision, text_config=tiny_text(hidden_size=20), **changes)


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


def test_average_pooling_equals_torchs_own():
    tokens = torch.randn(2, 64, 12)
    volume = tokens.transpose(1, 2).view(2, 12, 4, 4, 4)
    expected = functional.avg_pool3d(volume, 2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(AveragePooling3D(config(compressor="average_pooling"))(tokens), expected)


def perceiver_reference(resampler: PerceiverResampler, tokens: torch.Tensor) -> torch.Tensor:
    """One head at a time, softmax written out."""
    latents = resampler.latents.expand(len(tokens), -1, -1)
    for layer in resampler.layers:
        attention = layer.attention
        media, queries = attention.norm_tokens(tokens), attention.norm_latents(latents)
        context = torch.cat([media, queries], dim=1)
        keys, values = (context @ half.T for half in attention.kv_proj.weight.chunk(2))
        queries = queries @ attention.q_proj.weight.T
        size = queries.shape[-1] // attention.num_heads
        mixed = []
        for head in range(attention.num_heads):
            part = slice(head * size, (head + 1) * size)
            scores = queries[..., part] @ keys[..., part].transpose(1, 2) / size**0.5
            mixed.append(scores.softmax(-1) @ values[..., part])
        latents = latents + torch.cat(mixed, dim=-1) @ attention.out_proj.weight.T
        norm, widen, _, narrow = layer.mlp
        latents = latents + functional.gelu(norm(latents) @ widen.weight.T) @ narrow.weight.T
    return resampler.norm(latents)


def test_perceiver_equals_its_description_and_forgets_the_order_of_tokens():
    torch.manual_seed(0)
    resampler = PerceiverResampler(
        config(num_latents=5, perceiver_depth=2, perceiver_num_heads=3, perceiver_head_dim=6)
    )
    for module in resampler.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, mean=1.0, std=0.3)
    tokens = torch.randn(2, 64, 12)
    compressed = resampler(tokens)
    assert compressed.shape == (2, 5, 12)
    torch.testing.assert_close(compressed, perceiver_reference(resampler, tokens))
    torch.testing.assert_close(resampler(tokens.flip(1)), compressed)


@pytest.mark.parametrize(
    ("compressor", "num_tokens", "width"),
    [("pixel_shuffle", 8, 96), ("average_pooling", 8, 12), ("perceiver", 32, 12), ("none", 64, 12)],
)
def test_every_compressor_says_what_it_gives(compressor, num_tokens, width):
    connector = ArgusConnector(config(compressor=compressor))
    assert (connector.num_tokens, connector.compressor.width) == (num_tokens, width)
    assert connector.compressor(torch.randn(2, 64, 12)).shape == (2, num_tokens, width)
    assert connector(torch.randn(2, 64, 12)).shape == (2, num_tokens, 20)
    assert set(COMPRESSORS) == {"pixel_shuffle", "average_pooling", "perceiver", "none"}


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
