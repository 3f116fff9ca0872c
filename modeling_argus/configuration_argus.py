"""Configuration of the 3D vision tower and of the whole Argus model."""

from math import prod

from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec
from transformers.models.auto.configuration_auto import AutoConfig


class ArgusVisionConfig(PreTrainedConfig):
    """Configuration of the 3D ViT over CT.

    The defaults are ViT-B at the paper's normal resolution (Argus paper, section 4).

    Args:
        image_size: voxels of the input grid as (depth, height, width).
        patch_size: voxels of one patch as (depth, height, width); divides `image_size`.
        hidden_size: width of a token.
        num_hidden_layers: number of transformer layers.
        num_attention_heads: number of heads; divides `hidden_size`.
        intermediate_size: width of a layer's MLP.
        hidden_act: activation of a layer's MLP.
        layer_norm_eps: epsilon of the layer norms.
        attention_dropout: dropout on attention weights.
        initializer_range: standard deviation of the weights at the start.
        num_channels: channels of the volume; CT has one.
        voxel_mean: subtracted from voxels in [0, 1] before the patch embedding; about a chest CT's mean.
        voxel_std: what they are divided by after that. The linear embedding could learn both, but slowly: centred
            voxels let a tower trained from scratch see faint findings many times sooner.

    Raises:
        ValueError: if the patches do not tile the grid or the heads do not divide the width.
    """

    model_type = "argus_vision"
    base_config_key = "vision_config"

    image_size: list[int] | tuple[int, ...] = (64, 256, 256)
    patch_size: list[int] | tuple[int, ...] = (8, 16, 16)
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    attention_dropout: float | int = 0.0
    initializer_range: float = 0.02
    num_channels: int = 1
    voxel_mean: float | int = 0.25
    voxel_std: float | int = 0.25

    def __post_init__(self, **kwargs):
        self.image_size = tuple(self.image_size)
        self.patch_size = tuple(self.patch_size)
        if len(self.image_size) != 3 or len(self.patch_size) != 3:
            raise ValueError(
                f"image_size and patch_size are (depth, height, width), got {self.image_size} and {self.patch_size}"
            )
        if any(side % patch for side, patch in zip(self.image_size, self.patch_size, strict=True)):
            raise ValueError(f"patches of {self.patch_size} voxels do not tile a grid of {self.image_size}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} heads do not divide a width of {self.hidden_size}")
        super().__post_init__(**kwargs)

    @property
    def token_grid(self) -> tuple[int, int, int]:
        """Tokens along depth, height and width."""
        depth, height, width = (side // patch for side, patch in zip(self.image_size, self.patch_size, strict=True))
        return depth, height, width

    @property
    def num_tokens(self) -> int:
        """Tokens the tower makes of one volume, before compression."""
        return prod(self.token_grid)


class ArgusConfig(PreTrainedConfig):
    """Configuration of Argus: a 3D vision tower, a connector and a language model.

    Args:
        vision_config: the tower's configuration.
        text_config: the configuration of any decoder that `AutoModel` knows; Llama by default.
        image_token_id: id of the placeholder token that visual tokens replace.
        compressor: name of the token compressor (see `connector_argus.COMPRESSORS`).
        compression_factor: tokens merged along each axis by pixel shuffle and average pooling; 2 gives 8 times fewer
            tokens (paper, section 4.2).
        num_latents: visual tokens that the Perceiver makes of any number; 32 in RadFM's published weights, 64 in its
            paper.
        perceiver_depth: layers of the Perceiver.
        perceiver_num_heads: attention heads of a Perceiver layer.
        perceiver_head_dim: width of such a head; heads and their width need not make up the tokens' width.
        num_projector_layers: 1 or 2 linear layers from visual width to the language model's (paper: 2).
        projector_hidden_act: activation between the projector's layers.
        tie_word_embeddings: whether the output layer shares the input embeddings; follows `text_config`.
    """

    model_type = "argus"
    sub_configs_defaults = {
        "vision_config": ArgusVisionConfig,
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

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
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
