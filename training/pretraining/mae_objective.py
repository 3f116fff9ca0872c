"""Reconstruct the patches of a CT that the tower was not shown: 3D-MAE (Zhou et al. 2023).

Only kept patches are embedded and encoded. A small transformer, the decoder, gets them with their positions, and a
learned mask token at the other positions, and predicts the voxels of the masked patches, normalised within each
patch. The decoder's positions are fixed sines and cosines; the tower's start with these values and are learned.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from argus_training.pretraining.mae_picture import save_reconstructions
from argus_training.pretraining.objective import Objective, check_mask_ratio, draw_orders, generators_of, settings_from
from modeling_argus import ArgusVisionConfig, ArgusVisionModel
from modeling_argus.vision_argus import ArgusVisionLayer, sincos_positions_3d, take_tokens

NUM_PICTURED = 3


@dataclass
class MAESettings:
    """Settings of 3D-MAE.

    Attributes:
        mask_ratio: share of patches that are hidden (Argus: 0.5).
        decoder_width, decoder_layers, decoder_heads: size of the decoder, which is not kept after training.
    """

    mask_ratio: float = 0.5
    decoder_width: int = 384
    decoder_layers: int = 8
    decoder_heads: int = 12

    def __post_init__(self):
        check_mask_ratio(self.mask_ratio)


class MAEDecoder(nn.Module):
    """Decoder that predicts the voxels of masked patches from the tokens of kept ones.

    Args:
        config: the tower's configuration.
        settings: the decoder's size.
    """

    positions: torch.Tensor

    def __init__(self, config: ArgusVisionConfig, settings: MAESettings):
        super().__init__()
        width = settings.decoder_width
        decoder_config = ArgusVisionConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_size=width,
            num_hidden_layers=settings.decoder_layers,
            num_attention_heads=settings.decoder_heads,
            intermediate_size=4 * width,
        )
        decoder_config._attn_implementation = config._attn_implementation
        num_voxels = config.num_channels * config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
        self.embed = nn.Linear(config.hidden_size, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.ModuleList([ArgusVisionLayer(decoder_config) for _ in range(settings.decoder_layers)])
        self.layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.predict = nn.Linear(width, num_voxels)
        self.register_buffer("positions", sincos_positions_3d(config.token_grid, width), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """Predict the masked patches.

        Args:
            tokens: `(B, K, C)`, the encoded patches `order[:, :K]`.
            order: `(B, N)`, a permutation of the patches; those from K on are masked.

        Returns:
            `(B, N - K, patch voxels)`, in the order of `order[:, K:]`.
        """
        num_kept = tokens.shape[1]
        kept = self.embed(tokens)
        masked = self.mask_token.to(kept.dtype).expand(len(kept), order.shape[1] - num_kept, -1)
        # Attention does not depend on the order of tokens, so they are not sorted: each has its position added.
        hidden = torch.cat([kept, masked], dim=1) + self.positions[order].to(kept.dtype)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.predict(self.layer_norm(hidden[:, num_kept:]))


class MAEObjective(nn.Module):
    """3D-MAE's module: the tower with a decoder; the loss is the mean squared error on masked patches only.

    Args:
        vision_tower: the tower to train.
        settings: mask ratio and decoder.
        seed: seed of the masks.
    """

    def __init__(self, vision_tower: ArgusVisionModel, settings: MAESettings, seed: int):
        super().__init__()
        self.vision_tower = vision_tower
        self.decoder = MAEDecoder(vision_tower.config, settings)
        num_tokens = vision_tower.config.num_tokens
        self.num_kept = num_tokens - round(settings.mask_ratio * num_tokens)
        if not 0 < self.num_kept < num_tokens:
            raise ValueError(f"mask_ratio {settings.mask_ratio} keeps {self.num_kept} of {num_tokens} patches")
        self.seed = seed

    def forward(self, pixel_values: torch.Tensor, index: torch.Tensor, step: int = 0) -> ModelOutput:
        """Reconstruct `(B, 1, D, H, W)` volumes from part of their patches.

        Returns:
            `loss`; `mean_loss`, the loss of predicting each masked patch's mean; `prediction` and `target`
            `(B, M, patch voxels)`, normalised; and `masked` `(B, M)`, the indices of these patches.
        """
        generators = generators_of(self.seed, step, index)
        order = draw_orders(self.vision_tower.config.num_tokens, generators, pixel_values.device)
        masked = order[:, self.num_kept :]
        tokens = self.vision_tower(pixel_values, kept=order[:, : self.num_kept]).last_hidden_state
        prediction = self.decoder(tokens, order).float()
        patches, _ = self.vision_tower.embeddings.patchify(pixel_values.float())
        target, _, _ = normalize_patches(take_tokens(patches, masked))
        return ModelOutput(
            loss=(prediction - target).square().mean(),
            mean_loss=target.square().mean().detach(),
            prediction=prediction,
            target=target,
            masked=masked,
        )


def normalize_patches(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalise voxels `(B, N, voxels)` to mean 0 and deviation 1 per patch; also return mean and deviation."""
    mean = patches.mean(dim=-1, keepdim=True)
    deviation = (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
    return (patches - mean) / deviation, mean, deviation


@torch.no_grad()
def show(module: MAEObjective, batches: Callable[[], Iterator[dict]], folder: Path) -> dict[str, float]:
    """Measure the loss on held-out scans and the loss of each patch's mean, and draw the first scans."""
    sums = torch.zeros(3, dtype=torch.float64)
    for place, batch in enumerate(batches()):
        output = module(batch["pixel_values"], batch["index"])
        count = len(batch["index"])
        sums += torch.tensor([count, count * output.loss.item(), count * output.mean_loss.item()], dtype=torch.float64)
        if place == 0:
            draw(module, batch["pixel_values"], output, folder / "reconstruction.png")
    loss, mean_loss = (sums[1:] / sums[0]).tolist()
    return {
        "num_scans": int(sums[0]),
        "masked_loss": loss,
        "masked_loss_of_patch_means": mean_loss,
        "ratio": loss / mean_loss,
    }


def draw(module: MAEObjective, volumes: torch.Tensor, output: ModelOutput, path: Path) -> None:
    """Draw the first volumes: masked, reconstructed and true.

    A prediction is normalised within its patch; it is scaled back with the true patch's mean and deviation.
    """
    embeddings = module.vision_tower.embeddings
    patches, token_grid = embeddings.patchify(volumes)
    _, mean, deviation = normalize_patches(take_tokens(patches, output["masked"]))
    voxels = output["prediction"] * deviation + mean
    places = output["masked"][..., None].expand_as(voxels)
    rows = {
        "masked": patches.scatter(1, places, torch.full_like(voxels, torch.nan)),
        "reconstructed": patches.scatter(1, places, voxels),
        "true": patches,
    }
    pictured = {
        name: unpatchify(row[:NUM_PICTURED], token_grid, embeddings.patch_size)[:, 0].cpu().numpy()
        for name, row in rows.items()
    }
    save_reconstructions(pictured, path)


def unpatchify(patches: torch.Tensor, token_grid: tuple[int, int, int], patch_size: Sequence[int]) -> torch.Tensor:
    """Reassemble patches `(B, N, C * patch voxels)` to `(B, C, D, H, W)`."""
    blocks = patches.reshape(len(patches), *token_grid, -1, *patch_size)
    sides = (count * size for count, size in zip(token_grid, patch_size, strict=True))
    return blocks.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(len(patches), blocks.shape[4], *sides)


def build(tower: ArgusVisionModel, split: datasets.Dataset, options: dict, seed: int) -> Objective:
    """Make the objective from a recipe's `objective_options`, the fields of `MAESettings`."""
    return Objective(MAEObjective(tower, settings_from(MAESettings, options), seed), show=show)
