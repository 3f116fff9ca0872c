"""A whole model small enough for a test, of any tower and compressor."""

from collections.abc import Callable

import pytest
import torch
from tiny_models import IMAGE, PAD, PAIRS, enlarge_matrices, tiny_text

from modeling_argus import TOWERS, ArgusConfig, ArgusForConditionalGeneration
from modeling_argus.presets_argus import TOWER_COMPRESSORS, preset_vision_config


def make_model(tower: str, compressor: str, tied: bool = False) -> ArgusForConditionalGeneration:
    torch.manual_seed(0)
    sizes = preset_vision_config("argus-tiny", tower).to_dict()
    sizes |= {"image_size": [4 * side for side in sizes["patch_size"]], "hidden_size": 24, "num_attention_heads": 3}
    sizes |= {"head_dim": 8, "codebook_size": 64} if tower == "ct2rep" else {"head_dim": 8, "num_hidden_layers": 2}
    text = tiny_text(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=[2, 7],
        pad_token_id=PAD,
        tie_word_embeddings=tied,
    )
    config = ArgusConfig(
        vision_config=TOWERS[tower].config_class(**sizes),
        text_config=text,
        image_token_id=IMAGE,
        compressor=compressor,
        num_latents=8,
        perceiver_depth=1,
        perceiver_num_heads=2,
        perceiver_head_dim=8,
    )
    model = ArgusForConditionalGeneration(config).eval()
    enlarge_matrices(model, 4)
    return model


@pytest.fixture(scope="session")
def make() -> Callable[..., ArgusForConditionalGeneration]:
    """`make(tower, compressor)` gives a model of random weights, the same each time."""
    return make_model


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request) -> ArgusForConditionalGeneration:
    """A model of every tower with every compressor."""
    return make_model(*request.param)


@pytest.fixture(params=TOWER_COMPRESSORS.items(), ids="-".join)
def own(request) -> ArgusForConditionalGeneration:
    """A model of every tower with its own compressor."""
    return make_model(*request.param)


@pytest.fixture
def model() -> ArgusForConditionalGeneration:
    """Argus's own model."""
    return make_model("argus", "pixel_shuffle")
