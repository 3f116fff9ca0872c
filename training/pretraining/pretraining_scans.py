"""Read the data set of a pretraining objective: preprocessed volumes of a split, kept in memory or in a cache."""

from collections.abc import Callable
from pathlib import Path

import datasets
import torch

from argus_processing import ArgusImageProcessor
from argus_processing.scan_types import ScanReader
from argus_processing.storage.volume_cache import VolumeCache
from argus_processing.storage.volume_memory import VolumeMemory, fits_in_memory


class PreprocessedScans(torch.utils.data.Dataset):
    """Rows of a split as `pixel_values`, `index` and an objective's other inputs.

    A volume is read from `volume_cache` if one is given. Otherwise a split of up to 2 GB is preprocessed once and kept
    in memory, and volumes of a larger one are preprocessed each time they are read.

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
        self.inputs_of = inputs_of
        self.preprocess: ScanReader = image_processor
        if volume_cache:
            self.preprocess = VolumeCache(volume_cache, image_processor)
        elif fits_in_memory(len(split), image_processor):
            self.preprocess = VolumeMemory(image_processor)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        row = self.rows[index]
        return {"pixel_values": self.preprocess(row["image"])["pixel_values"][0], "index": index, **self.inputs_of(row)}
