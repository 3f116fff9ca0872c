"""Make changes of a report that do not change what it says: reword, reorder, swap synonyms, vary blanks.

Half of the places for a change are drawn, at least one. A change of a sentence is made only if the rules read the same
facts in it before and after.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np

from .report_facts import read_facts
from .sentences import Edit, Sentence, apply_edits, fix_articles, read_sentences
from .vocabulary_files import read_vocabulary, rewordings, words_pattern

SHARE = 0.5
ATTEMPTS = 8  # to find an order that leaves the facts as they are
BREAKS = ("  ", "\n", "\n\n", " \n", "   ")
_BETWEEN_SENTENCES = re.compile(r"(?<=[a-z)]\.) (?=[A-Z\"])")
_AFTER_COMMA = re.compile(r"(?<=,) (?=\S)")
_Item = TypeVar("_Item")


def reword_sentences(report: str, rng: np.random.Generator) -> str | None:
    """Construct sentences anew by the rules of the vocabulary."""
    edits = []
    for sentence in read_sentences(report):
        if options := _paraphrases(sentence.text):
            edits.append((sentence.start, sentence.end, options[int(rng.integers(len(options)))]))
    return apply_edits(report, _half(edits, rng)) if edits else None


def _paraphrases(sentence: str) -> list[str]:
    new = [fix_articles(made) for rule in rewordings("harmless", "paraphrases") if (made := rule.reword(sentence))]
    return [text for text in dict.fromkeys(new) if text != sentence and read_facts(text) == read_facts(sentence)]


def swap_synonyms(report: str, rng: np.random.Generator) -> str | None:
    """Replace words by synonyms of the vocabulary."""
    edits = []
    for sentence in read_sentences(report):
        edits += [(sentence.start + start, sentence.start + end, new) for start, end, new in _swaps(sentence.text, rng)]
    return apply_edits(report, _half(edits, rng)) if edits else None


def _swaps(sentence: str, rng: np.random.Generator) -> list[tuple[int, int, str]]:
    """Return the places of a sentence that can be swapped, with a drawn synonym; none touches another."""
    edits: list[tuple[int, int, str]] = []
    for found in _synonyms().finditer(sentence):
        others = _synonyms_of()[found[0].lower()]
        new = others[int(rng.integers(len(others)))]
        new = new[0].upper() + new[1:] if found[0][0].isupper() else new
        if read_facts(apply_edits(sentence, [(*found.span(), new)])) == read_facts(sentence):
            edits.append((*found.span(), new))
    return edits


@cache
def _synonyms_of() -> dict[str, tuple[str, ...]]:
    """Return the synonyms of each word or phrase, of all groups that it is in."""
    others: dict[str, list[str]] = {}
    for group in read_vocabulary("harmless")["synonyms"]:
        for word in group:
            others.setdefault(word, []).extend(other for other in group if other != word)
    return {word: tuple(dict.fromkeys(words)) for word, words in others.items()}


@cache
def _synonyms() -> re.Pattern[str]:
    longest_first = sorted(_synonyms_of(), key=lambda word: (-len(word), word))
    return words_pattern("|".join(map(re.escape, longest_first)))


def move_sentences(report: str, rng: np.random.Generator) -> str | None:
    """Exchange the places of sentences within each section; those that belong together stay so."""
    units = _units(report, read_sentences(report))
    sections = [[unit for unit in units if unit[0].section == number] for number in {unit[0].section for unit in units}]
    before = read_facts(report)
    for _ in range(ATTEMPTS):
        edits = [edit for section in sections for edit in _exchanged(report, section, rng)]
        changed = apply_edits(report, edits)
        if changed != report and read_facts(changed) == before:
            return changed
    return None


def _units(report: str, sentences: Sequence[Sentence]) -> list[list[Sentence]]:
    """Group sentences that must stay together: the later ones go on about the first, or it ends with a semicolon."""
    goes_on = words_pattern(read_vocabulary("harmless")["goes_on"])
    units: list[list[Sentence]] = []
    for sentence in sentences:
        last = units[-1][-1] if units else None
        if (
            last is not None
            and last.section == sentence.section
            and (goes_on.match(sentence.text) or report.startswith((";", ":"), last.end))
        ):
            units[-1].append(sentence)
        else:
            units.append([sentence])
    return units


def _exchanged(report: str, units: list[list[Sentence]], rng: np.random.Generator) -> list[Edit]:
    """Return the edits that put a drawn half of the units, two at least, into each other's places."""
    if len(units) < 2:
        return []
    count = max(2, round(SHARE * len(units)))
    slots = sorted(rng.choice(len(units), size=count, replace=False).tolist())
    spans = [(units[slot][0].start, _end_of(report, units[slot][-1])) for slot in slots]
    texts = [_ended(report[start:end]) for start, end in spans]
    return [
        (start, end, texts[source]) for (start, end), source in zip(spans, rng.permutation(count).tolist(), strict=True)
    ]


def _end_of(report: str, sentence: Sentence) -> int:
    """Return the end of a sentence with its full stop."""
    return sentence.end + (report[sentence.end : sentence.end + 1] in (".", "!", "?"))


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def vary_blanks(report: str, rng: np.random.Generator) -> str | None:
    """Put line ends and several blanks between sentences, and several blanks after commas."""
    between = [found.start() for found in _BETWEEN_SENTENCES.finditer(report)]
    edits = [(place, place + 1, BREAKS[int(rng.integers(len(BREAKS)))]) for place in between]
    edits += [(found.start(), found.end(), "  ") for found in _AFTER_COMMA.finditer(report)]
    return apply_edits(report, _half(edits, rng)) if edits else None


def _half(items: Sequence[_Item], rng: np.random.Generator) -> list[_Item]:
    """Return a drawn half of some items, in their order, one at least."""
    count = max(1, round(SHARE * len(items)))
    return [items[place] for place in sorted(rng.choice(len(items), size=count, replace=False).tolist())]
