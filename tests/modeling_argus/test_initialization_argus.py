"""Initial values of weights that a folder lacks: every parameter and buffer of every tower and compressor."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import IMAGE, PAIRS, tiny_text

from modeling_argus import TOWERS, ArgusConfig, ArgusForConditionalGeneration
from modeling_argus.presets_argus import preset_vision_config
from modeling_argus.vision_argus import sincos_positions_3d

STORED = 7.0  # what a folder holds of every weight, far from anything that is drawn


def ones(value: torch.Tensor) -> bool:
    return bool((value == 1).all())


def zeros(value: torch.Tensor) -> bool:
    return bool((value == 0).all())


def normal(std: float):
    """Mean, deviation and tails of a normal distribution, as far as so many values tell."""

    def check(value: torch.Tensor) -> bool:
        close = 5 / value.numel() ** 0.5
        inside = (value.abs() < std).float().mean()
        return (
            value.mean().abs() < std * close
            and (value.std() / std - 1).abs() < close
            and (inside - 0.683).abs() < close
        )

    return check


def uniform(value: torch.Tensor) -> bool:
    quarters = torch.histc(value.flatten(), 4, 0.0, 1.0) / value.numel()
    return bool(value.min() >= 0 and value.max() <= 1 and (quarters - 0.25).abs().max() < 4 / value.numel() ** 0.5)


def unit_vectors(value: torch.Tensor) -> bool:
    return bool((value.norm(dim=-1) - 1).abs().max() < 1e-5 and normal(value.shape[-1] ** -0.5)(value))


def sines(value: torch.Tensor) -> bool:
    return torch.equal(value, 0.1 * sincos_positions_3d((4, 4, 4), value.shape[-1]))


# Part of a name -> what it starts as; the first that fits counts.
INTENDED = (
    (r"vision_tower\.cls_token", zeros),
    (r"vision_tower\.positions\.", uniform),
    (r"vision_tower\.codebook\.vectors", unit_vectors),
    (r"[qk]_scale$", ones),
    (r"compressor\.latents", normal(1.0)),
    (r"(norm\w*|patch_embedding\.[02]|mlp\.0|voxel_norm|token_norm|layernorm)\.weight$", ones),
    (r"bias$", zeros),
    (
        r"(proj|projection|fc[12]|widen|narrow|mlp\.\d|projector\.\d|patch_embedding(\.1)?|depthwise)\.weight$",
        normal(0.02),
    ),
    (r"(embed_tokens|lm_head)\.weight$", normal(0.02)),
)


def is_as_intended(tower: str, name: str, value: torch.Tensor) -> bool:
    if name.endswith("embeddings.position_embedding"):
        return sines(value) if tower == "argus" else bool(normal(0.02)(value))
    if "position_bias.mlp.0.weight" in name:  # a linear layer here, not a norm
        return bool(normal(0.02)(value))
    for pattern, check in INTENDED:
        if re.search(pattern, name):
            return bool(check(value))
    raise AssertionError(f"nothing says what {name} starts as")


def saved(folder, tower: str, compressor: str) -> dict[str, torch.Tensor]:
    """Save a model whose weights are all the same number; return them by name."""
    vision = preset_vision_config("argus-tiny", tower)
    vision = TOWERS[tower].config_class(**vision.to_dict() | {"image_size": [4 * side for side in vision.patch_size]})
    sizes = {"num_latents": 8, "perceiver_depth": 1, "perceiver_num_heads": 2, "perceiver_head_dim": 16}
    config = ArgusConfig(
        vision_config=vision, text_config=tiny_text(), image_token_id=IMAGE, compressor=compressor, **sizes
    )
    ArgusForConditionalGeneration(config).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    return {name: torch.full_like(value, STORED) for name, value in weights.items()}


@pytest.fixture
def uninitialized_is_nan():
    """Memory that nothing is written to holds NaN, instead of whatever lay there, which is often zeros."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("uninitialized_is_nan")
@pytest.mark.parametrize(("tower", "compressor"), PAIRS)
def test_missing_weights_start_as_intended_and_stored_ones_stay(tower, compressor, tmp_path):
    weights = saved(tmp_path, tower, compressor)
    # Every second weight is missing, then the others, then all but one: a module may have some of its weights or none.
    names = sorted(weights)
    for kept in (names[::2], names[1::2], [name for name in names if "embed_tokens" in name]):
        save_file({name: weights[name] for name in kept}, tmp_path / "model.safetensors", {"format": "pt"})
        loaded, info = ArgusForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert sorted(info["missing_keys"]) == sorted(set(names) - set(kept))
        for name, value in loaded.state_dict().items():
            assert (value == STORED).all() if name in kept else is_as_intended(tower, name, value), name


@pytest.mark.usefixtures("uninitialized_is_nan")
@pytest.mark.parametrize(("tower", "compressor"), PAIRS)
def test_a_new_model_starts_as_intended(tower, compressor, tmp_path):
    saved(tmp_path, tower, compressor)
    config = ArgusConfig.from_pretrained(tmp_path)
    for name, value in ArgusForConditionalGeneration(config).state_dict().items():
        assert is_as_intended(tower, name, value), name


@pytest.mark.usefixtures("uninitialized_is_nan")
def test_a_compressor_new_to_the_folder_is_initialised(tmp_path):
    saved(tmp_path, "m3d", "average_pooling")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"compressor": "perceiver"}))
    latents = ArgusForConditionalGeneration.from_pretrained(tmp_path).model.connector.compressor.latents
    assert normal(1.0)(latents)
