"""Recognise what words of a series' headers say, in several languages: body parts, phases, kernels, kinds of pictures.

The words are data (`words.yaml`), to which a site adds its own. Header texts are compared here and never quoted.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

WORDS_FILE = Path(__file__).with_name("words.yaml")
CHEST = "chest"
# In this order: a longer phrase of an earlier region is taken out first, so that "thoracic spine" is no chest.
REGIONS = ("spine", "heart", CHEST, "head", "neck", "abdomen", "pelvis", "limb")
PHASES = ("native", "pulmonary", "arterial", "venous", "contrast")
KERNELS = ("soft", "lung", "bone")
_PLAIN = str.maketrans({"ł": "l", "ı": "i", "ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d"})
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_GAP = re.compile(r"[^\w+]+|_+")
_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def plain_words(text: str) -> str:
    """Return a text in small letters without accents, its words apart by single spaces."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if unicodedata.category(letter) != "Mn")
    return " ".join(_GAP.sub(" ", unicodedata.normalize("NFC", bare).lower().translate(_PLAIN)).split())


def _both_ways(text: str) -> str:
    """Return the words of a text, and again with joined words such as "ThorRoutine" taken apart."""
    return f"{plain_words(text)} | {plain_words(_CAMEL.sub(' ', text))}"


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_word_pattern(word) for word in sorted(set(words), key=len, reverse=True)) or "(?!)")


def _word_pattern(word: str) -> str:
    bare = plain_words(word.removesuffix("*"))
    if _WITHOUT_SPACES.search(bare):
        return re.escape(bare)
    end = "[^\\W\\d_]*" if word.endswith("*") else ""
    return rf"(?<![^\W\d_]){re.escape(bare)}{end}(?![^\W\d_])"


@cache
def _known_words() -> dict[str, dict[str, list[str]]]:
    return yaml.safe_load(WORDS_FILE.read_text(encoding="utf-8"))


def known_topics() -> tuple[str, ...]:
    """Return the topics to which a site may add words."""
    return tuple(_known_words())


def known_languages() -> tuple[str, ...]:
    """Return the languages of the words."""
    return tuple(sorted({language for words in _known_words().values() for language in words}))


@dataclass(frozen=True)
class Vocabulary:
    """Patterns of the words of each topic."""

    patterns: Mapping[str, re.Pattern[str]]

    def has(self, topic: str, text: str) -> bool:
        """Return whether a text holds a word of a topic."""
        return bool(self.patterns[topic].search(_both_ways(text)))

    def regions_in(self, text: str) -> frozenset[str]:
        """Return the body parts that a text names."""
        words, found = _both_ways(text), set()
        for region in REGIONS:
            words, count = self.patterns[region].subn(" ", words)
            found |= {region} if count else set()
        return frozenset(found)

    def first_of(self, topics: Iterable[str], text: str) -> str:
        """Return the first of the topics of which a text holds a word; empty if it holds none."""
        return next((topic for topic in topics if self.has(topic, text)), "")


def vocabulary_of(languages: tuple[str, ...] = (), more: Mapping[str, list[str]] | None = None) -> Vocabulary:
    """Return the words of some languages (default: all) and of English, with a site's own words added."""
    chosen, more = {*languages, "en"} if languages else None, more or {}
    patterns = {}
    for topic, by_language in _known_words().items():
        words = [word for name, own in by_language.items() if chosen is None or name in chosen for word in own]
        patterns[topic] = _pattern([*words, *more.get(topic, [])])
    return Vocabulary(patterns)
