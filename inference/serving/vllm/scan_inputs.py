"""Turn scans into what a model of vLLM is given: preprocessed by the image processor that was saved with the model."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import ImageEmbeddingItems, MultiModalDataItems, MultiModalDataParser, ProcessorBatchItems
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
)

from argus_processing import CTVolume, read_ct
from modeling_argus import ArgusConfig

KINDS = "a path, a CTVolume, a nibabel image, (array, spacing_mm), or pixel values (1, D, H, W)"


class ScanItems(ProcessorBatchItems[Any]):
    """The scans of a request."""

    def __init__(self, data: Sequence[Any]):
        super().__init__([_opened(item) for item in data], "image")

    def get_item_for_hash(self, index: int) -> object:
        """Return what identifies a scan: its voxels and where they lie. vLLM would pickle a type it does not know."""
        item = self.data[index]
        if isinstance(item, CTVolume):
            return {"hu": item.hu, "affine": item.affine}
        if hasattr(item, "dataobj"):
            return {"data": np.asanyarray(item.dataobj), "affine": item.affine}
        return item


def _opened(item: Any) -> Any:
    """Read a path, once for all that vLLM does with it; refuse what is no scan.

    Raises:
        ValueError: if it is of another kind, without its content.
    """
    if isinstance(item, str | os.PathLike):
        return read_ct(item)
    is_pair = isinstance(item, tuple) and len(item) == 2
    if item is None or is_pair or isinstance(item, CTVolume | torch.Tensor) or hasattr(item, "dataobj"):
        return item  # None: vLLM has it in its cache
    raise ValueError(f"a scan is {KINDS}; got {type(item).__name__}")


class ScanParser(MultiModalDataParser):
    """Parser that takes scans where vLLM expects pictures."""

    def _parse_image_data(self, data: Any) -> Any:
        if data is None:
            return None
        # (1, D, H, W) or (B, 1, D, H, W) are pixel values; (num_tokens, width) are embeddings, as everywhere in vLLM.
        if isinstance(data, torch.Tensor) and data.ndim in (4, 5):
            return ScanItems([data] if data.ndim == 4 else list(data))
        if self.is_embeddings(data):
            return ImageEmbeddingItems(data, self.expected_hidden_size)
        return ScanItems(data if isinstance(data, list) else [data])


class ArgusProcessingInfo(BaseProcessingInfo):
    """Facts that vLLM asks about Argus's inputs."""

    def get_hf_config(self) -> ArgusConfig:
        """Return the model's configuration."""
        return self.ctx.get_hf_config(ArgusConfig)

    def get_data_parser(self) -> MultiModalDataParser:
        """Return the parser of scans and embeddings."""
        return ScanParser(expected_hidden_size=self._get_expected_hidden_size())

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Return the largest number of scans in a request: one, as in training."""
        return {"image": 1}

    @property
    def num_image_tokens(self) -> int:
        """Return the number of visual tokens of one volume."""
        return self.get_hf_processor().num_image_tokens

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Return the visual tokens of a volume; all volumes have the same number."""
        return {"image": self.num_image_tokens}


class BlankVolumes(BaseDummyInputsBuilder[ArgusProcessingInfo]):
    """Maker of the volume with which vLLM measures the memory that the tower needs."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Return one placeholder for each volume."""
        return self.info.get_hf_processor().image_token * mm_counts.get("image", 0)

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Any) -> dict[str, Any]:
        """Return pixel values of the model's grid, all zero."""
        size = self.info.get_hf_config().get_vision_config().image_size
        return {"image": [torch.zeros(1, *size)] * mm_counts.get("image", 0)}


class ArgusInputs(BaseMultiModalProcessor[ArgusProcessingInfo]):
    """Processor of requests: preprocesses scans, and puts placeholders for their visual tokens into the prompt."""

    def _call_hf_processor(self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        # Not vLLM's own call, which puts the data into the text of an error.
        volumes = [self._pixel_values(image) for image in hf_data["images"]]
        return BatchFeature({"pixel_values": torch.stack(volumes).to(self.info.ctx.model_config.dtype)})

    def _pixel_values(self, image: Any) -> torch.Tensor:
        """Return the pixel values `(1, D, H, W)` of a scan.

        Raises:
            ValueError: if given pixel values are not of the model's grid.
        """
        size = tuple(self.info.get_hf_config().get_vision_config().image_size)
        if isinstance(image, torch.Tensor) and image.ndim == 4:
            if image.shape != (1, *size):
                raise ValueError(f"pixel values of a scan are {(1, *size)}, got {tuple(image.shape)}")
            return image
        image, spacing_mm = image if isinstance(image, tuple) else (image, None)
        return self.info.get_hf_processor().image_processor(image, spacing_mm=spacing_mm)["pixel_values"][0]

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            "pixel_values": MultiModalFieldConfig.batched("image"),
            "image_embeds": MultiModalFieldConfig.batched("image"),
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        token, count = self.info.get_hf_config().image_token_id, self.info.num_image_tokens
        images = mm_items.get("image")  # None if vLLM's cache holds all of them
        if isinstance(images, ImageEmbeddingItems):
            sizes = {images.get_feature_size(index) for index in range(len(images))}
            if sizes - {count}:
                raise ValueError(f"the embeddings of a scan are {count} vectors, got {max(sizes - {count})}")
        return [PromptReplacement(modality="image", target=[token], replacement=[token] * count)]
