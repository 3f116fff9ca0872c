import pytest
import torch
from tiny_models import tiny_tower, tiny_vision
from torch import nn
from torch.nn import functional
from transformers import AutoModel

from modeling_argus import ArgusVisionModel
from modeling_argus.vision_argus import sincos_positions_3d, take_tokens

SIZES = {"image_size": (8, 24, 16), "patch_size": (2, 6, 4), "num_hidden_layers": 2}


@pytest.fixture
def tower() -> ArgusVisionModel:
    return tiny_tower(**SIZES).eval()


def test_patch_embedding_equals_a_strided_convolution(tower):
    volume = torch.rand(2, 1, 8, 24, 16)
    linear = tower.embeddings.patch_embedding
    convolution = nn.Conv3d(1, 24, kernel_size=(2, 6, 4), stride=(2, 6, 4))
    convolution.weight.data = linear.weight.data.view(24, 1, 2, 6, 4)
    convolution.bias.data = linear.bias.data
    expected = convolution((volume - 0.25) / 0.25).flatten(2).transpose(1, 2) + tower.embeddings.position_embedding
    torch.testing.assert_close(tower.embeddings(volume), expected)


def test_tower_equals_torchs_own_transformer_layer_by_layer(tower):
    hidden = torch.randn(2, 64, 24)
    for layer in tower.layers:
        reference = nn.TransformerEncoderLayer(
            24, 4, 48, dropout=0.0, activation=functional.gelu, layer_norm_eps=1e-6, batch_first=True, norm_first=True
        ).eval()
        attention = layer.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        reference.self_attn.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
        reference.self_attn.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
        reference.self_attn.out_proj.load_state_dict(attention.out_proj.state_dict())
        reference.linear1.load_state_dict(layer.mlp.fc1.state_dict())
        reference.linear2.load_state_dict(layer.mlp.fc2.state_dict())
        torch.testing.assert_close(layer(hidden), reference(hidden), atol=1e-5, rtol=1e-4)
        hidden = layer(hidden)


def test_eager_and_sdpa_attention_agree_and_checkpointing_keeps_gradients(tower):
    volume = torch.rand(1, 1, 8, 24, 16)
    tower.train()
    tower(volume).last_hidden_state.sum().backward()
    weight = tower.embeddings.patch_embedding.weight
    plain, weight.grad = weight.grad, None
    tower.gradient_checkpointing_enable()
    tower(volume).last_hidden_state.sum().backward()
    torch.testing.assert_close(weight.grad, plain)


def test_positions_are_learned_on_the_trained_grid_else_interpolated(tower):
    table = tower.embeddings.position_embedding
    assert tower.embeddings.positions_for((4, 4, 4)) is table
    finer = tower.embeddings.positions_for((8, 8, 8))
    expected = functional.interpolate(table.T.view(1, 24, 4, 4, 4), scale_factor=2, mode="trilinear")
    torch.testing.assert_close(finer, expected.flatten(2)[0].T)
    assert tower(torch.rand(1, 1, 16, 48, 32)).last_hidden_state.shape == (1, 512, 24)


def test_sincos_positions_are_unique_and_known_at_the_origin():
    table = sincos_positions_3d((3, 4, 5), 26)
    assert table.shape == (60, 26)
    assert len(torch.unique(table, dim=0)) == 60
    assert table[0].tolist() == ([0.0] * 4 + [1.0] * 4) * 3 + [0.0] * 2


def test_saved_tower_loads_by_automodel_with_equal_output(tower, tmp_path):
    tower.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin")) and (tmp_path / "model.safetensors").exists()
    volume = torch.rand(1, 1, 8, 24, 16)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert type(loaded) is ArgusVisionModel
    assert torch.equal(loaded(volume).last_hidden_state, tower(volume).last_hidden_state)


@pytest.mark.parametrize("shape", [(1, 8, 24, 16), (1, 1, 8, 24, 15)])
def test_tower_refuses_volumes_its_patches_do_not_tile(tower, shape):
    with pytest.raises(ValueError, match=r"got|tile"):
        tower(torch.zeros(shape))


@pytest.mark.parametrize("wrong", [{"patch_size": (3, 6, 4)}, {"num_attention_heads": 5}, {"image_size": (8, 24)}])
def test_configuration_refuses_what_does_not_divide(wrong):
    with pytest.raises(ValueError):
        tiny_vision(**SIZES | wrong)


def test_kept_patches_are_encoded_in_their_order_with_their_positions(tower):
    volume = torch.rand(2, 1, 8, 24, 16)
    order = torch.stack([torch.randperm(64), torch.randperm(64)])
    whole = tower(volume).last_hidden_state
    torch.testing.assert_close(tower(volume, kept=order).last_hidden_state, take_tokens(whole, order))


def test_dropped_patches_are_never_seen(tower):
    volume = torch.rand(1, 1, 8, 24, 16)
    kept = torch.arange(1, 64)[None]
    before = tower(volume, kept=kept).last_hidden_state
    volume[..., :2, :6, :4] = 0.0  # the first patch
    assert torch.equal(tower(volume, kept=kept).last_hidden_state, before)
    assert before.shape == (1, 63, 24)


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_gradients_of_masked_towers_do_not_depend_on_the_order_of_threads():
    # Large enough that torch divides the work, with every position taken by every sample of the batch.
    torch.manual_seed(0)
    embeddings = ArgusVisionModel(tiny_vision(**SIZES, hidden_size=192)).embeddings
    volume = torch.rand(32, 1, 8, 24, 16)
    kept = torch.stack([torch.randperm(64)[:32] for _ in range(32)])
    weights = torch.randn(32, 32, 192)

    def gradient() -> torch.Tensor:
        (embeddings(volume, kept) * weights).sum().backward()
        found, embeddings.position_embedding.grad = embeddings.position_embedding.grad, None
        return found

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(20))
