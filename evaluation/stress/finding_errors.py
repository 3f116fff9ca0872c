"""Make errors of a whole finding: denied, stated, left out, invented, or told of another organ."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np

from ..metrics.labels.assertion import DENIED, PRESENT
from ..metrics.labels.rule_reader import locate_labels
from .sentences import Edit, Sentence, apply_edits, capitalise, fix_articles, read_sentences, remove_sentences
from .vocabulary_files import read_vocabulary, rewordings, words_pattern

_Item = TypeVar("_Item")
SIDES, LOBES = ("left", "right"), ("upper", "lower")


def deny_or_state(report: str, rng: np.random.Generator) -> str | None:
    """Deny a stated label wherever it is stated, or state a denied one in one sentence; each has half the chances."""
    makers = [_deny, _state]
    if rng.random() < 0.5:
        makers.reverse()
    return next((changed for make in makers if (changed := make(report, rng)) is not None), None)


def _deny(report: str, rng: np.random.Generator) -> str | None:
    sentences = read_sentences(report)
    for label in _shuffled(_stated_in(sentences), rng):
        own = [sentence for sentence in sentences if label in sentence.stated]
        new = [_reword(sentence.text, "denied") for sentence in own]
        edits = [(old.start, old.end, text) for old, text in zip(own, new, strict=True) if text is not None]
        if len(edits) == len(own):
            changed = apply_edits(report, edits)
            if label not in _labels_of(changed, PRESENT):
                return changed
    return None


def _state(report: str, rng: np.random.Generator) -> str | None:
    before = _labels_of(report, PRESENT)
    for sentence in _shuffled(read_sentences(report), rng):
        text = None if sentence.stated else _reword(sentence.text, "stated")
        if text is not None:
            changed = apply_edits(report, [(sentence.start, sentence.end, text)])
            if before < _labels_of(changed, PRESENT):
                return changed
    return None


def _reword(sentence: str, topic: str) -> str | None:
    return next((new for rule in rewordings("errors", topic) if (new := rule.reword(sentence)) is not None), None)


def omit_finding(report: str, rng: np.random.Generator) -> str | None:
    """Leave out every sentence that states one label."""
    sentences = read_sentences(report)
    labels = _shuffled(_stated_in(sentences), rng)
    if not labels:
        return None
    return remove_sentences(report, [sentence for sentence in sentences if labels[0] in sentence.stated])


def invent_finding(report: str, rng: np.random.Generator) -> str | None:
    """State a label that is not there, in the place of its denial; between two sentences if nothing is said of it."""
    invented = read_vocabulary("errors")["invented"]
    absent = sorted(invented.keys() - _labels_of(report, PRESENT))
    sentences = read_sentences(report)
    if not absent or not sentences:
        return None
    label = _shuffled(absent, rng)[0]
    wording = invented[label][int(rng.integers(len(invented[label])))]
    text = wording.format(side=SIDES[int(rng.integers(2))], lobe=LOBES[int(rng.integers(2))]).rstrip(".")
    if denials := _denials_of(report, label, sentences):
        return apply_edits(report, [(denials[0].start, denials[0].end, text)])
    before = sentences[int(rng.integers(len(sentences)))]
    return apply_edits(report, [(before.start, before.start, f"{text}. ")])


def _denials_of(report: str, label: str, sentences: Sequence[Sentence]) -> list[Sentence]:
    """Return the sentences that deny this label and name no other."""
    mentions = locate_labels(report)
    named = {
        sentence: {(found.label, found.status) for found in mentions if sentence.start <= found.start < sentence.end}
        for sentence in sentences
    }
    return [sentence for sentence, labels in named.items() if labels == {(label, DENIED)}]


def move_to_other_organ(report: str, rng: np.random.Generator) -> str | None:
    """Tell a stated label of another organ, wherever it is stated."""
    sentences = read_sentences(report)
    for label in _shuffled(_stated_in(sentences), rng):
        own = [sentence for sentence in sentences if label in sentence.stated]
        edits = [_moved(sentence, label) for sentence in own]
        made = [edit for edit in edits if edit is not None]
        if made and len(made) == len(own):
            return apply_edits(report, made)
    return None


def _moved(sentence: Sentence, label: str) -> Edit | None:
    for own, pattern, wording in _organ_rules():
        if own == label and (found := pattern.search(sentence.text)):
            new = wording.format(**{name: (text or "").lower() for name, text in found.groupdict().items()})
            text = sentence.text[: found.start()] + new + sentence.text[found.end() :]
            return sentence.start, sentence.end, fix_articles(capitalise(text) if not found.start() else text)
    return None


@cache
def _organ_rules() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    rules = read_vocabulary("errors")["organs"]
    return tuple((rule["label"], words_pattern(rule["from"]), rule["to"]) for rule in rules)


def _labels_of(report: str, status: str) -> frozenset[str]:
    return frozenset(mention.label for mention in locate_labels(report) if mention.status == status)


def _stated_in(sentences: Sequence[Sentence]) -> list[str]:
    return sorted({label for sentence in sentences for label in sentence.stated})


def _shuffled(items: Sequence[_Item], rng: np.random.Generator) -> list[_Item]:
    return [items[place] for place in rng.permutation(len(items)).tolist()]
