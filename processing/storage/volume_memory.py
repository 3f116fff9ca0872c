"""Keep preprocessed volumes in memory, for all trainings of a process: each scan is read once."""

import hashlib
from math import prod
from typing import Any

import torch

from ..image_processing_argus import ArgusImageProcessor, flatten_images
from ..scan_types import PixelValues
from .volume_cache import path_of, scan_key, settings_hash

BYTES_IN_MEMORY = 2 * 1024**3
_BYTES_PER_VOXEL = 4  # as they are, so that training in memory is training without it, bit for bit

# By settings and scan; of the process, so that the second stage finds what the first one and the pretraining have read.
_VOLUMES: dict[tuple[str, str], torch.Tensor] = {}


def fits_in_memory(num_scans: int, image_processor: ArgusImageProcessor) -> bool:
    """Return whether that many volumes of a grid take at most 2 GB."""
    return num_scans * _BYTES_PER_VOXEL * prod(image_processor.image_size) <= BYTES_IN_MEMORY


class VolumeMemory:
    """Reader of `pixel_values` that keeps them in memory for the next call, also a call of another such reader.

    A scan is known by its file's path, size and time, or by its bytes. Above 2 GB in all nothing more is kept.

    Args:
        image_processor: reads the scans that are not in memory.
    """

    def __init__(self, image_processor: ArgusImageProcessor):
        self.image_processor = image_processor
        self._settings = settings_hash(image_processor)

    def __call__(self, images: Any, **kwargs) -> dict[str, torch.Tensor]:
        """Return `pixel_values` `(B, 1, D, H, W)` float32 of one image or several, as the image processor does."""
        scans = flatten_images(images)
        pixel_values: PixelValues = torch.empty(len(scans), 1, *self.image_processor.image_size)
        for image, out in zip(scans, pixel_values, strict=True):
            out.copy_(self._volume(image))
        return {"pixel_values": pixel_values}

    def _volume(self, image: Any) -> torch.Tensor:
        """Return a scan's volume `(1, D, H, W)`, which must not be changed."""
        scan = _scan_of(image)
        known = None if scan is None else _VOLUMES.get((self._settings, scan))
        if known is not None:
            return known
        volume = self.image_processor(image)["pixel_values"][0]
        if scan is not None and (len(_VOLUMES) + 1) * volume.nbytes <= BYTES_IN_MEMORY:
            _VOLUMES[self._settings, scan] = volume
        return volume


def _scan_of(image: Any) -> str | None:
    """Return a scan's key: that of its file, or the hash of its bytes; None for arrays and other objects."""
    if path := path_of(image):
        return scan_key(path)
    content = image.get("bytes") if isinstance(image, dict) else None
    return None if content is None else hashlib.sha256(content).hexdigest()
