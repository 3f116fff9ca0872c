"""Draw two overlapping crops of a CT, body voxels that lie in both, and changes of intensity (Vox2Vec).

No flips and no rotations: left stays left.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch.nn import functional

Corner = tuple[int, int, int]

BODY_LEVEL = 0.25  # -500 HU in the window from -1000 to 1000
MOST_BLUR_VOXELS = 1.0
MOST_NOISE = 0.02  # 40 HU
WINDOW_LOW = (0.0, 0.1)  # -1000 to -800 HU
WINDOW_HIGH = (0.75, 1.0)  # 500 to 1000 HU


def draw_crops(size: Sequence[int], crop_size: Sequence[int], generator: torch.Generator) -> tuple[Corner, Corner]:
    """Draw the first corners of two crops, at most half a crop apart along each axis, so that the crops overlap."""
    first, second = [], []
    for side, crop in zip(size, crop_size, strict=True):
        last = side - crop
        start = _draw_integer(0, last, generator)
        first.append(start)
        second.append(_draw_integer(max(0, start - crop // 2), min(last, start + crop // 2), generator))
    return cast(Corner, tuple(first)), cast(Corner, tuple(second))


def _draw_integer(lowest: int, highest: int, generator: torch.Generator) -> int:
    return int(torch.randint(lowest, highest + 1, (), generator=generator))


def body_mask(volume: torch.Tensor) -> torch.Tensor:
    """Compute the mask of the body, lungs included, in a `(D, H, W)` volume in [0, 1].

    A voxel is in the body if it is tissue (above -500 HU) or has tissue on both sides, along its row and its column.
    """
    tissue = volume > BODY_LEVEL
    mask = torch.ones_like(tissue)
    for axis in (1, 2):
        before = tissue.int().cummax(dim=axis).values.bool()
        after = tissue.flip(axis).int().cummax(dim=axis).values.bool().flip(axis)
        mask &= before & after
    return mask


def draw_voxels(
    mask: torch.Tensor,
    corners: tuple[Corner, Corner],
    crop_size: Sequence[int],
    num_voxels: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw voxels of a `(D, H, W)` mask that lie in both crops, none twice.

    Returns:
        `(num_voxels, 3)` indices (d, h, w) into the mask, and `(num_voxels,)`, False where there were too few voxels
        and a row is only padding.
    """
    low = [max(pair) for pair in zip(*corners, strict=True)]
    high = [min(pair) + crop for *pair, crop in zip(*corners, crop_size, strict=True)]
    box = tuple(slice(start, end) for start, end in zip(low, high, strict=True))
    inside = mask[box].nonzero()
    drawn = torch.randperm(len(inside), generator=generator)[:num_voxels].to(mask.device)
    corner = torch.tensor(low, device=mask.device)
    voxels = corner.repeat(num_voxels, 1)
    voxels[: len(drawn)] = inside[drawn] + corner
    return voxels, torch.arange(num_voxels, device=mask.device) < len(drawn)


def change_intensity(volume: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur a `(D, H, W)` volume in [0, 1], add noise and change its window, each by a random amount."""
    sigma, noise, low, high = torch.rand(4, generator=generator).tolist()
    changed = blur(volume, max(sigma * MOST_BLUR_VOXELS, 1e-3))
    changed = changed + noise * MOST_NOISE * torch.randn(volume.shape, generator=generator).to(volume.device)
    low = WINDOW_LOW[0] + low * (WINDOW_LOW[1] - WINDOW_LOW[0])
    high = WINDOW_HIGH[0] + high * (WINDOW_HIGH[1] - WINDOW_HIGH[0])
    return ((changed - low) / (high - low)).clamp(0.0, 1.0)


def blur(volume: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur a `(D, H, W)` volume by a Gaussian of `sigma` voxels, truncated at two voxels; edge voxels are repeated."""
    offsets = torch.arange(-2, 3, dtype=volume.dtype, device=volume.device)
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    weights = weights / weights.sum()
    blurred = volume[None, None]
    for axis in range(3):
        shape, padding = [1, 1, 1], [0] * 6
        shape[axis] = 5
        padding[4 - 2 * axis] = padding[5 - 2 * axis] = 2
        blurred = functional.conv3d(functional.pad(blurred, padding, mode="replicate"), weights.reshape(1, 1, *shape))
    return blurred[0, 0]
