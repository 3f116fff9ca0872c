"""Encode a CT with the vision tower of CT2Rep (Hamamci et al. 2024), a CT-ViT with quantised output, as a baseline."""

import torch
from torch import nn
from torch.nn import functional
from transformers import initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs

from .configuration_vision_argus import VolumeVisionConfig
from .vision_argus import VisionTower, attend_eagerly, patchify


class CT2RepVisionConfig(VolumeVisionConfig):
    """Configuration of CT2Rep's CT-ViT: attention within each slice of patches, then along depth, then a codebook.

    The defaults are the published tower: 240 x 480 x 480 voxels, patches of 12 x 24 x 24, 20 x 20 x 20 = 8,000 tokens,
    none of them compressed. It has no absolute positions, so any grid that its patches tile is allowed.
    Two things differ from the published code. The depthwise convolution always sees the tokens as a volume (in the
    published code they come in another order in the layers along depth). The codebook returns a unit vector whose
    gradient passes to the encoder through the normalised token.

    Args:
        num_spatial_layers: transformer layers within a slice.
        num_temporal_layers: transformer layers along depth.
        num_attention_heads: heads of a layer.
        head_dim: width of a head.
        attention_scale: factor that multiplies the cosine similarity of query and key.
        codebook_size: number of vectors in the codebook.
        codebook_decay: share of its old value that a vector keeps at each training step.
    """

    model_type = "ct2rep_vision"

    image_size: list[int] | tuple[int, ...] = (240, 480, 480)
    patch_size: list[int] | tuple[int, ...] = (12, 24, 24)
    hidden_size: int = 512
    num_spatial_layers: int = 4
    num_temporal_layers: int = 4
    num_attention_heads: int = 8
    head_dim: int = 32
    attention_scale: float | int = 8.0
    codebook_size: int = 8192
    codebook_decay: float = 0.8

    @property
    def num_hidden_layers(self) -> int:
        """Return the number of layers of both kinds."""
        return self.num_spatial_layers + self.num_temporal_layers

    @property
    def feed_forward_size(self) -> int:
        """Return the inner width of a gated MLP: 8/3 of the token width, for as many weights as a plain MLP of 4x."""
        return int(4 * 2 / 3 * self.hidden_size)


class CT2RepPatchEmbedding(nn.Sequential):
    """Patch embedding: norm, linear layer, norm."""

    def __init__(self, config: CT2RepVisionConfig):
        depth, height, width = config.patch_size
        num_voxels = depth * height * width
        super().__init__(
            nn.LayerNorm(num_voxels), nn.Linear(num_voxels, config.hidden_size), nn.LayerNorm(config.hidden_size)
        )
        self.patch_size = config.patch_size

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embed `(B, 1, D, H, W)` as `(B, d, h, w, hidden_size)`."""
        # The norm's dtype: in 8 or 4 bits the linear layer's weights are integers, and voxels would become 0.
        dtype: torch.dtype = self[0].weight.dtype  # type: ignore[assignment] # torch states any module's attributes so
        patches = patchify(pixel_values.to(dtype), self.patch_size)
        # Flattened for the layer: 8-bit layers (bitsandbytes) take at most three axes.
        return super().forward(patches.flatten(1, 3)).unflatten(1, patches.shape[1:4])


class CT2RepPositionBias(nn.Module):
    """Position bias of attention within a slice: an MLP of the log-spaced offset between two patches (Swin v2)."""

    def __init__(self, config: CT2RepVisionConfig):
        super().__init__()
        width = config.hidden_size
        self.mlp = nn.Sequential(
            nn.Linear(2, width),
            nn.LeakyReLU(0.1),
            nn.Linear(width, width),
            nn.LeakyReLU(0.1),
            nn.Linear(width, config.num_attention_heads),
        )

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """Compute the bias `(heads, h * w, h * w)` for slices of `(B, d, h, w, C)`, in its dtype; rows are queries."""
        height, width = grid.shape[2:4]
        rows = torch.arange(1 - height, height, device=grid.device)
        columns = torch.arange(1 - width, width, device=grid.device)
        # In half precision the MLP stays float32; if a library quantises it nevertheless, it has no float weights.
        dtype = next((weight.dtype for weight in self.parameters() if weight.is_floating_point()), grid.dtype)
        offsets = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).to(dtype)
        # There are few different offsets: the MLP is applied once to each, not once to each pair of patches.
        biases = self.mlp(offsets.sign() * offsets.abs().log1p()).to(grid.dtype)
        row, column = (
            axis.flatten() for axis in torch.meshgrid(rows[height - 1 :], columns[width - 1 :], indexing="ij")
        )
        row_offset = row[:, None] - row[None, :] + height - 1
        column_offset = column[:, None] - column[None, :] + width - 1
        return biases[row_offset, column_offset].permute(2, 0, 1)


class CT2RepConvolution(nn.Module):
    """Depthwise 3 x 3 x 3 convolution that encodes positions (PEG); along depth it sees no later tokens."""

    def __init__(self, config: CT2RepVisionConfig):
        super().__init__()
        self.depthwise = nn.Conv3d(config.hidden_size, config.hidden_size, 3, groups=config.hidden_size)

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """Map `(B, d, h, w, C)` to the same shape."""
        padded = functional.pad(grid.movedim(-1, 1), (1, 1, 1, 1, 2, 0))
        return self.depthwise(padded).movedim(1, -1)


class CT2RepAttention(nn.Module):
    """Attention by cosine similarity, with a learned scale for each channel of a head."""

    def __init__(self, config: CT2RepVisionConfig):
        super().__init__()
        width = config.num_attention_heads * config.head_dim
        self.num_heads = config.num_attention_heads
        self.scale = config.attention_scale
        self.norm = nn.LayerNorm(config.hidden_size, bias=False)
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.kv_proj = nn.Linear(config.hidden_size, 2 * width, bias=False)
        self.q_scale = nn.Parameter(torch.ones(config.head_dim))
        self.k_scale = nn.Parameter(torch.ones(config.head_dim))
        self.out_proj = nn.Linear(width, config.hidden_size, bias=False)

    def init_weights(self) -> None:
        """Start from plain cosine similarity."""
        initialization.ones_(self.q_scale)
        initialization.ones_(self.k_scale)

    def forward(
        self, sequences: torch.Tensor, bias: torch.Tensor | None, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend within each of the `(S, n, C)` sequences; `bias` is `(heads, n, n)`.

        Also return the weights `(S, heads, n, n)` if asked for, else None.
        """
        sequences = self.norm(sequences)
        parts = (self.q_proj(sequences), *self.kv_proj(sequences).chunk(2, dim=-1))
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        # Under autocast the norms return float32; attention is computed in the dtype of the values.
        query = (functional.normalize(query, dim=-1) * self.q_scale).to(value.dtype)
        key = (functional.normalize(key, dim=-1) * self.k_scale).to(value.dtype)
        bias = None if bias is None else bias.to(value.dtype)
        if output_attentions:
            mixed, weights = attend_eagerly(self, query, key, value, bias, scaling=self.scale)
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=self.scale)
            mixed, weights = mixed.transpose(1, 2), None
        return self.out_proj(mixed.flatten(2)), weights


