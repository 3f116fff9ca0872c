"""Preprocess scans for a model in a step of a MONAI pipeline: `ArgusPreprocessd` (`pip install '.[monai]'`)."""

from collections.abc import Hashable, Mapping
from typing import Any

from .image_processing_argus import ArgusImageProcessor

try:
    from monai.config import KeysCollection
    from monai.transforms import MapTransform
    from monai.utils import TransformBackends
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "monai":
        raise
    raise ModuleNotFoundError("the package monai is not installed: pip install '.[monai]'", name="monai") from None


class ArgusPreprocessd(MapTransform):
    """Replace the scan under each key by a model's `pixel_values` of it, `(1, D, H, W)`.

    A scan is any image that `ArgusImageProcessor.load_volume` takes: a path, or what `LoadImaged` made of it, with or
    without its channel, reoriented or cropped but still in Hounsfield units. A batch of the results is what the model
    takes. Nothing here is random, so that `CacheDataset` keeps the results.

    Args:
        keys: the keys of the scans.
        image_processor: the model's own, as `AutoImageProcessor.from_pretrained` loads it.
        allow_missing_keys: pass over a key that a sample does not have.

    Raises:
        CTReadError: from a call, if a scan cannot be read as a CT.
        KeyError: from a call, if a key is missing and this is not allowed.
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self, keys: KeysCollection, image_processor: ArgusImageProcessor, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_processor = image_processor

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with the scans under the keys preprocessed; the given one stays as it is."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            sample[key] = self.image_processor(sample[key])["pixel_values"][0]
        return sample
