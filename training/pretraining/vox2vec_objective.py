"""Learn features that are equal for one voxel in two crops, and differ between voxels: Vox2Vec (Goncharov 2023).

The original reads a voxel's features from all scales of a convolutional pyramid. The Argus paper runs it on a ViT-B
without details. Here the tower encodes each crop, with its positions interpolated to the crop's token grid, and a
voxel's feature is interpolated trilinearly between the last layer's tokens at the patches' centres. Positions are those
within the crop, so they do not reveal the place of a voxel in the chest: the tower has to learn it from the image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import datasets
import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import ModelOutput

from argus_training.pretraining.contrastive_loss import voxel_loss
from argus_training.pretraining.crop_views import body_mask, change_intensity, draw_crops, draw_voxels
from argus_training.pretraining.objective import Objective, generators_of, settings_from
from modeling_argus import ArgusVisionModel


@dataclass
class Vox2VecSettings:
    """Settings of Vox2Vec.

    Attributes:
        crop_size: voxels of a crop as (depth, height, width), whole patches. Default: half the grid along each axis.
        num_voxels: most positive pairs of one scan; drawn from the body in the overlap of the crops.
        temperature: temperature of the loss.
        projection_width: width of the space in which voxels are compared.
    """

    crop_size: list[int] | None = None
    num_voxels: int = 1024
    temperature: float = 0.1
    projection_width: int = 128


class Vox2VecObjective(nn.Module):
    """Vox2Vec's module: the tower with a head of three linear layers, in a symmetric InfoNCE over voxels.

    Args:
        vision_tower: the tower to train.
        settings: crops, voxels and head.
        seed: seed of crops, voxels and changes of intensity.

    Raises:
        ValueError: if a crop is not a whole number of patches or does not fit into the grid.
    """

    def __init__(self, vision_tower: ArgusVisionModel, settings: Vox2VecSettings, seed: int):
        super().__init__()
        config = vision_tower.config
        self.vision_tower = vision_tower
        self.crop_size = tuple(settings.crop_size or half_grid(config.image_size, config.patch_size))
        check_crop(self.crop_size, config.image_size, config.patch_size)
        self.settings = settings
        self.seed = seed
        self.head = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, settings.projection_width),
        )

    def forward(self, pixel_values: torch.Tensor, index: torch.Tensor, step: int = 0) -> ModelOutput:
        """Compare the voxels of two crops of each of `(B, 1, D, H, W)` volumes.

        Returns:
            `loss`; `first` and `second` `(B * num_voxels, projection_width)` of length 1, and `is_voxel`
            `(B * num_voxels,)`, False where a row is only padding.
        """
        crops: tuple[list, list] = ([], [])
        places: tuple[list, list] = ([], [])
        is_voxel = []
        for volume, generator in zip(pixel_values[:, 0], generators_of(self.seed, step, index), strict=True):
            corners = draw_crops(tuple(volume.shape), self.crop_size, generator)
            voxels, filled = draw_voxels(
                body_mask(volume), corners, self.crop_size, self.settings.num_voxels, generator
            )
            is_voxel.append(filled)
            for view, corner in enumerate(corners):
                box = tuple(slice(start, start + size) for start, size in zip(corner, self.crop_size, strict=True))
                crops[view].append(change_intensity(volume[box], generator))
                places[view].append(voxels - torch.tensor(corner, device=voxels.device))
        features = self.vision_tower(torch.stack(crops[0] + crops[1])[:, None]).last_hidden_state
        sampled = interpolate_tokens(features, self._token_grid(), torch.stack(places[0] + places[1]), self.crop_size)
        embedded = functional.normalize(self.head(sampled).float(), dim=-1)
        first, second = embedded.flatten(0, 1).chunk(2)
        present = torch.cat(is_voxel)
        loss = voxel_loss(first, second, present, self.settings.temperature)
        return ModelOutput(loss=loss, first=first, second=second, is_voxel=present)

    def _token_grid(self) -> tuple[int, int, int]:
        patch_size = self.vision_tower.config.patch_size
        depth, height, width = (side // patch for side, patch in zip(self.crop_size, patch_size, strict=True))
        return depth, height, width


def half_grid(image_size: Sequence[int], patch_size: Sequence[int]) -> list[int]:
    """Return half a grid along each axis in whole patches, at least one patch."""
    return [max(1, side // patch // 2) * patch for side, patch in zip(image_size, patch_size, strict=True)]


def check_crop(crop_size: Sequence[int], image_size: Sequence[int], patch_size: Sequence[int]) -> None:
    """Check that a crop fits into the grid and is a whole number of patches.

    Raises:
        ValueError: naming crop, grid and patch.
    """
    fits = len(crop_size) == 3 and all(
        0 < crop <= side and crop % patch == 0
        for crop, side, patch in zip(crop_size, image_size, patch_size, strict=True)
    )
    if not fits:
        raise ValueError(
            f"crop_size is three whole numbers of patches of {tuple(patch_size)} within {tuple(image_size)}, "
            f"got {tuple(crop_size)}"
        )


def interpolate_tokens(
    tokens: torch.Tensor, token_grid: tuple[int, int, int], voxels: torch.Tensor, size: Sequence[int]
) -> torch.Tensor:
    """Interpolate tokens at voxels, trilinearly between the patches' centres; outside them the nearest one is used.

    Args:
        tokens: `(B, N, C)` in (depth, height, width) order.
        token_grid: tokens along depth, height and width; their product is N.
        voxels: `(B, M, 3)` indices (d, h, w) into the volume of the tokens.
        size: that volume's (depth, height, width).

    Returns:
        `(B, M, C)`.
    """
    if tokens.shape[1] != prod(token_grid):
        raise ValueError(f"a grid of {token_grid} does not hold {tokens.shape[1]} tokens")
    volume = tokens.transpose(1, 2).unflatten(2, token_grid)
    # Half-pixel convention: voxel i of n lies at (i + 1/2) / n of the way, and so do the patches' centres.
    places = (voxels.to(tokens.dtype) + 0.5) / torch.tensor(size, device=tokens.device) * 2 - 1
    places = places.flip(-1)[:, :, None, None]  # grid_sample expects (w, h, d)
    read = functional.grid_sample(volume.float(), places.float(), padding_mode="border", align_corners=False)
    return read[..., 0, 0].transpose(1, 2)


@torch.no_grad()
def show(module: Vox2VecObjective, batches: Callable[[], Iterator[dict]], folder: Path) -> dict[str, float]:
    """Measure how often a voxel of a held-out scan matches itself best among its batch's voxels of the other view."""
    found = chance = total = num_scans = 0
    for batch in batches():
        output = module(batch["pixel_values"], batch["index"])
        first, second = output.first[output.is_voxel], output.second[output.is_voxel]
        nearest = (first @ second.T).argmax(dim=1)
        found += int((nearest == torch.arange(len(first), device=nearest.device)).sum())
        total += len(first)
        chance += 1  # random guessing matches one voxel of each batch, on average
        num_scans += len(batch["index"])
    return {"num_scans": num_scans, "voxel_r@1": found / max(total, 1), "chance_r@1": chance / max(total, 1)}


def build(tower: ArgusVisionModel, split: datasets.Dataset, options: dict, seed: int) -> Objective:
    """Make the objective from a recipe's `objective_options`, the fields of `Vox2VecSettings`."""
    return Objective(Vox2VecObjective(tower, settings_from(Vox2VecSettings, options), seed), show=show)
