"""Build Argus models. Importing this package registers them with the Auto classes of transformers."""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM

from .configuration_argus import ArgusConfig
from .configuration_vision_argus import ArgusVisionConfig
from .connector_argus import COMPRESSORS, pixel_shuffle_3d, pixel_unshuffle_3d
from .modeling_argus import ArgusForConditionalGeneration, ArgusModel, ArgusPreTrainedModel
from .presets_argus import PRESETS, preset_config, preset_vision_config
from .vision_argus import ArgusVisionModel
from .vision_towers_argus import TOWERS

for _tower in TOWERS.values():
    AutoConfig.register(_tower.config_class.model_type, _tower.config_class, exist_ok=True)
    AutoModel.register(_tower.config_class, _tower.model_class, exist_ok=True)
AutoConfig.register("argus", ArgusConfig, exist_ok=True)
# AutoModel gives the class that can generate: people who load a report writer by AutoModel want reports.
AutoModel.register(ArgusConfig, ArgusForConditionalGeneration, exist_ok=True)
AutoModelForImageTextToText.register(ArgusConfig, ArgusForConditionalGeneration, exist_ok=True)
AutoModelForMultimodalLM.register(ArgusConfig, ArgusForConditionalGeneration, exist_ok=True)

__all__ = [
    "COMPRESSORS",
    "PRESETS",
    "TOWERS",
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
