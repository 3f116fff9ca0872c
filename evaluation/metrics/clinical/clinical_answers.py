"""Ask the clinical metrics' models, and keep their answers in a file."""

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from argus_processing.storage.answer_store import answer_once
from argus_processing.storage.progress import progress_bar

CHUNK = 64


class ClinicalModel(Protocol):
    """A model that answers questions about reports; questions and answers must be valid JSON values."""

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        """Return one answer to each question."""


class KeptModel:
    """A model whose answers are kept in a file; it is loaded when the first answer is missing there.

    Args:
        path: SQLite file of the answers.
        signature: everything that decides an answer: package, weights, settings.
        label: text beside the progress bar.
        load: function that loads the model.
        chunk: questions asked at a time.
    """

    def __init__(self, path: Path, signature: str, label: str, load: Callable[[], ClinicalModel], chunk: int = CHUNK):
        self._path, self._signature, self._label, self._load = path, signature, label, load
        self._chunk = chunk

    @cached_property
    def _model(self) -> ClinicalModel:
        return self._load()

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        """Return one answer to each question; equal questions are asked once."""
        texts = [json.dumps(question) for question in questions]
        with progress_bar() as progress:
            track = partial(progress.track, description=self._label)
            kept = answer_once(self._path, self._signature, texts, self._ask, self._chunk, track)
        return [json.loads(answer) for answer in kept]

    def _ask(self, texts: Sequence[str]) -> list[str]:
        return [json.dumps(answer) for answer in self._model.answer([json.loads(text) for text in texts])]


def printable(text: str) -> str:
    """Return `text` without characters that tokenizers refuse: control characters become blanks, surrogates "?"."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text).strip()


def pair_up(predictions: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs (prediction, reference) with printable text."""
    return [(printable(one), printable(other)) for one, other in zip(predictions, references, strict=True)]
