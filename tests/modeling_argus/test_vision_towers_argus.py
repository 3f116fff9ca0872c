"""The baselines' towers: sizes, positions, gradients, saving; and CT2Rep against its description."""

import json
import math

import pytest
import torch
from tiny_models import tiny_text
from torch.nn import functional
from transformers import AutoModel

from modeling_argus import TOWERS, ArgusConfig, ArgusForConditionalGeneration, preset_config
from modeling_argus.presets_argus import preset_vision_config
from modeling_argus.vision_ct2rep_argus import CT2RepCodebook, CT2RepVisionConfig, CT2RepVisionModel
from modeling_argus.vision_radfm_argus import RadFMPositions, RadFMVisionConfig

BASELINES = [name for name in TOWERS if name != "argus"]


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def vit_layers(width: int, inner: int, mlp: int) -> int:
    """12 layers without bias on queries, keys and values."""
    return 12 * (3 * width * inner + inner * width + width + 2 * width * mlp + mlp + width + 4 * width)


def ct2rep_layers() -> int:
    """8 layers 512 wide, inside attention 256, inside the MLP 1365."""
    attention = 512 + 512 * 3 * 256 + 2 * 32 + 256 * 512
    return 8 * (512 * 27 + 512 + attention + 2 * 512 + 512 * 2 * 1365 + 1365 * 512)


# Computed by hand from the published layer sizes.
M3D_REST = 4 * 16 * 16 * 768 + 768 + 768 + 2 * 768
RADFM_PATCH = 4 * 32 * 32 * 3
RADFM_REST = 2 * RADFM_PATCH + RADFM_PATCH * 768 + 768 + 2 * 768 + (16 + 16 + 128) * 256
CT2REP_REST = 2 * 6912 + 6912 * 512 + 512 + 2 * 512 + (2 * 512 + 512) + (512 * 512 + 512) + (512 * 8 + 8) + 2 * 512
PARAMETERS = {
    ("m3d", "nr"): vit_layers(768, 768, 3072) + M3D_REST + 4096 * 768,
    ("m3d", "hr"): vit_layers(768, 768, 3072) + M3D_REST + 65536 * 768,
    ("radfm", "nr"): vit_layers(768, 512, 2048) + RADFM_REST,
    ("radfm", "hr"): vit_layers(768, 512, 2048) + RADFM_REST,
    ("ct2rep", "nr"): ct2rep_layers() + CT2REP_REST,
    ("ct2rep", "hr"): ct2rep_layers() + CT2REP_REST,
}
TOKENS = {  # of the tower, and after its own compressor
    ("m3d", "nr"): (4096, 512),
    ("m3d", "hr"): (65536, 8192),
    ("radfm", "nr"): (1024, 32),
    ("radfm", "hr"): (16384, 32),
    ("ct2rep", "nr"): (500, 500),
    ("ct2rep", "hr"): (8000, 8000),
}


@pytest.mark.parametrize(("tower", "resolution"), PARAMETERS)
def test_full_size_builds_on_the_meta_device_with_the_published_sizes(tower, resolution):
    config = preset_config(f"argus-8b-{resolution}", tower)
    with torch.device("meta"):
        model = ArgusForConditionalGeneration(config)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert (config.vision_config.num_tokens, model.model.connector.num_tokens) == TOKENS[tower, resolution]
    assert count(model.model.vision_tower) == PARAMETERS[tower, resolution]


def tiny_tower(name: str):
    torch.manual_seed(0)
    config = preset_vision_config("argus-tiny", name)
    return TOWERS[name].model_class(config)


@pytest.mark.parametrize("name", BASELINES)
def test_checkpointing_keeps_gradients_and_all_weights_get_one(name):
    tower, volume = tiny_tower(name).train(), torch.rand(2, 1, 32, 64, 64)
    if name == "ct2rep":
        tower.codebook.decay = 1.0  # or the two passes would meet different codebooks
    plain = {}
    for enable in (lambda: None, tower.gradient_checkpointing_enable):
        enable()
        tower(volume).last_hidden_state.square().mul(torch.arange(192)).sum().backward()
        gradients = {key: parameter.grad.clone() for key, parameter in tower.named_parameters()}
        tower.zero_grad()
        plain = plain or gradients
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[key], atol=1e-3, rtol=1e-3)
    still = [key for key, gradient in plain.items() if not gradient.any()]
    assert not still


