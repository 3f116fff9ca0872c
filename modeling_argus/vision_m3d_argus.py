"""Encode a CT with the vision tower of M3D-LaMed (Bai et al. 2024), as a baseline."""

import torch
from torch import nn
from transformers import initialization
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs

from .configuration_vision_argus import ArgusVisionConfig
from .vision_argus import ArgusVisionEmbeddings, ArgusVisionLayer, VisionTower


class M3DVisionConfig(ArgusVisionConfig):
    """Configuration of M3D's ViT-B: patches of 4 x 16 x 16 voxels, no bias on queries, keys and values.

    The defaults are the published tower: 32 x 256 x 256 voxels in [0, 1], 2,048 tokens, 256 after its average pooling.
    The Argus paper compares at 64 x 256 x 256: 4,096 tokens, 512 after pooling, with interpolated positions.
    At high resolution (256 x 512 x 512) the Argus paper does not say how the 65,536 tokens are handled. Here patches
    and pooling stay as published, so that the published weights fit, and positions are interpolated: the language
    model gets 8,192 tokens, and attention in the tower costs by far the most of all systems.
    """

    model_type = "m3d_vision"

    image_size: list[int] | tuple[int, ...] = (32, 256, 256)
    patch_size: list[int] | tuple[int, ...] = (4, 16, 16)
    layer_norm_eps: float = 1e-5
    qkv_bias: bool = False
    voxel_mean: float | int = 0.0
    voxel_std: float | int = 1.0


class M3DVisionModel(VisionTower):
    """M3D's 3D ViT: `pixel_values` `(B, 1, D, H, W)` in [0, 1] to tokens `(B, N, hidden_size)`.

    Positions are learned, and interpolated to grids other than the trained one. A class token without a position
    takes part in attention and is removed at the end.
    """

    config: M3DVisionConfig
    config_class = M3DVisionConfig

    def __init__(self, config: M3DVisionConfig):
        super().__init__(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.embeddings = ArgusVisionEmbeddings(config)
        self.layers = nn.ModuleList([ArgusVisionLayer(config) for _ in range(config.num_hidden_layers)])
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, ArgusVisionEmbeddings):
            initialization.trunc_normal_(module.position_embedding, std=self.config.initializer_range)
        if module is self:
            initialization.zeros_(module.cls_token)

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """Encode volumes `(B, 1, D, H, W)` in [0, 1]; `pooler_output` is the class token.

        Raises:
            ValueError: if the volume is not 5D or patches do not tile it.
        """
        tokens = self.embeddings(pixel_values)
        hidden_states = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        for layer in self.layers:
            hidden_states = layer(hidden_states, self.wants_attentions(kwargs))
        hidden_states = self.layer_norm(hidden_states)
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states[:, 1:], pooler_output=hidden_states[:, 0])


M3DVisionModel.register_for_auto_class("AutoModel")
M3DVisionConfig.register_for_auto_class("AutoConfig")
