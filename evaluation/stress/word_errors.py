"""Make errors of one word: another side, lobe, grade or size, in every sentence of a report about the same finding."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from .report_facts import LOBE, NUMBER, SIDE, SIZE
from .sentences import Edit, Sentence, apply_edits, capitalise, fix_articles, read_sentences
from .vocabulary_files import read_vocabulary, words_pattern

OTHER_SIDE = {"left": "right", "right": "left"}
OTHER_LOBES = {"upper": ("lower",), "lower": ("upper",), "middle": ("upper", "lower")}
SMALL = 10.0  # a number below it is tripled, another one is halved
_NEVER = re.compile("(?!)")
_ARTICLE = re.compile(r"\b[Aa]n? $")


@dataclass(frozen=True)
class WordErrors:
    """A kind of words that can be wrong.

    Attributes:
        words: the words that are replaced.
        other: gives the word in the place of one that was found.
        kind: all words of the kind. In a sentence with different ones, only one word is replaced.
        skip: sentences that match it are left alone.
    """

    words: re.Pattern[str]
    other: Callable[[str, np.random.Generator], str]
    kind: re.Pattern[str]
    skip: re.Pattern[str] = _NEVER

    def plant(self, report: str, rng: np.random.Generator) -> str | None:
        """Replace one word of a sentence that states a label, and in all sentences that say it of the same label."""
        sentences = [sentence for sentence in read_sentences(report) if sentence.stated and self._fits(sentence.text)]
        if not sentences:
            return None
        chosen = sentences[int(rng.integers(len(sentences)))]
        places = list(self.words.finditer(chosen.text))
        found = places[int(rng.integers(len(places)))]
        other = self.other(found[0].lower(), rng)
        if self._is_mixed(chosen):
            edits = [_edit(chosen, found, other)]
        else:
            same = [each for each in sentences if each.stated & chosen.stated and not self._is_mixed(each)]
            edits = [
                _edit(sentence, match, other)
                for sentence in same
                for match in self.words.finditer(sentence.text)
                if match[0].lower() == found[0].lower()
            ]
        return _with_articles(report, edits)

    def _fits(self, sentence: str) -> bool:
        return not self.skip.search(sentence) and self.words.search(sentence) is not None

    def _is_mixed(self, sentence: Sentence) -> bool:
        return len({match[0].lower() for match in self.kind.finditer(sentence.text)}) > 1


def _edit(sentence: Sentence, found: re.Match[str], other: str) -> Edit:
    new = capitalise(other) if found[0][0].isupper() else other
    return sentence.start + found.start(), sentence.start + found.end(), new


def _with_articles(report: str, edits: list[Edit]) -> str:
    """Return a report with words replaced, and the article before each as the new word asks."""
    with_article = []
    for start, end, new in edits:
        before = _ARTICLE.search(report, 0, start)
        begin = before.start() if before else start
        with_article.append((begin, end, fix_articles(report[begin:start] + new)))
    return apply_edits(report, with_article)


def side_errors(report: str, rng: np.random.Generator) -> str | None:
    """Put a finding on the other side."""
    return _sides().plant(report, rng)


@cache
def _sides() -> WordErrors:
    words = read_vocabulary("words")
    sided = re.compile(rf"\b(?:left|right)\b(?!\W+(?:{words['side_stays']})\b)", re.IGNORECASE)
    skip = words_pattern(rf"{words['one_sided']}|(?:left|right)\W+(?:and|or|to)?\W*(?:left|right)")
    return WordErrors(sided, lambda word, rng: OTHER_SIDE[word], SIDE, skip)


def lobe_errors(report: str, rng: np.random.Generator) -> str | None:
    """Put a finding into another lobe of the same lung."""
    return _LOBES.plant(report, rng)


def _other_lobe(word: str, rng: np.random.Generator) -> str:
    others = OTHER_LOBES[word]
    return others[int(rng.integers(len(others)))]


_TWO_LOBES = r"(?:upper|middle|lower)\W+(?:(?:and|or|lobes?)\W+)*(?:upper|middle|lower)"
_LOBES = WordErrors(LOBE, _other_lobe, LOBE, words_pattern(rf"lingul\w+|{_TWO_LOBES}"))


def grade_errors(report: str, rng: np.random.Generator) -> str | None:
    """Call a slight finding severe, or a severe one slight."""
    return _grades().plant(report, rng)


@cache
def _grades() -> WordErrors:
    words = read_vocabulary("words")
    others = words["other_grade"]
    graded = re.compile(rf"\b(?:{'|'.join(others)})\b(?!\W+(?:{words['grade_stays']})\b)", re.IGNORECASE)
    return WordErrors(graded, lambda word, rng: others[word], graded)


def size_errors(report: str, rng: np.random.Generator) -> str | None:
    """Triple a size below 10 of its unit, or halve a larger one; "17 x 34 mm" is scaled as a whole."""
    return _sizes().plant(report, rng)


@cache
def _sizes() -> WordErrors:
    return WordErrors(SIZE, _other_size, SIZE, words_pattern(read_vocabulary("words")["no_size"]))


def _other_size(word: str, rng: np.random.Generator) -> str:
    del rng
    first = NUMBER.search(word)
    is_small = first is not None and float(first[0].replace(",", ".")) < SMALL
    return NUMBER.sub(lambda number: _scaled(number[0], 3.0 if is_small else 0.5), word)


def _scaled(number: str, factor: float) -> str:
    """Scale a number; it keeps its decimals and their sign."""
    mark = "," if "," in number else "."
    whole, _, decimals = number.partition(mark)
    scaled = factor * float(f"{whole}.{decimals or 0}")
    return f"{scaled:.{len(decimals)}f}".replace(".", mark)
