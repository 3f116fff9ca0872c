"""Argus models. Importing this package registers them with the Auto classes of transformers."""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from .configuration_argus import ArgusConfig, ArgusVisionConfig
from .connector_argus import COMPRESSORS, pixel_shuffle_3d, pixel_unshuffle_3d
from .modeling_argus import ArgusForConditionalGeneration, ArgusModel, ArgusPreTrainedModel
from .presets_argus import PRESETS, preset_config, preset_vision_config
from .vision_argus import ArgusVisionModel

AutoConfig.register("argus_vision", ArgusVisionConfig, exist_ok=True)
AutoConfig.register("argus", ArgusConfig, exist_ok=True)
AutoModel.register(ArgusVisionConfig, ArgusVisionModel, exist_ok=True)
# AutoModel gives the class that can generate: people who load a report writer by AutoModel want reports.
AutoModel.register(ArgusConfig, ArgusForConditionalGeneration, exist_ok=True)
AutoModelForImageTextToText.register(ArgusConfig, ArgusForConditionalGeneration, exist_ok=True)

__all__ = [
    "COMPRESSORS",
    "PRESETS",
    "ArgusConfig",
    "ArgusForConditionalGeneration",
    "ArgusModel",
    "ArgusPreTrainedModel",
    "ArgusVisionConfig",
    "ArgusVisionModel",
    "pixel_shuffle_3d",
    "pixel_unshuffle_3d",
    "preset_config",
    "preset_vision_config",
]
