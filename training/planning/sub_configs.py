"""Return the configurations of a model's two large parts, as what they are once the model's own is made."""

from typing import cast

from transformers import PreTrainedConfig

from modeling_argus.configuration_argus import ArgusConfig


def vision_of(config: ArgusConfig) -> PreTrainedConfig:
    """Return the vision tower's configuration."""
    return cast(PreTrainedConfig, config.vision_config)


def text_of(config: ArgusConfig) -> PreTrainedConfig:
    """Return the language model's configuration."""
    return cast(PreTrainedConfig, config.text_config)
