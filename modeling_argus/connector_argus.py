"""Turn visual tokens into embeddings: token compressors and the projector (paper, section 4.2)."""

import torch
from torch import nn
from torch.nn import functional
from transformers import initialization
from transformers.activations import ACT2FN

from .configuration_argus import ArgusConfig


def pixel_shuffle_3d(tokens: torch.Tensor, grid: tuple[int, int, int], factor: int) -> torch.Tensor:
    """Merge each cube of `factor`^3 neighbouring tokens into one, `factor`^3 times as wide.

    Args:
        tokens: `(B, N, C)` in (depth, height, width) order.
        grid: tokens along depth, height and width; their product is N.
        factor: tokens merged along each axis.

    Returns:
        `(B, N / factor^3, C * factor^3)`; nothing is lost, `pixel_unshuffle_3d` is the exact inverse.

    Raises:
        ValueError: if the grid does not hold N tokens or does not divide by the factor.
    """
    batch, count, channels = tokens.shape
    depth, height, width = grid
    if depth * height * width != count:
        raise ValueError(f"a grid of {grid} does not hold {count} tokens")
    if any(side % factor for side in grid):
        raise ValueError(f"grid {grid} does not divide by factor {factor}")
    blocks = tokens.view(batch, depth // factor, factor, height // factor, factor, width // factor, factor, channels)
    # Channels stay innermost, so a block's tokens are concatenated whole, never interleaved.
    blocks = blocks.permute(0, 1, 3, 5, 2, 4, 6, 7)
    return blocks.reshape(batch, count // factor**3, channels * factor**3)


def pixel_unshuffle_3d(tokens: torch.Tensor, grid: tuple[int, int, int], factor: int) -> torch.Tensor:
    """Undo `pixel_shuffle_3d`: `(B, N / factor^3, C * factor^3)` back to `(B, N, C)` on the given token grid."""
    depth, height, width = (side // factor for side in grid)
    batch, count, channels = tokens.shape
    blocks = tokens.view(batch, depth, height, width, factor, factor, factor, channels // factor**3)
    blocks = blocks.permute(0, 1, 4, 2, 5, 3, 6, 7)
    return blocks.reshape(batch, count * factor**3, channels // factor**3)


class Compressor(nn.Module):
    """A module from `(B, N, C)` tokens to `(B, num_tokens, width)`.

    If it has parameters of its own, beside those of its layers, it initialises them in `init_weights`.
    """

    num_tokens: int
    width: int


class PixelShuffle3D(Compressor):
    """Compressor by 3D pixel shuffle, 8x with factor 2; has no weights.

    Raises:
        ValueError: if the tower's token grid does not divide by the factor.
    """

    def __init__(self, config: ArgusConfig):
        super().__init__()
        self.factor = config.compression_factor
        self.grid = config.get_vision_config().token_grid
        if any(side % self.factor for side in self.grid):
            raise ValueError(f"token grid {self.grid} does not divide by compression_factor {self.factor}")
        self.num_tokens = config.get_vision_config().num_tokens // self.factor**3
        self.width = config.get_vision_config().hidden_size * self.factor**3

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map `(B, N, C)` to `(B, num_tokens, width)`."""
        return pixel_shuffle_3d(tokens, self.grid, self.factor)


class AveragePooling3D(PixelShuffle3D):
    """Compressor by the mean of each cube of `compression_factor`^3 neighbouring tokens, as in M3D; has no weights."""

    def __init__(self, config: ArgusConfig):
        super().__init__(config)
        self.width = config.get_vision_config().hidden_size

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map `(B, N, C)` to `(B, num_tokens, C)`."""
        cubes = pixel_shuffle_3d(tokens, self.grid, self.factor)
        return cubes.unflatten(-1, (self.factor**3, self.width)).mean(dim=-2)


class PerceiverAttention(nn.Module):
    """Attention of the latents to the visual tokens and to themselves; no projection has a bias."""

    def __init__(self, width: int, num_heads: int, head_dim: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm_tokens = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.q_proj = nn.Linear(width, num_heads * head_dim, bias=False)
        self.kv_proj = nn.Linear(width, 2 * num_heads * head_dim, bias=False)
        self.out_proj = nn.Linear(num_heads * head_dim, width, bias=False)

    def forward(self, tokens: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Compute the update `(B, num_latents, C)` of the latents from `(B, N, C)` tokens and the latents."""
        tokens, latents = self.norm_tokens(tokens), self.norm_latents(latents)
        query = self.q_proj(latents)
        key, value = self.kv_proj(torch.cat([tokens, latents], dim=1)).chunk(2, dim=-1)
        heads = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(*heads)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class PerceiverLayer(nn.Module):
    """A layer of attention and an MLP four times as wide; the result of each is added to the latents."""

    def __init__(self, width: int, num_heads: int, head_dim: int):
        super().__init__()
        self.attention = PerceiverAttention(width, num_heads, head_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, tokens: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Map `(B, num_latents, C)` latents to the same shape."""
        latents = latents + self.attention(tokens, latents)
        return latents + self.mlp(latents)


class PerceiverResampler(Compressor):
    """Compressor of any number of tokens to `num_latents`, as in RadFM (Wu et al. 2023; Flamingo's resampler).

    It adds no positions: the only ones that it sees are those in the tower's tokens.
    """

    def __init__(self, config: ArgusConfig):
        super().__init__()
        self.num_tokens = config.num_latents
        self.width = config.get_vision_config().hidden_size
        self.latents = nn.Parameter(torch.randn(self.num_tokens, self.width))
        self.layers = nn.ModuleList(
            PerceiverLayer(self.width, config.perceiver_num_heads, config.perceiver_head_dim)
            for _ in range(config.perceiver_depth)
        )
        self.norm = nn.LayerNorm(self.width)

    def init_weights(self) -> None:
        """Draw the latents from a standard normal distribution, so that they differ from each other at the start."""
        initialization.normal_(self.latents, std=1.0)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map `(B, N, C)` to `(B, num_latents, C)`."""
        latents = self.latents.expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(tokens, latents)
        return self.norm(latents)


class NoCompression(Compressor):
    """Compressor that changes nothing: every token goes to the language model."""

    def __init__(self, config: ArgusConfig):
        super().__init__()
        self.num_tokens = config.get_vision_config().num_tokens
        self.width = config.get_vision_config().hidden_size

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens."""
        return tokens


COMPRESSORS: dict[str, type[Compressor]] = {
    "pixel_shuffle": PixelShuffle3D,
    "average_pooling": AveragePooling3D,
    "perceiver": PerceiverResampler,
    "none": NoCompression,
}


class ArgusProjector(nn.Sequential):
    """One or two linear layers from the compressor's width to the language model's."""

    def __init__(self, config: ArgusConfig, width: int):
        hidden_size = config.get_text_config().hidden_size
        if config.num_projector_layers not in (1, 2):
            raise ValueError(f"num_projector_layers is 1 or 2, got {config.num_projector_layers}")
        layers: list[nn.Module] = [nn.Linear(width, hidden_size)]
        if config.num_projector_layers == 2:
            layers += [ACT2FN[config.projector_hidden_act], nn.Linear(hidden_size, hidden_size)]
        super().__init__(*layers)


class ArgusConnector(nn.Module):
    """Compressor and projector: vision tokens `(B, N, C)` to embeddings `(B, num_tokens, text hidden_size)`."""

    def __init__(self, config: ArgusConfig):
        super().__init__()
        if config.compressor not in COMPRESSORS:
            raise ValueError(f"unknown compressor {config.compressor!r}; known: {', '.join(COMPRESSORS)}")
        self.compressor = COMPRESSORS[config.compressor](config)
        self.projector = ArgusProjector(config, self.compressor.width)

    @property
    def num_tokens(self) -> int:
        """Return the number of visual tokens that the language model sees for one volume."""
        return self.compressor.num_tokens

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compress and project `(B, N, C)` tokens to `(B, num_tokens, text hidden_size)`."""
        return self.projector(self.compressor(tokens))
