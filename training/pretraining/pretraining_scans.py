"""Read the data set of a pretraining objective: preprocessed volumes of a split, kept in memory or in a cache."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import datasets
import torch

from argus_processing import ArgusImageProcessor
from argus_processing.storage.volume_cache import VolumeCache

BYTES_IN_MEMORY = 2 * 1024**3


class PreprocessedScans(torch.utils.data.Dataset):
    """Rows of a split as `pixel_values`, `index` and an objective's other inputs.

    A volume is read from `volume_cache` if one is given. Otherwise a split of up to 2 GB is preprocessed once and kept
    in memory, and volumes of a larger one are preprocessed each time they are read. In memory volumes are float16, with
    an error of a thousandth of the window, far below the noise of a CT.

    Args:
        split: rows with an `image`.
        image_processor: preprocesses the scans.
        inputs_of: function from a row to the objective's other inputs.
        volume_cache: folder of preprocessed volumes, as `argus cache` makes it; missing volumes are added to it.
    """

    def __init__(
        self,
        split: datasets.Dataset,
        image_processor: ArgusImageProcessor,
        inputs_of: Callable[[dict], dict],
        volume_cache: Path | str | None = None,
    ):
        self.rows = split.cast_column("image", datasets.Nifti(decode=False))
        self.preprocess = VolumeCache(volume_cache, image_processor) if volume_cache else image_processor
        self.inputs_of = inputs_of
        num_bytes = 2 * len(split) * prod(image_processor.image_size)
        self.kept: dict[int, torch.Tensor] | None = None if volume_cache or num_bytes > BYTES_IN_MEMORY else {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        row = self.rows[index]
        return {"pixel_values": self._volume(index, row), "index": index, **self.inputs_of(row)}

    def _volume(self, index: int, row: dict) -> torch.Tensor:
        if self.kept is None:
            return self.preprocess(row["image"])["pixel_values"][0]
        if index not in self.kept:
            self.kept[index] = self.preprocess(row["image"])["pixel_values"][0].half()
        return self.kept[index].float()
