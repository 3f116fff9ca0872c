"""Decide by rules, without a model, which sentences of a report state facts that no CT shows (paper, appendix A).

A rule checks one sentence. Traces of surgery are visible ("wires of a previous operation") and such sentences stay;
comparisons with another day are not visible and are dropped. Advice ("correlation with the laboratory") tells nothing
about the patient and stays. Background has many wordings ("CLL in follow-up", "case with mitral stenosis", "operated
for a tumor") and is dropped, while an illness that explains a visible finding ("compatible with lymphoma") stays. The
words are in vocabulary/, one file per rule; vocabulary/words.yaml explains the notation.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

VOCABULARY = Path(__file__).with_name("vocabulary")
# In the order in which they are applied.
NAMES = ("not_in_image", "measurement", "comparison")
_REASON, _HARMLESS, _CERTAIN, _CUE, _WORDS = "reason", "harmless", "certain", "cue", "words"
_NOTHING = "(?!)"
# Neither a word nor a blank: no phrase matches across the place of a removed harmless one.
_TAKEN_OUT = " ; "
_NAME = re.compile(r"\{([a-z_]+)\}")
# A group at the start of a phrase, without a nested group, an ending or a repeat.
_GROUP = re.compile(r"\((?!\?)([^()]+)\)(?![?*+{])")
_GAP = r" (?:[^\s;]+ ){0,4}?"


@dataclass(frozen=True)
class SentenceRule:
    """A rule that drops sentences with any of its phrases.

    Attributes:
        name: name in logs and counts.
        reason: description for users.
        phrases: regular expression that is searched anywhere in the lower-cased sentence.
        harmless: regular expression of phrases that are removed from the sentence first.
        certain: regular expression that is searched before anything is removed.
        cue: regular expression of words; `certain` is searched only if one of them occurs, for speed.
    """

    name: str
    reason: str
    phrases: str
    harmless: str
    certain: str
    cue: str

    # Compiled on first use: it takes a second, which an import of the package should not take.
    @cached_property
    def pattern(self) -> re.Pattern:
        """Return `phrases`, compiled."""
        return re.compile(self.phrases)

    @cached_property
    def exempt(self) -> re.Pattern:
        """Return `harmless`, compiled."""
        return re.compile(self.harmless)

    @cached_property
    def sure(self) -> re.Pattern:
        """Return `certain`, compiled."""
        return re.compile(self.certain)

    @cached_property
    def hint(self) -> re.Pattern:
        """Return `cue`, compiled."""
        return re.compile(self.cue)

    def find(self, sentence: str) -> str | None:
        """Return the words of a lower-cased sentence that match the rule, or None."""
        if self.hint.search(sentence) and (found := self.sure.search(sentence)):
            return found[0]
        if self.pattern.search(sentence) and (found := self.pattern.search(self.exempt.sub(_TAKEN_OUT, sentence))):
            return found[0]
        return None


def read_rules(folder: Path = VOCABULARY) -> tuple[SentenceRule, ...]:
    """Read the rules from a vocabulary: `words.yaml`, to which phrases refer, and one file per rule."""
    words = _read(folder, _WORDS)
    return tuple(_rule(name, _read(folder, name), words) for name in NAMES)


def _read(folder: Path, name: str) -> dict[str, str]:
    return yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))


def _rule(name: str, topics: dict[str, str], words: dict[str, str]) -> SentenceRule:
    reason = topics.pop(_REASON)
    harmless, certain, cue = (_whole(topics.pop(part, ""), words) for part in (_HARMLESS, _CERTAIN, _CUE))
    return SentenceRule(name, reason, _whole(";".join(topics.values()), words), harmless, certain, cue)


def _whole(phrases: str, words: dict[str, str]) -> str:
    """Return a regular expression of phrases that match as whole words only.

    Grouped by first letter they are found five times as fast as in one long list.
    """
    if not phrases.strip():
        return _NOTHING
    by_letter: dict[str, list[str]] = {}
    for phrase in _split(phrases):
        begins, rest = _open(phrase, words)
        for letter, tails in _by_letter(map(_translate, begins)).items():
            by_letter.setdefault(letter, []).append(f"(?:{'|'.join(tails)}){_translate(rest)}")
    letters = "|".join(f"{letter}(?:{'|'.join(patterns)})" for letter, patterns in by_letter.items())
    return rf"(?<!\w)(?:{_fill_in(letters, words)})(?!\w)"


def _by_letter(patterns: Iterable[str]) -> dict[str, list[str]]:
    """Group patterns by first letter, without that letter; under "" those that do not begin with a fixed letter."""
    tails: dict[str, list[str]] = {}
    for pattern in patterns:
        plain = pattern[0].isalpha() and pattern[1:2] not in ("?", "*", "+", "{")
        tails.setdefault(pattern[0] if plain else "", []).append(pattern[plain:])
    return tails


def _split(phrases: str) -> list[str]:
    return [" ".join(phrase.split()).replace("| ", "|") for phrase in phrases.split(";") if phrase.strip()]


def _open(phrase: str, words: dict[str, str]) -> tuple[list[str], str]:
    """Split a phrase into its possible first words and its rest: "(a|b) c" gives "a", "b" and " c"."""
    if (name := _NAME.match(phrase)) and phrase[name.end() : name.end() + 1] not in ("?", "{"):
        begins, rest = _split(words[name[1]]), phrase[name.end() :]
    elif group := _GROUP.match(phrase):
        begins, rest = group[1].split("|"), phrase[group.end() :]
    else:
        return [phrase], ""
    opened = [_open(begin, words) for begin in begins]
    return [first + last for firsts, last in opened for first in firsts], rest


def _fill_in(pattern: str, words: dict[str, str]) -> str:
    """Replace every {name} by its words."""

    def any_of(name: re.Match) -> str:
        return "(?:" + "|".join(_fill_in(_translate(phrase), words) for phrase in _split(words[name[1]])) + ")"

    return _NAME.sub(any_of, pattern)


def _translate(phrase: str) -> str:
    """Return the regular expression of a phrase in the notation of vocabulary/words.yaml."""
    phrase = re.sub(r"(?<!\\\w)(?<=[\w)])\*", r"\\w*", phrase)
    phrase = re.sub(r"(?<!\\)\((?!\?)", "(?:", phrase)
    phrase = re.sub(r" (?![^\[]*\])", "[ -]", phrase)
    return phrase.replace("[ -]...[ -]", _GAP)


RULES = read_rules()


def judge_sentence(sentence: str) -> tuple[str, str] | None:
    """Return the first rule that drops a sentence, with the words that it found; None if the sentence stays."""
    sentence = sentence.lower()
    for rule in RULES:
        if (found := rule.find(sentence)) is not None:
            return rule.name, found
    return None
