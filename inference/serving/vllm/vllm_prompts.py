"""Make vLLM's prompts from scans, and reports from its answers, as `generate_batch` does it with transformers."""

import copy
import hashlib
import threading
from typing import Any

import torch
from transformers import GenerationConfig

from ..sent_embeddings import check_embeddings
from ..serve_prompts import prompt_tokens


class VllmPrompts:
    """Maker of prompts for one model; several threads may use it.

    Args:
        processor: the model's.
        hidden_size: width of the language model's embeddings.
        dtype: the model's data type, in which pixel values are sent to vLLM.
    """

    def __init__(self, processor: Any, hidden_size: int, dtype: torch.dtype) -> None:
        # A tokenizer of its own: one that two threads use at a time refuses one of them.
        self._processor = copy.deepcopy(processor)
        self._hidden_size, self._dtype = hidden_size, dtype
        self._lock = threading.Lock()

    @property
    def image_processor(self) -> Any:
        """Return what makes pixel values of scans."""
        return self._processor.image_processor

    def prompt(self, scan: Any, instruction: str, volumes: Any | None = None) -> dict[str, Any]:
        """Make the prompt for a scan, or for its visual tokens `(num_tokens, hidden_size)`.

        Args:
            scan: what the image processor takes, or a tensor of visual tokens.
            instruction: the instruction.
            volumes: image processor, or the cache of its volumes. Default: the model's image processor.

        Raises:
            ScanNotReadError: if the visual tokens are of another model's shape.
            CTReadError: if the scan cannot be preprocessed.
        """
        if isinstance(scan, torch.Tensor):
            tokens = check_embeddings(scan, self._processor.num_image_tokens, self._hidden_size)
            image: Any = tokens.to(self._dtype)[None]
        else:
            image = (volumes or self.image_processor)(scan)["pixel_values"][0].to(self._dtype)
        return self.prompt_of_pixels(image, instruction)

    def prompt_of_pixels(self, image: torch.Tensor, instruction: str) -> dict[str, Any]:
        """Make the prompt for pixel values `(1, D, H, W)` or embeddings `(1, num_tokens, hidden_size)`."""
        with self._lock:
            tokens = prompt_tokens(self._processor, instruction)
        image = image.contiguous()
        # By its numbers a scan that is asked about again is found in vLLM's caches.
        digest = hashlib.sha256(str(image.shape).encode() + image.view(torch.uint8).numpy().data).hexdigest()
        return {
            "prompt_token_ids": tokens,
            "multi_modal_data": {"image": image},
            "multi_modal_uuids": {"image": [digest]},
        }


def end_tokens(model_dir: Any) -> set[int]:
    """Return the tokens that end a report of a saved model (Llama 3 has two).

    Raises:
        ValueError: if its generation configuration names none.
    """
    ends = GenerationConfig.from_pretrained(model_dir).eos_token_id
    if ends is None:
        raise ValueError(f"{model_dir}: the generation configuration names no end token (eos_token_id)")
    return {ends} if isinstance(ends, int) else set(ends)
