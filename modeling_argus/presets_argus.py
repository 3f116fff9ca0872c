"""List the presets, or sizes of Argus: three language models at two resolutions, and a tiny one at two for a laptop."""

from collections.abc import Sequence
from typing import Any

from transformers import LlamaConfig

from .configuration_argus import ArgusConfig
from .vision_towers_argus import TOWERS, VolumeVisionConfig

_TINY_VIT: dict[str, Any] = {
    "image_size": (32, 64, 64),
    "patch_size": (8, 16, 16),
    "hidden_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 576,
}

# As from nr to hr: four times the slices, twice the rows and columns, patches of twice the side, twice the tokens.
_TINY_HR: dict[str, Any] = {"image_size": (128, 128, 128), "patch_size": (16, 32, 32)}

# tower -> resolution -> settings of its configuration
VISION_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Paper, section 4: patches grow with the grid; hr also quadruples the slices.
    "argus": {
        "nr": {"image_size": (64, 256, 256), "patch_size": (8, 16, 16)},
        "hr": {"image_size": (256, 512, 512), "patch_size": (16, 32, 32)},
        "tiny": _TINY_VIT,
    },
    # The baselines keep their patches. Their grids are the paper's, or the closest that their patches tile; each
    # configuration's docstring says what the paper leaves open and what was chosen.
    "m3d": {
        "nr": {"image_size": (64, 256, 256)},
        "hr": {"image_size": (256, 512, 512)},
        "tiny": _TINY_VIT,
    },
    "radfm": {
        "nr": {"image_size": (64, 256, 256)},
        "hr": {"image_size": (256, 512, 512)},
        "tiny": {
            **_TINY_VIT,
            "num_attention_heads": 4,
            "head_dim": 32,
            "num_row_positions": 8,
            "num_column_positions": 8,
            "num_slice_positions": 8,
        },
    },
    # The published input is its high resolution. Its normal resolution has a quarter of the slices and half the rows
    # and columns, rounded to whole patches.
    "ct2rep": {
        "nr": {"image_size": (60, 240, 240)},
        "hr": {"image_size": (240, 480, 480)},
        "tiny": {
            "image_size": (32, 64, 64),
            "patch_size": (8, 16, 16),
            "hidden_size": 192,
            "num_spatial_layers": 2,
            "num_temporal_layers": 2,
            "num_attention_heads": 6,
            "codebook_size": 512,
        },
    },
}

for _settings in VISION_PRESETS.values():
    _settings["tiny-hr"] = _settings["tiny"] | _TINY_HR

# Settings of the compressors that depend on the size; the rest are `ArgusConfig`'s defaults.
COMPRESSOR_PRESETS: dict[str, dict[str, Any]] = {
    "nr": {},
    "hr": {},
    # As many latents as the tokens that pixel shuffle leaves of the tiny grid.
    "tiny": {"num_latents": 8, "perceiver_depth": 2, "perceiver_num_heads": 4, "perceiver_head_dim": 32},
}

COMPRESSOR_PRESETS["tiny-hr"] = COMPRESSOR_PRESETS["tiny"] | {"num_latents": 16}

# tower -> the compressor of its own system
TOWER_COMPRESSORS = {"argus": "pixel_shuffle", "m3d": "average_pooling", "radfm": "perceiver", "ct2rep": "none"}

# tower -> linear layers of the projector of its own system (docs/baselines.md). CT2Rep's has one before its decoder.
TOWER_PROJECTOR_LAYERS = {"argus": 2, "m3d": 2, "radfm": 1, "ct2rep": 1}

_LLAMA_3 = {
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
}


def _llama_3_rope(factor: float) -> dict:
    return {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


# Llama-3.2-3B-Instruct, Llama-3.1-8B-Instruct, Llama-3.1-70B-Instruct, and a Llama small enough to train on two cores.
TEXT_PRESETS: dict[str, dict[str, Any]] = {
    "3b": {
        **_LLAMA_3,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": True,
        "rope_parameters": _llama_3_rope(32.0),
    },
    "8b": {
        **_LLAMA_3,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_parameters": _llama_3_rope(8.0),
    },
    "70b": {
        **_LLAMA_3,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "rope_parameters": _llama_3_rope(8.0),
    },
    "tiny": {
        "vocab_size": 1024,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "image_token_id": 3,
    },
}

# preset name -> (language model, resolution)
PRESETS = {
    f"argus-{size}-{resolution}": (size, resolution) for size in ("3b", "8b", "70b") for resolution in ("nr", "hr")
}
PRESETS |= {"argus-tiny": ("tiny", "tiny"), "argus-tiny-hr": ("tiny", "tiny-hr")}


def preset_names(preset: str) -> tuple[str, str]:
    """Return the names of a preset's language model and resolution.

    Raises:
        ValueError: if there is no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    return PRESETS[preset]


def preset_vision_config(
    preset: str, tower: str = "argus", image_size: Sequence[int] | None = None
) -> VolumeVisionConfig:
    """Return the configuration of a tower at a preset's resolution, or for another grid of voxels.

    Raises:
        ValueError: if there is no such preset or tower, or its patches do not tile the grid.
    """
    resolution = preset_names(preset)[1]
    check_tower(tower)
    grid = {} if image_size is None else {"image_size": tuple(image_size)}
    return TOWERS[tower].config_class(**VISION_PRESETS[tower][resolution] | grid)


def check_tower(tower: str) -> None:
    """Check that a tower is known.

    Raises:
        ValueError: naming the known ones.
    """
    if tower not in TOWERS:
        raise ValueError(f"unknown tower {tower!r}; known: {', '.join(TOWERS)}")


def connector_settings(preset: str, tower: str = "argus", compressor: str | None = None) -> dict:
    """Return the connector's fields of `ArgusConfig` for a tower at a preset's size.

    Default compressor: the tower's own. The projector is as deep as in the tower's own system.

    Raises:
        ValueError: if there is no such preset or tower.
    """
    check_tower(tower)
    own = COMPRESSOR_PRESETS[preset_names(preset)[1]]
    return own | {
        "compressor": compressor or TOWER_COMPRESSORS[tower],
        "num_projector_layers": TOWER_PROJECTOR_LAYERS[tower],
    }


def preset_config(preset: str, tower: str = "argus") -> ArgusConfig:
    """Return the configuration of a whole preset, such as "argus-8b-hr", with any tower and its own compressor."""
    text = dict(TEXT_PRESETS[preset_names(preset)[0]])
    # <|reserved_special_token_0|> in Llama 3's vocabulary: no embedding is resized.
    image_token_id = text.pop("image_token_id", 128002)
    return ArgusConfig(
        vision_config=preset_vision_config(preset, tower),
        text_config=LlamaConfig(**text),
        image_token_id=image_token_id,
        **connector_settings(preset, tower),
    )
