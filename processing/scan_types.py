"""Name the tensors that are made of a scan, and the interface of what reads scans into a model's inputs."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import torch

# (D, H, W) float32 on the grid of a model: HU until it is scaled, then in the image processor's `value_range`.
GridVolume: TypeAlias = torch.Tensor
# (B, 1, D, H, W) float32 in the image processor's `value_range`.
PixelValues: TypeAlias = torch.Tensor


class ScanReader(Protocol):
    """Reader of scans into a model's inputs: the image processor, the volume cache or the feature cache."""

    def __call__(self, images: Any, **kwargs: Any) -> Mapping[str, torch.Tensor]:
        """Read one scan or several; return `pixel_values` `(B, 1, D, H, W)` or `vision_tokens` `(B, N, C)`."""
