"""Return the configurations of a model's vision tower and language model, with their types for the type checker.

`ArgusConfig` states both as mappings too, because it accepts mappings and converts them.
"""

from typing import cast

from transformers import PreTrainedConfig

from modeling_argus.configuration_argus import ArgusConfig


def vision_of(config: ArgusConfig) -> PreTrainedConfig:
    """Return the vision tower's configuration."""
    return cast(PreTrainedConfig, config.vision_config)


def text_of(config: ArgusConfig) -> PreTrainedConfig:
    """Return the language model's configuration."""
    return cast(PreTrainedConfig, config.text_config)
