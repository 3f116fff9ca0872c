"""Names for the kinds of array that a scan passes through, and for what reads scans into a model's inputs."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

# (D, H, W) Hounsfield units: D rises to Superior, H to Posterior, W to Left.
HuVolume: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.int16 | np.float32]]
# (4, 4) float64: an array index (d, h, w, 1) to RAS+ mm.
Affine: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float64]]
# (B, 1, D, H, W) float32 in the image processor's `value_range`.
PixelValues: TypeAlias = torch.Tensor


class ScanReader(Protocol):
    """Whatever reads scans into a model's inputs: the image processor, the volume cache, the feature cache."""

    def __call__(self, images: Any, **kwargs: Any) -> Mapping[str, torch.Tensor]:
        """Read one scan or several; return `pixel_values` `(B, 1, D, H, W)` or `vision_tokens` `(B, N, C)`."""
