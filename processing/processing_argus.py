"""Make the model's inputs from CTs and instructions: `ArgusProcessor`."""

from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin, TextKwargs

from .image_processing_argus import (
    SETTINGS,
    ArgusImagesKwargs,
    check_options,
    flatten_images,
    list_of_images,
    refuse_unknown,
)

# Options of a call beside those of text and images.
_OWN_OPTIONS = (*ProcessingKwargs.__annotations__, "common_kwargs", "sanitize_control_tokens", "return_metadata")


class ArgusBatch(BatchFeature):
    """A model's inputs; placeholders in `labels` always become -100, whoever sets the labels.

    Collators, TRL's for conversations too, make labels from all tokens but padding. Placeholders are never written in a
    report, and a scan has hundreds of them: their loss would hide that of the report.

    Args:
        data: inputs by name.
        tensor_type: as in `BatchFeature`.
        skip_tensor_conversion: as in `BatchFeature`.
        image_token_id: id of the placeholder token.
    """

    def __init__(self, data=None, tensor_type=None, skip_tensor_conversion=None, image_token_id: int | None = None):
        self.image_token_id = image_token_id
        super().__init__(data, tensor_type, skip_tensor_conversion)

    def __setitem__(self, key: str, value: Any):
        if key == "labels" and self.image_token_id is not None:
            value = without_placeholders(value, self.image_token_id)
        super().__setitem__(key, value)

    def __getstate__(self):
        return {"data": self.data, "image_token_id": self.image_token_id}

    def __setstate__(self, state):
        self.image_token_id = state["image_token_id"]
        super().__setstate__(state)


def without_placeholders(labels: Any, image_token_id: int) -> Any:
    """Replace placeholders by -100 in labels: a tensor, an array or nested lists."""
    if isinstance(labels, torch.Tensor):
        return labels.masked_fill(labels == image_token_id, -100)
    if isinstance(labels, np.ndarray):
        return np.where(labels == image_token_id, -100, labels)
    if isinstance(labels, list | tuple):
        return [without_placeholders(label, image_token_id) for label in labels]
    return -100 if labels == image_token_id else labels


class ArgusProcessor(ProcessorMixin):
    """An image processor and a tokenizer, with the number of placeholder tokens that stand for one volume.

    Args:
        image_processor: `ArgusImageProcessor`.
        tokenizer: the language model's tokenizer; pads on the left, as generation from batches needs.
        num_image_tokens: visual tokens of one volume after compression, by the model's configuration.
        image_token: the placeholder, one token of the tokenizer's vocabulary.
        chat_template: Jinja template of a conversation with images.

    Raises:
        ValueError: if the placeholder is not one token.
    """

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        num_image_tokens: int = 256,
        image_token: str = "<|reserved_special_token_0|>",
        chat_template: str | None = None,
    ):
        ids = tokenizer.encode(image_token, add_special_tokens=False)
        if len(ids) != 1:
            raise ValueError(
                f"the image placeholder {image_token!r} must be one token of the tokenizer, got {len(ids)}"
            )
        self.num_image_tokens = num_image_tokens
        self.image_token = image_token
        self.image_token_id = ids[0]
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        # A tokenizer does not save its padding side; generation from a batch needs padding on the left.
        self.tokenizer.padding_side = "left"

    def __call__(self, images=None, text=None, videos=None, audio=None, **kwargs) -> ArgusBatch:
        """Read scans and tokenize text.

        Args:
            images: one scan, a list of scans that placeholders take in order, or a list of each sample's scans.
            text: one text or several, with a placeholder for each scan.
            videos, audio: refused.
            **kwargs: options of the tokenizer and of the image processor.

        Raises:
            CTReadError: if a scan cannot be read as a CT.
            ValueError: if a sample has more or fewer placeholders than scans, or an option is unknown.
        """
        batch = super().__call__(images=images, text=text, videos=videos, audio=audio, **kwargs)
        return ArgusBatch(batch.data, image_token_id=self.image_token_id)

    def prepare_inputs_layout(self, images=None, text=None, videos=None, audio=None, **kwargs):
        """Make a list from text; images stay unchanged, whatever their type."""
        if isinstance(text, str):
            text = [text]
        return images, None if text is None else list(text), videos, audio

    def validate_inputs(self, images=None, text=None, videos=None, audio=None, **kwargs):
        """Check that each sample has as many placeholders as images, that text is strings, and that options are known.

        Raises:
            ValueError: naming the given and the expected.
        """
        if videos is not None or audio is not None:
            raise ValueError("Argus takes CT volumes as `images` and `text`, neither video nor audio")
        if images is None and text is None:
            raise ValueError("give at least one of images and text")
        _check_call_options(kwargs)
        if text is None:
            return
        if not all(isinstance(sample, str) for sample in text):
            raise ValueError("text must be a string or a list of strings")
        placeholders = [sample.count(self.image_token) for sample in text]
        num_images = 0 if images is None else len(flatten_images(images))
        if sum(placeholders) != num_images:
            raise ValueError(
                f"{sum(placeholders)} image placeholder(s) {self.image_token} in the text, {num_images} image(s) given"
            )
        if images is not None:
            _check_samples(images, placeholders)

    def _process_images(self, images: Any, **kwargs) -> tuple[BatchFeature, list[str]]:
        scans = flatten_images(images)
        kwargs.pop("return_tensors", None)
        features = self.image_processor(scans, return_tensors="pt", **kwargs)
        return features, [self.image_token * self.num_image_tokens] * len(scans)


def _check_samples(images: Any, placeholders: list[int]) -> None:
    """Check that images grouped by sample match the placeholders of each sample.

    A flat list is used in order, unless it has one image per sample and the placeholders do not.

    Raises:
        ValueError: naming the first sample that does not fit.
    """
    groups = list_of_images(images)
    groups = [images] if groups is None else groups
    grouped = any(list_of_images(group) is not None for group in groups)
    if grouped and len(groups) != len(placeholders):
        raise ValueError(f"images of {len(groups)} sample(s) in lists, {len(placeholders)} text(s)")
    if not grouped and len(groups) != len(placeholders):
        return
    for index, (group, count) in enumerate(zip(groups, placeholders, strict=True)):
        num_images = len(flatten_images(group))
        if num_images != count:
            raise ValueError(
                f"sample {index}: {count} image placeholder(s) in its text, {num_images} image(s) given; "
                "give a list of each sample's images"
            )


def _check_call_options(options: dict[str, Any]) -> None:
    """Check that the options of a processor's call are known; transformers only warns about unknown ones.

    Raises:
        ValueError: naming them.
    """
    of_images, of_text = (*SETTINGS, *ArgusImagesKwargs.__annotations__), tuple(TextKwargs.__annotations__)
    check_options(options.get("images_kwargs") or {})
    refuse_unknown("option of text", list(options.get("text_kwargs") or {}), of_text)
    for other in ("videos_kwargs", "audio_kwargs"):
        refuse_unknown(f"option in {other}", list(options.get(other) or {}), ())
    for given in (options, options.get("common_kwargs") or {}):
        check_options({name: value for name, value in given.items() if name in of_images})
        refuse_unknown("option", list(given), (*of_text, *of_images, *_OWN_OPTIONS))


ArgusProcessor.register_for_auto_class("AutoProcessor")