@pytest.mark.parametrize("name", BASELINES)
def test_eager_and_sdpa_attention_agree(name, tmp_path):
    tower, volume = tiny_tower(name).eval(), torch.rand(1, 1, 32, 64, 64)
    tower.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert type(loaded) is TOWERS[name].model_class
    assert torch.equal(loaded(volume).last_hidden_state, tower(volume).last_hidden_state)
    if tower._supports_attention_backend:
        tower.set_attn_implementation("eager")
        torch.testing.assert_close(
            tower(volume).last_hidden_state, loaded(volume).last_hidden_state, atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name", TOWERS)
def test_any_tower_survives_values_of_another_towers_defaults(name, tmp_path):
    vision = TOWERS[name].config_class(
        image_size=(64, 256, 256), patch_size=(8, 16, 16), hidden_size=768, num_attention_heads=12, head_dim=64
    )
    ArgusConfig(vision_config=vision, text_config=tiny_text()).save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())["vision_config"]["model_type"]
    loaded = ArgusConfig.from_pretrained(tmp_path).vision_config
    assert type(loaded) is type(vision) and said == vision.model_type
    assert loaded.to_dict() == vision.to_dict()


def test_unknown_towers_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="eiffel.*m3d_vision"):
        ArgusConfig(vision_config={"model_type": "eiffel"})
    with pytest.raises(ValueError, match="eiffel.*m3d"):
        preset_vision_config("argus-tiny", "eiffel")


def test_radfms_positions_are_spread_over_its_tables():
    positions = RadFMPositions(RadFMVisionConfig())
    grid = positions((64, 16, 8))
    assert grid.shape == (64, 16, 8, 768)
    # (i + 1) * (table // n) - 1: every second slice and column, each row.
    expected = torch.cat([positions.rows.weight[5], positions.columns.weight[7], positions.slices.weight[41]])
    assert torch.equal(grid[20, 5, 3], expected)
    with pytest.raises(ValueError, match="more than the 16 positions"):
        positions((64, 17, 8))
    with pytest.raises(ValueError, match="larger than the position tables"):
        RadFMVisionConfig(image_size=(64, 1024, 256))


@pytest.fixture
def ct2rep() -> CT2RepVisionModel:
    torch.manual_seed(1)
    sizes = {"image_size": (6, 12, 8), "patch_size": (2, 4, 2), "hidden_size": 12, "head_dim": 4}
    layers = {"num_spatial_layers": 2, "num_temporal_layers": 1, "num_attention_heads": 3, "codebook_size": 7}
    tower = CT2RepVisionModel(CT2RepVisionConfig(**sizes, **layers)).eval()
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return tower


