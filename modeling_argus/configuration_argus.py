"""Define `ArgusConfig`, the configuration of the whole Argus model."""

from typing import Any, cast

from transformers import configuration_utils
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.llama.configuration_llama import LlamaConfig

from .vision_towers_argus import ArgusVisionConfig, VolumeVisionConfig, tower_of


def _specs(**configs: type[PreTrainedConfig]) -> dict[str, Any]:
    """Return configurations in the form of transformers 5.20; later versions take plain classes too, earlier none."""
    spec = getattr(configuration_utils, "SubConfigSpec", None)
    return {} if spec is None else {name: spec(config) for name, config in configs.items()}


class ArgusConfig(PreTrainedConfig):
    """Configuration of Argus: a 3D vision tower, a connector and a language model.

    Attributes:
        vision_config: the tower's configuration; its `model_type` names a tower of `vision_towers_argus`.
            Default: Argus's own tower.
        text_config: the configuration of any decoder that `AutoModel` knows. Default: Llama.
        image_token_id: id of the placeholder token that visual tokens replace.
        compressor: name of the token compressor (see `connector_argus.COMPRESSORS`).
        compression_factor: tokens merged along each axis by pixel shuffle and average pooling; 2 gives 8 times fewer
            tokens (paper, section 4.2).
        num_latents: visual tokens that the Perceiver makes from any number of tokens; 32 in RadFM's published
            weights, 64 in its paper.
        perceiver_depth: layers of the Perceiver.
        perceiver_num_heads: attention heads of a Perceiver layer.
        perceiver_head_dim: width of such a head; heads and their width need not make up the tokens' width.
        num_projector_layers: 1 or 2 linear layers from visual width to the language model's (paper: 2).
        projector_hidden_act: activation between the projector's layers.
        tie_word_embeddings: whether the output layer shares the input embeddings; follows `text_config`.
    """

    model_type = "argus"
    sub_configs = {"vision_config": ArgusVisionConfig, "text_config": AutoConfig}
    # Values that `config.json` leaves out; transformers before 5.20 does not read this and writes them too.
    sub_configs_defaults = _specs(vision_config=ArgusVisionConfig, text_config=LlamaConfig)

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    image_token_id: int = 128002
    compressor: str = "pixel_shuffle"
    compression_factor: int = 2
    num_latents: int = 32
    perceiver_depth: int = 6
    perceiver_num_heads: int = 8
    perceiver_head_dim: int = 64
    num_projector_layers: int = 2
    projector_hidden_act: str = "gelu"
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        if not isinstance(self.vision_config, PreTrainedConfig):
            vision = {"model_type": ArgusVisionConfig.model_type} | (self.vision_config or {})
            self.vision_config = tower_of(vision["model_type"]).config_class(**vision)
        if not isinstance(self.text_config, PreTrainedConfig):
            self.text_config = AutoConfig.for_model(**{"model_type": LlamaConfig.model_type} | (self.text_config or {}))
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings

    def get_vision_config(self) -> VolumeVisionConfig:
        """Return the tower's configuration; `get_text_config` returns the language model's."""
        return cast(VolumeVisionConfig, self.vision_config)