class CT2RepMLP(nn.Module):
    """Two linear layers with a gate (GEGLU)."""

    def __init__(self, config: CT2RepVisionConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.widen = nn.Linear(config.hidden_size, 2 * config.feed_forward_size, bias=False)
        self.narrow = nn.Linear(config.feed_forward_size, config.hidden_size, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map `(..., C)` to the same shape."""
        # Flattened for the layer: 8-bit layers (bitsandbytes) take at most three axes.
        values, gate = self.widen(self.norm(tokens).flatten(0, -2)).chunk(2, dim=-1)
        return self.narrow(values * functional.gelu(gate)).view(tokens.shape)


class CT2RepSpatialLayer(GradientCheckpointingLayer):
    """Layer of convolution, attention within a slice of patches, and MLP; each is added to its input."""

    def __init__(self, config: CT2RepVisionConfig):
        super().__init__()
        self.convolution = CT2RepConvolution(config)
        self.attention = CT2RepAttention(config)
        self.mlp = CT2RepMLP(config)

    def attend(self, grid: torch.Tensor, bias: torch.Tensor | None, output_attentions: bool) -> torch.Tensor:
        """Map `(B, d, h, w, C)` to the same shape; each slice is a sequence."""
        attended, _ = self.attention(grid.flatten(2, 3).flatten(0, 1), bias, output_attentions)
        return attended.view(grid.shape)

    def forward(
        self,
        tokens: torch.Tensor,
        token_grid: tuple[int, int, int],
        bias: torch.Tensor | None = None,
        output_attentions: bool = False,
    ) -> torch.Tensor:
        """Map the tokens `(B, N, C)` of a grid to the same shape."""
        grid = tokens.unflatten(1, token_grid)
        grid = grid + self.convolution(grid)
        grid = grid + self.attend(grid, bias, output_attentions)
        return (grid + self.mlp(grid)).flatten(1, 3)


class CT2RepTemporalLayer(CT2RepSpatialLayer):
    """Layer of convolution, attention along depth, and MLP; each is added to its input."""

    def attend(self, grid: torch.Tensor, bias: torch.Tensor | None, output_attentions: bool) -> torch.Tensor:
        """Map `(B, d, h, w, C)` to the same shape; each column along depth is a sequence."""
        columns = grid.movedim(1, 3)
        attended, _ = self.attention(columns.flatten(0, 2), bias, output_attentions)
        return attended.view(columns.shape).movedim(3, 1)


class CT2RepCodebook(nn.Module):
    """Codebook that replaces each token by its nearest vector by cosine similarity.

    The vectors are not parameters: while the encoder trains, those in use move toward the mean of their tokens.
    """

    vectors: torch.Tensor

    def __init__(self, config: CT2RepVisionConfig):
        super().__init__()
        self.decay = config.codebook_decay
        vectors = torch.randn(config.codebook_size, config.hidden_size)
        self.register_buffer("vectors", functional.normalize(vectors, dim=-1))

    def init_weights(self) -> None:
        """Draw the vectors at random, of length 1."""
        vectors = torch.randn(self.vectors.shape)
        initialization.copy_(self.vectors, functional.normalize(vectors, dim=-1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map `(..., C)` to unit vectors of the same shape; the gradient passes straight through."""
        directions = functional.normalize(tokens.float(), dim=-1)
        codes = (directions.detach().to(self.vectors.dtype) @ self.vectors.T).argmax(dim=-1)
        chosen = self.vectors[codes].float()
        # A frozen encoder (training stage 1) leaves its codebook as it is.
        if self.training and tokens.requires_grad:
            self.follow(directions.detach().flatten(0, -2), codes.flatten())
        return (directions + (chosen - directions).detach()).to(tokens.dtype)

    @torch.no_grad()
    def follow(self, directions: torch.Tensor, codes: torch.Tensor) -> None:
        """Move the vectors in use toward the mean of the `(n, C)` tokens that chose them, over all processes."""
        sums = torch.zeros_like(self.vectors, dtype=torch.float32).index_add_(0, codes, directions.float())
        counts = torch.bincount(codes, minlength=len(self.vectors)).float()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
            torch.distributed.all_reduce(counts)
        moved = functional.normalize(
            torch.lerp(functional.normalize(sums, dim=-1), self.vectors.float(), self.decay), dim=-1
        )
        self.vectors.copy_(torch.where(counts[:, None] > 0, moved, self.vectors.float()))


class CT2RepVisionModel(VisionTower):
    """CT2Rep's CT-ViT: `pixel_values` `(B, 1, D, H, W)` in [-1, 1] to codebook vectors `(B, N, hidden_size)`."""

    config: CT2RepVisionConfig
    config_class = CT2RepVisionConfig
    _no_split_modules = ["CT2RepSpatialLayer", "CT2RepTemporalLayer"]
    # Never quantised to 8 or 4 bits: its first layer has two inputs, which the kernels of some processors cannot pack.
    _keep_in_fp32_modules = [r".*position_bias"]
    # Always torch's own attention: it needs cosine similarity with a bias.
    _supports_flash_attn = False
    _supports_attention_backend = False
    # Shape of a layer's attention weights: (B * d, heads, h * w, h * w) within slices, (B * h * w, heads, d, d) along
    # depth.
    _can_record_outputs = {"hidden_states": CT2RepSpatialLayer, "attentions": CT2RepAttention}

    def __init__(self, config: CT2RepVisionConfig):
        super().__init__(config)
        self.patch_embedding = CT2RepPatchEmbedding(config)
        self.position_bias = CT2RepPositionBias(config)
        self.spatial_layers = nn.ModuleList(CT2RepSpatialLayer(config) for _ in range(config.num_spatial_layers))
        self.spatial_norm = nn.LayerNorm(config.hidden_size, bias=False)
        self.temporal_layers = nn.ModuleList(CT2RepTemporalLayer(config) for _ in range(config.num_temporal_layers))
        self.temporal_norm = nn.LayerNorm(config.hidden_size, bias=False)
        self.codebook = CT2RepCodebook(config)
        self.gradient_checkpointing = False
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, CT2RepAttention | CT2RepCodebook):
            module.init_weights()

    def encode(self, pixel_values: torch.Tensor, output_attentions: bool = False) -> torch.Tensor:
        """Encode volumes as tokens `(B, N, hidden_size)`, before the codebook."""
        grid = self.patch_embedding(pixel_values)
        bias, token_grid, tokens = self.position_bias(grid), grid.shape[1:4], grid.flatten(1, 3)
        for layer in self.spatial_layers:
            tokens = layer(tokens, token_grid, bias, output_attentions)
        tokens = self.spatial_norm(tokens)
        for layer in self.temporal_layers:
            tokens = layer(tokens, token_grid, output_attentions=output_attentions)
        return self.temporal_norm(tokens)

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """Encode volumes `(B, 1, D, H, W)` in [-1, 1]; `pooler_output` is the mean over tokens.

        Raises:
            ValueError: if the volume is not 5D or patches do not tile it.
        """
        hidden_states = self.codebook(self.encode(pixel_values, self.wants_attentions(kwargs)))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=hidden_states.mean(dim=1))


CT2RepVisionModel.register_for_auto_class("AutoModel")
CT2RepVisionConfig.register_for_auto_class("AutoConfig")
