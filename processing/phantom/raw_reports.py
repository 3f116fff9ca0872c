"""Make phantom reports as raw as a source's: with sentences that curation must drop, extra quotes and headings."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Own sentences, by the rule that must drop them.
INJECTED = {
    "not_in_image": (
        "Oxygen saturation is 91 percent.",
        "The patient is 64 years old.",
        "CRP is elevated.",
        "There was fever on admission.",
    ),
    "measurement": (
        "The largest finding measures 14 mm.",
        "The mean density is 37 HU.",
        "The aortic diameter is 3.4 cm.",
        "SUVmax is 4.1.",
    ),
    "comparison": (
        "This was not seen in the previous examination.",
        "No change compared to the CT dated 12.04.2021.",
        "The findings are stable.",
        "There is progression since the last study.",
    ),
}
_DIRTY_SHARE = 0.4
_SECOND_SHARE = 0.3
_QUOTED_SHARE = 0.2
_SHORT_SHARE = 0.06
_SHORT = "Normal study."
_SIGNED_SHARE = 0.5
_ATTESTATION = (
    "I have personally reviewed the images for this examination and agree with the report transcribed above. "
    "By: <hcw> on: <date>"
)
_CALL = "These findings were discussed with Dr. <hcw> by telephone on <date> at <time>."


@dataclass(frozen=True)
class RawReport:
    """A report as a source's table holds it.

    Attributes:
        text: the raw text.
        clean: the sentences that must remain after curation.
        injected: the added sentences, as (rule, sentence).
    """

    text: str
    clean: str
    injected: tuple[tuple[str, str], ...] = ()


Writer = Callable[[list[str], np.random.Generator], str]


def make_raw(report: str, seed: int, may_be_short: bool = True, write: Writer | None = None) -> RawReport:
    """Make a clean report raw; the same seed makes the same changes.

    Args:
        report: sentences, each ended by a full stop.
        seed: seed of the phantom.
        may_be_short: whether the report may be replaced by one that is too short to keep.
        write: makes the source's text from the sentences. Default: `write_quoted`.
    """
    rng = np.random.default_rng([seed, 11])
    if may_be_short and rng.random() < _SHORT_SHARE:
        return RawReport(_SHORT, _SHORT)
    injected = []
    if rng.random() < _DIRTY_SHARE:
        injected.append(_draw(rng))
        if rng.random() < _SECOND_SHARE:
            injected.append(_draw(rng))
    sentences = [sentence.rstrip(".") + "." for sentence in report.split(". ")]
    clean = " ".join(sentences)
    for _, sentence in injected:
        sentences.insert(int(rng.integers(0, len(sentences) + 1)), sentence)
    return RawReport((write or write_quoted)(sentences, rng), clean, tuple(injected))


def write_quoted(sentences: list[str], rng: np.random.Generator) -> str:
    """Write sentences as running text, some reports with a heading and extra quotes, as in CT-RATE."""
    if rng.random() < _QUOTED_SHARE:
        return f'"Findings:  {sentences[0]}  "" {" ".join(sentences[1:])} " '
    return " ".join(sentences)


def write_glued(sentences: list[str], rng: np.random.Generator) -> str:
    """Write sentences without a space after their full stops, as BIMCV-R's translation does."""
    del rng
    return re.sub(r"\.\s+(?=[^\W\d_])", ".", " ".join(sentences))


def write_numbered(sentences: list[str], rng: np.random.Generator) -> str:
    """Write sentences as a list inside the text, some with notes of who was informed and who signed, as in INSPECT."""
    items = [*sentences, _CALL] if rng.random() < _SIGNED_SHARE else sentences
    text = " ".join(f"{number}. {item}" for number, item in enumerate(items, 1)) if len(items) > 1 else items[0]
    return f"{text} {_ATTESTATION}" if rng.random() < _SIGNED_SHARE else text


def _draw(rng: np.random.Generator) -> tuple[str, str]:
    rule = list(INJECTED)[int(rng.integers(len(INJECTED)))]
    return rule, INJECTED[rule][int(rng.integers(len(INJECTED[rule])))]
