"""`ArgusProcessor`: CT and instruction to everything the model takes."""

from typing import Any

from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .image_processing_argus import flatten_images


class ArgusProcessor(ProcessorMixin):
    """An image processor and a tokenizer that agree on how many placeholder tokens stand for one volume.

    Args:
        image_processor: `ArgusImageProcessor`.
        tokenizer: the language model's tokenizer; pads on the left, so that batches generate.
        num_image_tokens: visual tokens of one volume after compression; the model's configuration says how many.
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
        # A tokenizer does not save its side; generation from a batch needs the left one.
        self.tokenizer.padding_side = "left"

    def prepare_inputs_layout(self, images=None, text=None, videos=None, audio=None, **kwargs):
        """Make lists of text and images; images stay as they came, whatever holds the CT."""
        if isinstance(text, str):
            text = [text]
        return (
            None if images is None else flatten_images(images),
            None if text is None else list(text),
            videos,
            audio,
        )

    def validate_inputs(self, images=None, text=None, videos=None, audio=None, **kwargs):
        """Refuse what cannot be matched: as many placeholders as images, text as strings.

        Raises:
            ValueError: naming what came and what was expected.
        """
        if videos is not None or audio is not None:
            raise ValueError("Argus takes CT volumes as `images` and `text`, neither video nor audio")
        if images is None and text is None:
            raise ValueError("give at least one of images and text")
        if text is None:
            return
        if not all(isinstance(sample, str) for sample in text):
            raise ValueError("text must be a string or a list of strings")
        placeholders = sum(sample.count(self.image_token) for sample in text)
        num_images = len(images or [])
        if placeholders != num_images:
            raise ValueError(
                f"{placeholders} image placeholder(s) {self.image_token} in the text, {num_images} image(s) given"
            )

    def _process_images(self, images: list[Any], **kwargs) -> tuple[BatchFeature, list[str]]:
        kwargs.pop("return_tensors", None)
        features = self.image_processor(images, return_tensors="pt", **kwargs)
        return features, [self.image_token * self.num_image_tokens] * len(images)


ArgusProcessor.register_for_auto_class("AutoProcessor")
