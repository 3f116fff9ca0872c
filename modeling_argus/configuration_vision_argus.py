"""Configure vision towers for CT: the common base class, and the configuration of Argus's own tower."""

from math import prod

from transformers.configuration_utils import PreTrainedConfig


class VolumeVisionConfig(PreTrainedConfig):
    """Common configuration of towers that cut a volume into patches: voxel grid, patch size and token width.

    Attributes:
        image_size: voxels of the input grid as (depth, height, width).
        patch_size: voxels of one patch as (depth, height, width); divides `image_size`.
        hidden_size: width of a token.
        initializer_range: standard deviation of the initial weights.

    Raises:
        ValueError: if the patches do not tile the grid.
    """

    base_config_key = "vision_config"

    image_size: list[int] | tuple[int, ...] = (64, 256, 256)
    patch_size: list[int] | tuple[int, ...] = (8, 16, 16)
    hidden_size: int = 768
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        self.image_size = tuple(self.image_size)
        self.patch_size = tuple(self.patch_size)
        if len(self.image_size) != 3 or len(self.patch_size) != 3:
            raise ValueError(
                f"image_size and patch_size are (depth, height, width), got {self.image_size} and {self.patch_size}"
            )
        if any(side % patch for side, patch in zip(self.image_size, self.patch_size, strict=True)):
            raise ValueError(f"patches of {self.patch_size} voxels do not tile a grid of {self.image_size}")
        super().__post_init__(**kwargs)

    @property
    def token_grid(self) -> tuple[int, int, int]:
        """Return the number of tokens along depth, height and width."""
        depth, height, width = (side // patch for side, patch in zip(self.image_size, self.patch_size, strict=True))
        return depth, height, width

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens that the tower makes from one volume, before compression."""
        return prod(self.token_grid)


class ArgusVisionConfig(VolumeVisionConfig):
    """Configuration of the 3D ViT over CT.

    The defaults are ViT-B at the paper's normal resolution (Argus paper, section 4).

    Attributes:
        image_size: voxels of the input grid as (depth, height, width).
        patch_size: voxels of one patch as (depth, height, width); divides `image_size`.
        hidden_size: width of a token.
        num_hidden_layers: number of transformer layers.
        num_attention_heads: number of heads.
        head_dim: width of a head. Default: `hidden_size` divided by the number of heads.
        qkv_bias: whether queries, keys and values have a bias.
        intermediate_size: width of a layer's MLP.
        hidden_act: activation of a layer's MLP.
        layer_norm_eps: epsilon of the layer norms.
        attention_dropout: dropout on attention weights.
        initializer_range: standard deviation of the initial weights.
        num_channels: channels of the volume; CT has one.
        voxel_mean: value subtracted from voxels in [0, 1] before the patch embedding; about a chest CT's mean.
        voxel_std: value that they are then divided by. The linear embedding could learn both, but slowly: centred
            voxels let a tower trained from scratch see faint findings many times sooner.

    Raises:
        ValueError: if the patches do not tile the grid or the heads do not divide the width.
    """

    model_type = "argus_vision"

    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    head_dim: int | None = None
    qkv_bias: bool = True
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    attention_dropout: float | int = 0.0
    num_channels: int = 1
    voxel_mean: float | int = 0.25
    voxel_std: float | int = 0.25

    def __post_init__(self, **kwargs):
        if self.head_dim is None:
            if self.hidden_size % self.num_attention_heads:
                raise ValueError(f"{self.num_attention_heads} heads do not divide a width of {self.hidden_size}")
            self.head_dim = self.hidden_size // self.num_attention_heads
        super().__post_init__(**kwargs)
