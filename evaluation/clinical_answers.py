"""What goes into the clinical metrics' models, and the answers that are kept of them."""

from collections.abc import Callable, Sequence
from functools import partial

from argus_processing.answer_store import answer_once

from .clinical_weights import ClinicalOptions
from .progress import progress_bar

CHUNK = 64


def keep_answers(
    options: ClinicalOptions, signature: str, questions: Sequence[str], ask: Callable, label: str
) -> list[str]:
    """Return an answer to each question, asking with a progress bar for those not yet kept under this signature."""
    with progress_bar() as progress:
        track = partial(progress.track, description=label)
        return answer_once(options.answers, signature, questions, ask, CHUNK, track)


def printable(text: str) -> str:
    """Return `text` without what tokenizers refuse: control characters become blanks, lone surrogates "?"."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text).strip()