def attention_reference(attention, sequence: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """One sequence `(n, C)`, one head at a time."""
    normed = functional.layer_norm(sequence, sequence.shape[-1:]) * attention.norm.weight
    query = normed @ attention.q_proj.weight.T
    key, value = (normed @ attention.kv_proj.weight.T).chunk(2, -1)
    size, heads = len(attention.q_scale), []
    for head in range(attention.num_heads):
        part = slice(head * size, (head + 1) * size)
        q = query[:, part] / query[:, part].norm(dim=-1, keepdim=True) * attention.q_scale
        k = key[:, part] / key[:, part].norm(dim=-1, keepdim=True) * attention.k_scale
        scores = 8 * q @ k.T + (0 if bias is None else bias[head])
        heads.append(scores.softmax(-1) @ value[:, part])
    return torch.cat(heads, -1) @ attention.out_proj.weight.T


def layer_reference(layer, grid: torch.Tensor, spatial: bool, bias) -> torch.Tensor:
    """One volume `(d, h, w, C)`."""
    convolved = torch.zeros_like(grid)
    depth, height, width, channels = grid.shape
    kernel = layer.convolution.depthwise.weight[:, 0]  # (C, 3, 3, 3)
    for d, h, w in ((d, h, w) for d in range(depth) for h in range(height) for w in range(width)):
        for i, j, k in ((i, j, k) for i in range(3) for j in range(3) for k in range(3)):
            at = (d + i - 2, h + j - 1, w + k - 1)  # along depth only what came before
            if all(0 <= place < side for place, side in zip(at, (depth, height, width), strict=True)):
                convolved[d, h, w] += kernel[:, i, j, k] * grid[at]
    grid = grid + convolved + layer.convolution.depthwise.bias
    attended = torch.zeros_like(grid)
    if spatial:
        for d in range(depth):
            sequence = grid[d].reshape(-1, channels)
            attended[d] = attention_reference(layer.attention, sequence, bias).reshape(height, width, channels)
    else:
        for h, w in ((h, w) for h in range(height) for w in range(width)):
            attended[:, h, w] = attention_reference(layer.attention, grid[:, h, w], None)
    grid = grid + attended
    values, gate = (layer.mlp.norm(grid) @ layer.mlp.widen.weight.T).chunk(2, -1)
    return grid + (values * functional.gelu(gate)) @ layer.mlp.narrow.weight.T


def bias_reference(tower, height: int, width: int) -> torch.Tensor:
    """The MLP on every pair of patches."""
    places = [(h, w) for h in range(height) for w in range(width)]
    rows = []
    for query in places:
        offsets = [[float(q - k) for q, k in zip(query, key, strict=True)] for key in places]
        logs = [[math.copysign(math.log(abs(o) + 1), o) for o in pair] for pair in offsets]
        rows.append(tower.position_bias.mlp(torch.tensor(logs)))
    return torch.stack(rows).permute(2, 0, 1)


def test_ct2rep_equals_its_description(ct2rep):
    volume = torch.rand(2, 1, 6, 12, 8) * 2 - 1
    bias = bias_reference(ct2rep, 3, 4)
    torch.testing.assert_close(ct2rep.position_bias(torch.zeros(1, 1, 3, 4, 12)), bias)
    encoded = ct2rep.encode(volume).unflatten(1, (3, 3, 4))
    for sample, result in zip(volume, encoded, strict=True):
        convolution = ct2rep.patch_embedding
        patches = torch.stack(
            [
                sample[0, 2 * d : 2 * d + 2, 4 * h : 4 * h + 4, 2 * w : 2 * w + 2].flatten()
                for d in range(3)
                for h in range(3)
                for w in range(4)
            ]
        )
        grid = convolution[2](convolution[1](convolution[0](patches))).view(3, 3, 4, 12)
        for layer in ct2rep.spatial_layers:
            grid = layer_reference(layer, grid, spatial=True, bias=bias)
        grid = ct2rep.spatial_norm(grid)
        for layer in ct2rep.temporal_layers:
            grid = layer_reference(layer, grid, spatial=False, bias=None)
        torch.testing.assert_close(result, ct2rep.temporal_norm(grid), atol=1e-4, rtol=1e-4)
    tokens = ct2rep(volume).last_hidden_state
    directions = encoded / encoded.norm(dim=-1, keepdim=True)
    nearest = (directions.flatten(1, 3) @ ct2rep.codebook.vectors.T).argmax(-1)
    torch.testing.assert_close(tokens, ct2rep.codebook.vectors[nearest])


@pytest.fixture
def codebook() -> CT2RepCodebook:
    book = CT2RepCodebook(CT2RepVisionConfig(hidden_size=2, codebook_size=3, codebook_decay=0.5)).train()
    book.vectors.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    return book


def test_a_codebook_follows_its_tokens_and_passes_their_gradient(codebook):
    tokens = torch.tensor([[2.0, 1.0], [3.0, -1.5]], requires_grad=True)
    chosen = codebook(tokens)
    assert torch.equal(chosen.detach(), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    chosen[:, 1].sum().backward()
    # d(y / |t|)/dt at (2, 1): (-x y, x^2) / |t|^3
    torch.testing.assert_close(tokens.grad[0], torch.tensor([-2.0, 4.0]) / 5**1.5)
    assert torch.equal(codebook.vectors, torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    codebook(torch.tensor([[1.0, 1.0]], requires_grad=True).mul(torch.tensor([2.0, 1.0])))
    moved = torch.tensor([2 / 5**0.5 + 1, 1 / 5**0.5]) / 2
    torch.testing.assert_close(codebook.vectors[0], moved / moved.norm())
    assert torch.equal(codebook.vectors[1:], torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))


def test_a_codebook_stays_where_nothing_trains(codebook):
    before = codebook.vectors.clone()
    codebook(torch.tensor([[2.0, 1.0]]))
    codebook.eval()(torch.tensor([[2.0, 1.0]], requires_grad=True))
    assert torch.equal(codebook.vectors, before)


def follow_in_a_process(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    book = CT2RepCodebook(CT2RepVisionConfig(hidden_size=6, codebook_size=4))
    batch = torch.load(f"{folder}/batch.pt")
    book.vectors.copy_(batch["vectors"])
    book.train()(batch["tokens"][rank::2].requires_grad_())
    torch.save(book.vectors, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_a_codebook_is_equal_in_two_processes_and_in_a_joint_batch(tmp_path):
    torch.manual_seed(0)
    book = CT2RepCodebook(CT2RepVisionConfig(hidden_size=6, codebook_size=4)).train()
    tokens = torch.randn(10, 6)
    torch.save({"vectors": book.vectors, "tokens": tokens}, tmp_path / "batch.pt")
    # Forked: a new interpreter would spend its time on imports.
    torch.multiprocessing.start_processes(follow_in_a_process, args=(str(tmp_path),), nprocs=2, start_method="fork")
    book(tokens.requires_grad_())
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"rank{rank}.pt"), book.vectors)
