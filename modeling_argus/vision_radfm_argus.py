"""Encode a CT with the vision tower of RadFM (Wu et al. 2023), as a baseline."""

import torch
from torch import nn
from transformers import initialization
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs

from .configuration_vision_argus import ArgusVisionConfig
from .vision_argus import ArgusVisionLayer, VisionTower, patchify


class RadFMVisionConfig(ArgusVisionConfig):
    """Configuration of RadFM's 3D ViT: patches of 4 x 32 x 32 voxels, 12 layers of 8 heads of 64.

    Its positions are three learned tables whose entries are spread over the grid, so that any grid within the tables
    (512 x 512 x 512 voxels) uses trained entries: nothing is interpolated at either resolution.
    RadFM's code makes 32 latents from the tokens and the Argus paper says 64: 32 is used here, as in the published
    weights, which no other number fits.
    The dropout of 0.1 in its code is left out: all systems train alike.

    Args:
        num_row_positions: entries of the table along height.
        num_column_positions: entries of the table along width.
        num_slice_positions: entries of the table along depth.

    Raises:
        ValueError: if a table is shorter than the token grid, or three do not divide the width.
    """

    model_type = "radfm_vision"

    patch_size: list[int] | tuple[int, ...] = (4, 32, 32)
    num_attention_heads: int = 8
    head_dim: int | None = 64
    intermediate_size: int = 2048
    layer_norm_eps: float = 1e-5
    qkv_bias: bool = False
    num_channels: int = 3
    num_row_positions: int = 16
    num_column_positions: int = 16
    num_slice_positions: int = 128

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        tables = (self.num_slice_positions, self.num_row_positions, self.num_column_positions)
        if any(side > table for side, table in zip(self.token_grid, tables, strict=True)):
            raise ValueError(f"a token grid of {self.token_grid} is larger than the position tables {tables}")
        if self.hidden_size % 3:
            raise ValueError(f"three position tables do not divide a width of {self.hidden_size}")


class RadFMPatchEmbedding(nn.Module):
    """Patch embedding of the grey volume, repeated in every channel: norm, linear layer, norm."""

    def __init__(self, config: RadFMVisionConfig):
        super().__init__()
        self.num_channels = config.num_channels
        self.patch_size = config.patch_size
        depth, height, width = config.patch_size
        num_voxels = config.num_channels * depth * height * width
        self.voxel_norm = nn.LayerNorm(num_voxels, eps=config.layer_norm_eps)
        self.projection = nn.Linear(num_voxels, config.hidden_size)
        self.token_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embed `(B, 1, D, H, W)` in [0, 1] as `(B, d, h, w, hidden_size)`."""
        # Not the projection's dtype: in 8 or 4 bits its weights are integers, and voxels in [0, 1] would become 0.
        patches = patchify(pixel_values.to(self.voxel_norm.weight.dtype), self.patch_size)
        patches = patches.repeat(1, 1, 1, 1, self.num_channels // pixel_values.shape[1])
        # Flattened for the layer: 8-bit layers (bitsandbytes) take at most three axes.
        tokens = self.token_norm(self.projection(self.voxel_norm(patches.flatten(1, 3))))
        return tokens.unflatten(1, patches.shape[1:4])


class RadFMPositionTable(nn.Module):
    """Learned positions of one axis, `weight` `(num_positions, width)`; `RadFMPositions` spreads them over a grid."""

    def __init__(self, num_positions: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(num_positions, width))

    def init_weights(self) -> None:
        """Draw the positions from a uniform distribution on 0 to 1, as RadFM's code does."""
        initialization.uniform_(self.weight)


class RadFMPositions(nn.Module):
    """Positions of a token grid: row, column and slice take a third of the width each, from three learned tables."""

    def __init__(self, config: RadFMVisionConfig):
        super().__init__()
        width = config.hidden_size // 3
        self.rows = RadFMPositionTable(config.num_row_positions, width)
        self.columns = RadFMPositionTable(config.num_column_positions, width)
        self.slices = RadFMPositionTable(config.num_slice_positions, width)

    @staticmethod
    def spread(table: torch.Tensor, count: int) -> torch.Tensor:
        """Take `count` entries spread evenly over a table: the last entry of each of `count` equal parts.

        Raises:
            ValueError: if the table has fewer entries than `count`.
        """
        if count > len(table):
            raise ValueError(f"{count} tokens along an axis are more than the {len(table)} positions of its table")
        stretch = len(table) // count
        return table[stretch - 1 : stretch * count : stretch]

    def forward(self, token_grid: tuple[int, int, int]) -> torch.Tensor:
        """Return the positions `(d, h, w, hidden_size)` of a token grid."""
        depth, height, width = token_grid
        rows = self.spread(self.rows.weight, height).view(1, height, 1, -1)
        columns = self.spread(self.columns.weight, width).view(1, 1, width, -1)
        slices = self.spread(self.slices.weight, depth).view(depth, 1, 1, -1)
        return torch.cat([part.expand(depth, height, width, -1) for part in (rows, columns, slices)], dim=-1)


class RadFMVisionModel(VisionTower):
    """RadFM's 3D ViT: `pixel_values` `(B, 1, D, H, W)` in [0, 1] to tokens `(B, N, hidden_size)`; no final norm."""

    config: RadFMVisionConfig
    config_class = RadFMVisionConfig

    def __init__(self, config: RadFMVisionConfig):
        super().__init__(config)
        self.patch_embedding = RadFMPatchEmbedding(config)
        self.positions = RadFMPositions(config)
        self.layers = nn.ModuleList([ArgusVisionLayer(config) for _ in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, RadFMPositionTable):
            module.init_weights()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """Encode volumes `(B, 1, D, H, W)` in [0, 1]; `pooler_output` is the mean over tokens.

        Raises:
            ValueError: if the volume is not 5D, patches do not tile it, or it is larger than the position tables.
        """
        tokens = self.patch_embedding(pixel_values)
        hidden_states = (tokens + self.positions(tuple(tokens.shape[1:4]))).flatten(1, 3)
        for layer in self.layers:
            hidden_states = layer(hidden_states, self.wants_attentions(kwargs))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=hidden_states.mean(dim=1))


RadFMVisionModel.register_for_auto_class("AutoModel")
RadFMVisionConfig.register_for_auto_class("AutoConfig")
