"""Published checkpoints by their key names and shapes, converted, against each architecture written out plainly."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from argus_processing.saved_models.provenance import read_provenance
from argus_training.ablations.ablation_recipes import ReportRecipe
from argus_training.ablations.ablation_steps import last_step, run_step
from argus_training.assembly import convert_weights as module
from argus_training.assembly.convert_weights import convert_weights, read_checkpoint
from argus_training.assembly.create import create_model
from modeling_argus.vision_argus import interpolate_positions
from modeling_argus.vision_towers_argus import TOWERS

WIDTH, LAYERS, MLP = 24, 2, 40
M3D_HEADS = 4
RADFM_HEADS, RADFM_HEAD_DIM = 2, 8
M3D_PARTS = {"norm1": "norm1", "qkv": "attn.qkv", "out": "attn.out_proj"}
M3D_PARTS |= {"norm2": "norm2", "mlp1": "mlp.linear1", "mlp2": "mlp.linear2"}
RADFM_PARTS = {"norm1": "0.norm", "qkv": "0.fn.to_qkv", "out": "0.fn.to_out.0"}
RADFM_PARTS |= {"norm2": "1.norm", "mlp1": "1.fn.net.0", "mlp2": "1.fn.net.3"}


def drawn(shapes: dict[str, tuple[int, ...]], prefix: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(len(shapes))
    return {prefix + key: torch.randn(shape, generator=generator) * 0.3 for key, shape in shapes.items()}


def norm_shapes(name: str, width: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear_shapes(name: str, width_in: int, width_out: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width_out, width_in), f"{name}.bias": (width_out,)}


def m3d_checkpoint(prefix: str = "model.vision_tower.vision_tower.") -> dict[str, torch.Tensor]:
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "patch_embedding.position_embeddings": (1, 4 * 2 * 2, WIDTH),
        **linear_shapes("patch_embedding.patch_embeddings.1", 2 * 4 * 4, WIDTH),
        **norm_shapes("norm"),
    }
    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        shapes |= norm_shapes(f"{block}.norm1") | norm_shapes(f"{block}.norm2")
        shapes |= {f"{block}.attn.qkv.weight": (3 * WIDTH, WIDTH)} | linear_shapes(
            f"{block}.attn.out_proj", WIDTH, WIDTH
        )
        shapes |= linear_shapes(f"{block}.mlp.linear1", WIDTH, MLP) | linear_shapes(f"{block}.mlp.linear2", MLP, WIDTH)
    return drawn(shapes, prefix)


def radfm_checkpoint() -> dict[str, torch.Tensor]:
    inner, voxels = RADFM_HEADS * RADFM_HEAD_DIM, 4 * 4 * 2 * 3
    shapes = {
        **norm_shapes("vision_encoder.to_patch_embedding.1", voxels),
        **linear_shapes("vision_encoder.to_patch_embedding.2", voxels, WIDTH),
        **norm_shapes("vision_encoder.to_patch_embedding.3"),
        "vision_encoder.pos_embedding.row_embed.weight": (4, WIDTH // 3),
        "vision_encoder.pos_embedding.col_embed.weight": (6, WIDTH // 3),
        "vision_encoder.pos_embedding.dep_embed.weight": (9, WIDTH // 3),
        "perceiver.latents": (5, WIDTH),
        **norm_shapes("perceiver.norm"),
        **linear_shapes("fc", WIDTH, 50),
        "weight": (7, 50),
    }
    for layer in range(LAYERS):
        block = f"vision_encoder.transformer.layers.{layer}"
        shapes |= norm_shapes(f"{block}.0.norm") | norm_shapes(f"{block}.1.norm")
        shapes |= {f"{block}.0.fn.to_qkv.weight": (3 * inner, WIDTH)}
        shapes |= linear_shapes(f"{block}.0.fn.to_out.0", inner, WIDTH)
        shapes |= linear_shapes(f"{block}.1.fn.net.0", WIDTH, MLP) | linear_shapes(f"{block}.1.fn.net.3", MLP, WIDTH)
        block = f"perceiver.layers.{layer}"
        shapes |= norm_shapes(f"{block}.0.norm_media") | norm_shapes(f"{block}.0.norm_latents")
        shapes |= norm_shapes(f"{block}.1.0")
        shapes |= {f"{block}.0.to_q.weight": (inner, WIDTH), f"{block}.0.to_kv.weight": (2 * inner, WIDTH)}
        shapes |= {f"{block}.0.to_out.weight": (WIDTH, inner), f"{block}.1.1.weight": (4 * WIDTH, WIDTH)}
        shapes |= {f"{block}.1.3.weight": (WIDTH, 4 * WIDTH)}
    return drawn(shapes, "embedding_layer.") | {"lang_model.model.embed_tokens.weight": torch.zeros(7, 50)}


class Reference:
    """Layers written out from the architectures' descriptions, on a checkpoint's own names."""

    def __init__(self, weights: dict[str, torch.Tensor], prefix: str):
        self.weights, self.prefix = weights, prefix

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.weights[self.prefix + name]

    def norm(self, name: str, tokens: torch.Tensor) -> torch.Tensor:
        mean, variance = tokens.mean(-1, keepdim=True), tokens.var(-1, keepdim=True, unbiased=False)
        return (tokens - mean) / (variance + 1e-5).sqrt() * self[f"{name}.weight"] + self[f"{name}.bias"]

    def linear(self, name: str, tokens: torch.Tensor) -> torch.Tensor:
        bias = self.weights.get(f"{self.prefix}{name}.bias")
        return tokens @ self[f"{name}.weight"].T + (0 if bias is None else bias)

    def vit_layer(self, tokens: torch.Tensor, names: dict[str, str], num_heads: int) -> torch.Tensor:
        """A pre-norm layer; `names` says what a checkpoint calls its parts."""
        query, key, value = self.linear(names["qkv"], self.norm(names["norm1"], tokens)).chunk(3, -1)
        tokens = tokens + self.linear(names["out"], self.attend(query, key, value, num_heads))
        hidden = functional.gelu(self.linear(names["mlp1"], self.norm(names["norm2"], tokens)))
        return tokens + self.linear(names["mlp2"], hidden)

    @staticmethod
    def attend(query, key, value, num_heads: int) -> torch.Tensor:
        size = query.shape[-1] // num_heads
        heads = []
        for part in (slice(head * size, (head + 1) * size) for head in range(num_heads)):
            scores = query[..., part] @ key[..., part].transpose(-1, -2) / math.sqrt(size)
            heads.append(scores.softmax(-1) @ value[..., part])
        return torch.cat(heads, dim=-1)

    def patches(self, volume: torch.Tensor, patch: tuple[int, int, int]):
        """Yield (d, h, w) and the patch `(C, pd, ph, pw)` of one volume `(C, D, H, W)`, slowly."""
        for d in range(volume.shape[1] // patch[0]):
            for h in range(volume.shape[2] // patch[1]):
                for w in range(volume.shape[3] // patch[2]):
                    box = (slice(i * p, (i + 1) * p) for i, p in zip((d, h, w), patch, strict=True))
                    yield (d, h, w), volume[(slice(None), *box)]


def m3d_reference(weights: dict[str, torch.Tensor], volume: torch.Tensor) -> torch.Tensor:
    net = Reference(weights, "model.vision_tower.vision_tower.")
    embedded = [
        net.linear("patch_embedding.patch_embeddings.1", p.flatten()) for _, p in net.patches(volume, (2, 4, 4))
    ]
    tokens = torch.stack(embedded) + net["patch_embedding.position_embeddings"][0]
    tokens = torch.cat([net["cls_token"][0], tokens])
    for layer in range(LAYERS):
        tokens = net.vit_layer(tokens, {part: f"blocks.{layer}.{name}" for part, name in M3D_PARTS.items()}, M3D_HEADS)
    return net.norm("norm", tokens)[1:]


def radfm_reference(weights: dict[str, torch.Tensor], volume: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens in (d, h, w) order, and the latents that the Perceiver makes of them."""
    net = Reference(weights, "embedding_layer.vision_encoder.")
    grid = tuple(side // patch for side, patch in zip(volume.shape[1:], (2, 4, 4), strict=True))
    tables = [net[f"pos_embedding.{axis}_embed.weight"] for axis in ("row", "col", "dep")]
    tokens = []
    for (d, h, w), patch in net.patches(volume.expand(3, -1, -1, -1), (2, 4, 4)):
        voxels = patch.permute(2, 3, 1, 0).flatten()  # row, column, slice, channel
        token = net.norm(
            "to_patch_embedding.3", net.linear("to_patch_embedding.2", net.norm("to_patch_embedding.1", voxels))
        )
        places = zip(tables, (h, w, d), (grid[1], grid[2], grid[0]), strict=True)
        tokens.append(token + torch.cat([table[(i + 1) * (len(table) // n) - 1] for table, i, n in places]))
    tokens = torch.stack(tokens)
    for layer in range(LAYERS):
        names = {part: f"transformer.layers.{layer}.{name}" for part, name in RADFM_PARTS.items()}
        tokens = net.vit_layer(tokens, names, RADFM_HEADS)
    net = Reference(weights, "embedding_layer.perceiver.")
    latents = net["latents"]
    for layer in range(LAYERS):
        block = f"layers.{layer}"
        media, queries = net.norm(f"{block}.0.norm_media", tokens), net.norm(f"{block}.0.norm_latents", latents)
        key, value = net.linear(f"{block}.0.to_kv", torch.cat([media, queries])).chunk(2, -1)
        mixed = net.attend(net.linear(f"{block}.0.to_q", queries), key, value, RADFM_HEADS)
        latents = latents + net.linear(f"{block}.0.to_out", mixed)
        hidden = functional.gelu(net.linear(f"{block}.1.1", net.norm(f"{block}.1.0", latents)))
        latents = latents + net.linear(f"{block}.1.3", hidden)
    return tokens, net.norm("norm", latents)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The towers at a size that a test can check, under a preset's name."""
    shared = {
        "image_size": (8, 8, 8),
        "patch_size": (2, 4, 4),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "intermediate_size": MLP,
    }
    radfm = {"num_row_positions": 4, "num_column_positions": 6, "num_slice_positions": 9}
    radfm |= {"num_attention_heads": RADFM_HEADS, "head_dim": RADFM_HEAD_DIM}
    sizes = {"m3d": shared | {"num_attention_heads": M3D_HEADS}, "radfm": shared | radfm}
    perceiver = {"num_latents": 5, "perceiver_depth": LAYERS}
    perceiver |= {"perceiver_num_heads": RADFM_HEADS, "perceiver_head_dim": RADFM_HEAD_DIM}
    from modeling_argus import presets_argus

    monkeypatch.setattr(module, "M3D_TOKEN_GRID", (4, 2, 2))
    for tower, settings in sizes.items():
        monkeypatch.setitem(presets_argus.VISION_PRESETS[tower], "tiny", settings)
    monkeypatch.setitem(presets_argus.COMPRESSOR_PRESETS, "tiny", perceiver)


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def saved(weights: dict[str, torch.Tensor], path):
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    return path


def load_tower(system: str, folder):
    return TOWERS[system].model_class.from_pretrained(folder).eval()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_converted_m3d_computes_what_its_architecture_says(tmp_path, volume, name):
    weights = m3d_checkpoint()
    llm = {
        "model.layers.0.mlp.up_proj.weight": torch.zeros(2, 2),
        "model.mm_projector.projector.0.bias": torch.zeros(2),
    }
    folder = convert_weights("m3d", saved(weights | llm, tmp_path / name), tmp_path / "tower", "argus-tiny")
    actual = load_tower("m3d", folder)(volume[None]).last_hidden_state[0]
    torch.testing.assert_close(actual, m3d_reference(weights, volume), atol=1e-5, rtol=1e-4)


def test_m3ds_positions_are_exact_on_their_grid_and_interpolated_to_others(tmp_path):
    weights = m3d_checkpoint(prefix="")
    checkpoint = saved(weights, tmp_path / "vit.bin")
    own = convert_weights("m3d", checkpoint, tmp_path / "own", "argus-tiny")
    positions = load_tower("m3d", own).embeddings.position_embedding.data
    assert torch.equal(positions, weights["patch_embedding.position_embeddings"][0])
    finer = convert_weights("m3d", checkpoint, tmp_path / "finer", "argus-tiny", image_size=(16, 16, 16))
    tower = load_tower("m3d", finer)
    assert tuple(tower.config.image_size) == (16, 16, 16)
    table = weights["patch_embedding.position_embeddings"][0].T.reshape(1, WIDTH, 4, 2, 2)
    expected = functional.interpolate(table, scale_factor=2, mode="trilinear")[0].flatten(1).T
    torch.testing.assert_close(tower.embeddings.position_embedding.data, expected)


@pytest.mark.parametrize("token_grid", [(16, 16, 16), (64, 32, 32)], ids=["nr", "hr"])
def test_a_ramp_of_m3ds_positions_stays_linear_at_both_resolutions(token_grid):
    published = (8, 16, 16)
    centres = [(torch.arange(count) + 0.5) / count for count in published]
    ramps = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1).flatten(0, 2)  # a channel for each axis
    found = interpolate_positions(ramps, published, token_grid).view(*token_grid, 3)
    for axis, (count, before) in enumerate(zip(token_grid, published, strict=True)):
        along = (torch.arange(count) + 0.5) / count
        # Beyond the centres of the outermost patches there is nothing to interpolate: their value stays.
        expected = along.clamp(0.5 / before, 1 - 0.5 / before)
        line = found[..., axis].movedim(axis, 0).flatten(1)
        torch.testing.assert_close(line, expected[:, None].expand_as(line), atol=1e-6, rtol=0)


def test_radfms_tables_are_the_same_for_every_grid(tmp_path):
    checkpoint = saved(radfm_checkpoint(), tmp_path / "radfm.bin")
    kept = [
        load_tower("radfm", convert_weights("radfm", checkpoint, tmp_path / str(size), "argus-tiny", size)).state_dict()
        for size in ((8, 8, 8), (16, 16, 16))
    ]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_a_grids_step_converts_the_weights_that_its_recipe_names(tmp_path):
    checkpoint = saved(m3d_checkpoint(), tmp_path / "pretrained_ViT.bin")
    recipe = {
        "data": {"subset": "phantom"},
        "preset": "argus-tiny",
        "llm": "given",
        "llms": {"given": {"path": "llm"}},
        "sft": {},
        "vision": {"convert": "m3d", "checkpoint": str(checkpoint)},
        "create": {"tower": "m3d"},
    }
    convert, create, *_ = last_step(recipe, 0).with_needs()
    assert (convert.kind, create.kind, create.needs) == ("convert", "create", (convert,))
    folder = run_step(convert, tmp_path / "steps")
    by_hand = convert_weights("m3d", checkpoint, tmp_path / "tower", "argus-tiny")
    first, second = (load_file(each / "model.safetensors") for each in (folder, by_hand))
    assert all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())
    other_grid = last_step(recipe | {"create": {"tower": "m3d", "image_size": [16, 16, 16]}}, 0).with_needs()[0]
    assert other_grid.settings["image_size"] == [16, 16, 16] and other_grid.name != convert.name
    for wrong, said in (
        ({"vision": {"convert": "ct2rep", "checkpoint": "x"}}, "convert is one of m3d, radfm"),
        ({"vision": {"convert": "radfm", "checkpoint": "x"}}, "weights of radfm do not fit the tower m3d"),
        ({"vision": {"convert": "m3d"}}, "with a checkpoint"),
    ):
        with pytest.raises(ValueError, match=said):
            ReportRecipe(**recipe | wrong)


def test_converted_radfm_computes_its_architecture_with_its_perceiver(tmp_path, volume, model_dir):
    weights = radfm_checkpoint()
    folder = convert_weights("radfm", saved(weights, tmp_path / "radfm.bin"), tmp_path / "tower", "argus-tiny")
    tokens, latents = radfm_reference(weights, volume)
    actual = load_tower("radfm", folder)(volume[None]).last_hidden_state[0]
    torch.testing.assert_close(actual, tokens, atol=1e-5, rtol=1e-4)
    made = create_model(
        "argus-tiny", tmp_path / "model", model_dir.parent / "llm", folder, dtype="float32", tower="radfm"
    )
    assert read_provenance(made).vision.source == "published weights of radfm"
    model = load_file(made / "model.safetensors")
    for name, value in load_file(folder / "compressor.safetensors").items():
        assert torch.equal(model[f"model.connector.compressor.{name}"], value)
    from transformers import AutoModel

    compressor = AutoModel.from_pretrained(made).model.connector.compressor
    torch.testing.assert_close(compressor(actual[None])[0], latents, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra.weight": torch.zeros(1)}, "1 unknown keys: extra.weight"),
        ({"model.vision_tower.vision_tower.blocks.0.attn.q_norm.weight": torch.zeros(1)}, "q_norm"),
        ({"model.vision_tower.vision_tower.norm.weight": None}, "1 weights missing: layer_norm.weight"),
        (
            {"model.vision_tower.vision_tower.norm.weight": torch.zeros(3)},
            "1 weights of another shape: layer_norm.weight",
        ),
    ],
)
def test_keys_that_do_not_match_are_an_error_naming_them(tmp_path, change, said):
    weights = {key: value for key, value in (m3d_checkpoint() | change).items() if value is not None}
    with pytest.raises(ValueError, match=said):
        convert_weights("m3d", saved(weights, tmp_path / "m.bin"), tmp_path / "tower", "argus-tiny")
    assert not (tmp_path / "tower").exists()


def test_what_cannot_be_converted_says_why(tmp_path):
    with pytest.raises(ValueError, match="authors link no weights"):
        convert_weights("ct2rep", tmp_path, tmp_path / "tower", "argus-tiny")
    with pytest.raises(ValueError, match="unknown system"):
        convert_weights("clip", tmp_path, tmp_path / "tower", "argus-tiny")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="no key begins with"):
        convert_weights("radfm", saved({"a": torch.zeros(1)}, tmp_path / "a.bin"), tmp_path / "tower", "argus-tiny")


class Payload:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"cls_token": Payload()}, tmp_path / "evil.bin")
    with pytest.raises(ValueError, match="cannot be read as weights alone"):
        read_checkpoint(tmp_path / "evil.bin")
    assert "must not run" not in capsys.readouterr().out
