"""Turn a CT volume into tokens with a 3D vision transformer (Argus paper, section 4.1)."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers import initialization
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils.output_capturing import capture_outputs

from .configuration_vision_argus import ArgusVisionConfig


def sincos_positions_3d(token_grid: tuple[int, int, int], width: int) -> torch.Tensor:
    """Compute sine-cosine positions of a 3D grid, a third of the width for each axis.

    Source: the fixed positions of 3D-MAE (Zhou et al. 2023). If 6 does not divide the width, it is filled with zeros.

    Args:
        token_grid: tokens along depth, height and width.
        width: size of a token.

    Returns:
        `(depth * height * width of the grid, width)` float32, rows in the order of the tokens.
    """
    num_frequencies = width // 6
    frequencies = 1.0 / 10000 ** (torch.arange(num_frequencies, dtype=torch.float32) / max(num_frequencies, 1))
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in token_grid), indexing="ij")
    parts = []
    for axis in axes:
        angles = axis.reshape(-1, 1) * frequencies
        parts += [angles.sin(), angles.cos()]
    positions = torch.cat(parts, dim=1)
    return functional.pad(positions, (0, width - positions.shape[1]))


def patchify(volumes: torch.Tensor, patch_size: Sequence[int]) -> torch.Tensor:
    """Cut `(B, C, D, H, W)` into `(B, d, h, w, C * patch voxels)`, voxels of a patch in order (channel, d, h, w).

    Raises:
        ValueError: if the volume is not 5D or the patches do not tile it.
    """
    if volumes.ndim != 5:
        raise ValueError(f"pixel_values are (batch, channel, depth, height, width), got {tuple(volumes.shape)}")
    batch, channels, *sides = volumes.shape
    if any(side % patch for side, patch in zip(sides, patch_size, strict=True)):
        raise ValueError(f"patches of {patch_size} voxels do not tile a volume of {tuple(sides)}")
    depth, height, width = (side // patch for side, patch in zip(sides, patch_size, strict=True))
    p_depth, p_height, p_width = patch_size
    blocks = volumes.reshape(batch, channels, depth, p_depth, height, p_height, width, p_width)
    # Token order (d, h, w) outside, voxel order (channel, d, h, w) inside a patch.
    return blocks.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, depth, height, width, -1)


def interpolate_positions(
    table: torch.Tensor, table_grid: tuple[int, int, int], token_grid: tuple[int, int, int]
) -> torch.Tensor:
    """Interpolate positions `(N, C)` that were learned on one token grid to another grid, trilinearly."""
    if token_grid == table_grid:
        return table
    volume = table.float().T.reshape(1, -1, *table_grid)
    volume = functional.interpolate(volume, size=token_grid, mode="trilinear", align_corners=False)
    return volume.flatten(2)[0].T.to(table.dtype)


def take_tokens(tokens: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Select tokens of each sample: `(B, N, C)` by `(B, K)` indices to `(B, K, C)`, in the order of the indices."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))


class ArgusVisionEmbeddings(nn.Module):
    """Embedding of patches as tokens with learned positions, which are interpolated to other grids than the trained."""

    def __init__(self, config: ArgusVisionConfig):
        super().__init__()
        self.patch_size = config.patch_size
        self.token_grid = config.token_grid
        self.voxel_mean = config.voxel_mean
        self.voxel_std = config.voxel_std
        num_voxels = config.num_channels * config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
        # A reshape and one Linear compute the same as a strided Conv3d, and faster (10x and more in bfloat16 on a CPU).
        self.patch_embedding = nn.Linear(num_voxels, config.hidden_size)
        self.position_embedding = nn.Parameter(torch.zeros(config.num_tokens, config.hidden_size))

    def patchify(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int, int]]:
        """Cut `(B, C, D, H, W)` into `(B, N, C * patch voxels)`; also return the token grid.

        Raises:
            ValueError: if the volume is not 5D or the patches do not tile it.
        """
        patches = patchify(pixel_values, self.patch_size)
        depth, height, width = patches.shape[1:4]
        return patches.flatten(1, 3), (depth, height, width)

    def positions_for(self, token_grid: tuple[int, int, int]) -> torch.Tensor:
        """Return positions `(N, C)` for a token grid: the learned ones, interpolated trilinearly where grids differ."""
        return interpolate_positions(self.position_embedding, self.token_grid, token_grid)

    def forward(self, pixel_values: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        """Embed `(B, C, D, H, W)` in [0, 1] as `(B, N, hidden_size)`, or only the patches in `kept` `(B, K)`."""
        # Not the linear layer's dtype: in 8 or 4 bits its weights are integers, and voxels in [0, 1] would become 0.
        patches, token_grid = self.patchify(pixel_values.to(self.position_embedding.dtype))
        positions = self.positions_for(token_grid)
        if kept is not None:
            # Not positions[kept]: its backward pass adds in an order that depends on threads and is not reproducible.
            patches, positions = take_tokens(patches, kept), functional.embedding(kept, positions)
        centred = (patches - self.voxel_mean) / self.voxel_std
        return self.patch_embedding(centred) + positions


def attend_eagerly(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention without a fused kernel, so that the attention weights can be returned.

    Args:
        module: the attention module; dropout is applied only in its training mode.
        query, key, value: `(B, heads, N, head_dim)`.
        attention_mask: added to the scores, broadcast to `(B, heads, N, N)`.
        scaling: factor that multiplies the scores.
        dropout: probability of dropout on the weights.
        **kwargs: ignored; other implementations take them.

    Returns:
        `(B, N, heads, head_dim)` and the weights `(B, heads, N, N)`.
    """
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    mixed = functional.dropout(weights, p=dropout, training=module.training) @ value
    return mixed.transpose(1, 2), weights


