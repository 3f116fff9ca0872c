"""Read texts with visual tokens in llama.cpp, and go on with them token by token."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .llama_library import GgufContext, GgufModel

SPARE_TOKENS = 1024  # room for a report behind the prompt; with a longer one, all is read again in a larger context


class TextReader:
    """Texts that a language model reads together, of which it remembers what it has read.

    Attributes:
        num_threads: of llama.cpp.
    """

    def __init__(self, language: GgufModel, placeholder: int, num_threads: int) -> None:
        """Take a model, and the token in whose places visual tokens are read."""
        self.num_threads = num_threads
        self._language, self._placeholder = language, placeholder
        self._context: GgufContext | None = None
        self._texts: list[list[int]] = []
        self._seen: Any = None

    def read(self, texts: list[list[int]], seen: Any, visual_tokens: Callable[[], torch.Tensor | None]) -> np.ndarray:
        """Return the logits after the last token of each text, `(texts, vocabulary)`.

        If each text is the one that was read before, and one more token, only that token is read.

        Args:
            texts: token ids of each text.
            seen: object that stands for the texts' scans; another object means other scans.
            visual_tokens: gives their projected tokens, `(texts, num_tokens, num_embeddings)`, or None without scans.

        Raises:
            ValueError: if a text has more or fewer placeholders than visual tokens.
            MemoryError, RuntimeError: if llama.cpp has no room or fails.
        """
        context = self._context
        goes_on = seen is self._seen and [text[:-1] for text in texts] == self._texts
        if context is not None and goes_on and max(map(len, texts)) <= context.length:
            logits = context.read([text[-1] for text in texts], range(len(texts)), [len(text) - 1 for text in texts])
        else:
            self._texts = []
            logits = self._read_whole(texts, visual_tokens())
        self._texts, self._seen = texts, seen
        return logits

    def _read_whole(self, texts: list[list[int]], features: torch.Tensor | None) -> np.ndarray:
        """Read texts from their beginning."""
        longest, context = max(map(len, texts)), self._context
        if context is None or context.num_sequences < len(texts) or context.length < longest:
            context = self._context = None  # its memory is freed before more is asked for
            context = self._language.open(len(texts), longest + SPARE_TOKENS, self.num_threads)
        self._context = context
        context.clear()
        parts = [self._parts(text, None if features is None else features[row]) for row, text in enumerate(texts)]
        return np.concatenate([_read_parts(context, row, own) for row, own in enumerate(parts)])

    def _parts(self, text: Sequence[int], features: torch.Tensor | None) -> list[Sequence[int] | np.ndarray]:
        """Cut a text into what stands before, in and after the place of its scan."""
        places = [index for index, token in enumerate(text) if token == self._placeholder]
        count = 0 if features is None else len(features)
        if len(places) != count or (places and places[-1] - places[0] + 1 != count):
            raise ValueError(
                f"Image features and image tokens do not match: {count} visual tokens, "
                f"{len(places)} placeholder tokens in the text"
            )
        if features is None:
            return [text]
        visual = features.detach().float().cpu().numpy()
        return [part for part in (text[: places[0]], visual, text[places[-1] + 1 :]) if len(part)]


def _read_parts(context: GgufContext, row: int, parts: list[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Read the parts of a text one after another; return the logits after the last, `(1, vocabulary)`."""
    position, logits = 0, np.empty((0, 0), np.float32)
    for part in parts:
        logits = context.read(part, [row] * len(part), range(position, position + len(part)))
        position += len(part)
    return logits
