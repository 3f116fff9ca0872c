"""The smallest language model and tower that tests need, and weights large enough for an input to matter."""

from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig

from modeling_argus import (
    COMPRESSORS,
    TOWERS,
    ArgusConfig,
    ArgusForConditionalGeneration,
    ArgusVisionConfig,
    ArgusVisionModel,
)
from modeling_argus.presets_argus import preset_vision_config

IMAGE, PAD = 3, 4  # ids of the placeholder of a visual token and of padding
PAIRS = [(tower, compressor) for tower in TOWERS for compressor in COMPRESSORS]


def tiny_text(**changes: Any) -> LlamaConfig:
    """Return the configuration of a Llama of one layer and 64 words."""
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    return LlamaConfig(**sizes | {"num_attention_heads": 2} | changes)


def tiny_vision(**changes: Any) -> ArgusVisionConfig:
    """Return the configuration of a tower of one layer and 32 tokens."""
    sizes = {"image_size": (8, 16, 16), "patch_size": (4, 4, 4), "hidden_size": 24, "num_hidden_layers": 1}
    return ArgusVisionConfig(**sizes | {"num_attention_heads": 4, "intermediate_size": 48} | changes)


def tiny_tower(**changes: Any) -> ArgusVisionModel:
    """Return a tower of random weights, the same each time."""
    torch.manual_seed(0)
    return ArgusVisionModel(tiny_vision(**changes))


@torch.no_grad()
def enlarge_matrices(model: nn.Module, factor: float) -> None:
    """Multiply all matrices: at the usual 0.02 a random model barely reacts to anything."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.mul_(factor)


def make_model(tower: str, compressor: str, tied: bool = False, **vision: Any) -> ArgusForConditionalGeneration:
    """Return a whole model of random weights, the same each time; `vision` are more settings of its tower."""
    torch.manual_seed(0)
    sizes = preset_vision_config("argus-tiny", tower).to_dict()
    sizes |= {"image_size": [4 * side for side in sizes["patch_size"]], "hidden_size": 24, "num_attention_heads": 3}
    sizes |= {"head_dim": 8, "codebook_size": 64} if tower == "ct2rep" else {"head_dim": 8, "num_hidden_layers": 2}
    sizes |= vision
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