class ArgusVisionAttention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, config: ArgusVisionConfig):
        super().__init__()
        self.config = config
        self.head_dim: int = config.head_dim  # type: ignore[assignment] # the configuration has set it
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = False
        width = config.num_attention_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, width, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, width, bias=config.qkv_bias)
        self.out_proj = nn.Linear(width, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend over `(B, N, hidden_size)`; also return the weights `(B, heads, N, N)` if they are asked for."""
        batch, count, _ = hidden_states.shape
        query, key, value = (
            projection(hidden_states).view(batch, count, -1, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        # No fused implementation returns its weights.
        implementation = "eager" if output_attentions else self.config._attn_implementation
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, attend_eagerly)
        dropout = self.attention_dropout if self.training else 0.0
        mixed, weights = attend(self, query, key, value, None, dropout=dropout, scaling=self.scaling, is_causal=False)
        return self.out_proj(mixed.reshape(batch, count, -1)), weights


class ArgusVisionMLP(nn.Module):
    """The two linear layers of a transformer layer."""

    def __init__(self, config: ArgusVisionConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map `(B, N, hidden_size)` to the same shape."""
        return self.fc2(self.activation(self.fc1(hidden_states)))


class ArgusVisionLayer(GradientCheckpointingLayer):
    """A pre-norm transformer layer."""

    def __init__(self, config: ArgusVisionConfig):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = ArgusVisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = ArgusVisionMLP(config)

    def forward(self, hidden_states: torch.Tensor, output_attentions: bool = False) -> torch.Tensor:
        """Map `(B, N, hidden_size)` to the same shape."""
        attended, _ = self.self_attn(self.layer_norm1(hidden_states), output_attentions)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class VisionTower(PreTrainedModel):
    """Base class of all vision towers, Argus's own and the baselines', with the settings that transformers needs.

    On request every tower returns `hidden_states`, the input of its first layer and the output of each layer before
    the final norm, and `attentions`, the weights of each layer, which are then computed without a fused kernel.
    """

    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"
    input_modalities = ("image",)  # type: ignore[assignment] # a tuple in transformers' own models too
    supports_gradient_checkpointing = True
    _no_split_modules = ["ArgusVisionLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": ArgusVisionLayer, "attentions": ArgusVisionAttention}

    def wants_attentions(self, options: dict) -> bool:
        """Return whether a call's options, or else the configuration, ask for attention weights."""
        return bool(options.get("output_attentions", self.config.output_attentions))


class ArgusVisionModel(VisionTower):
    """The 3D ViT: `pixel_values` `(B, 1, D, H, W)` in [0, 1] to tokens `(B, N, hidden_size)`."""

    config: ArgusVisionConfig
    config_class = ArgusVisionConfig

    def __init__(self, config: ArgusVisionConfig):
        super().__init__(config)
        self.embeddings = ArgusVisionEmbeddings(config)
        self.layers = nn.ModuleList([ArgusVisionLayer(config) for _ in range(config.num_hidden_layers)])
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, ArgusVisionEmbeddings):
            table = sincos_positions_3d(self.config.token_grid, self.config.hidden_size)
            # Sines reach 1 while embedded patches start near 0.02 per voxel: both are scaled to similar size.
            initialization.copy_(module.position_embedding, 0.1 * table)

    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, pixel_values: torch.Tensor, kept: torch.Tensor | None = None, **kwargs
    ) -> BaseModelOutputWithPooling:
        """Encode volumes.

        Args:
            pixel_values: `(B, C, D, H, W)` in [0, 1]; a grid other than the trained one gets interpolated positions.
            kept: `(B, K)` indices of the patches to encode, in (depth, height, width) order of the token grid; the
                others are never embedded (3D-MAE, FLIP). Default: all patches.
            **kwargs: `output_hidden_states`, `output_attentions`, `return_dict`.

        Returns:
            `last_hidden_state` `(B, N or K, hidden_size)` after the final norm; `pooler_output`, its mean over tokens.

        Raises:
            ValueError: if the volume is not 5D or patches do not tile it.
        """
        hidden_states = self.embeddings(pixel_values, kept)
        for layer in self.layers:
            hidden_states = layer(hidden_states, self.wants_attentions(kwargs))
        hidden_states = self.layer_norm(hidden_states)
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=hidden_states.mean(dim=1))


ArgusVisionModel.register_for_auto_class("AutoModel")
ArgusVisionConfig.register_for_auto_class("AutoConfig")
