"""Which sentences of a report a CT cannot tell: rules that need no model (paper, appendix A).

A rule looks at one sentence. What a surgeon left behind is visible ("wires of a previous operation") and stays; what
was seen on another day is not, and goes. Advice to look further ("correlation with the laboratory") tells nothing of
the patient and stays. Background is told in many wordings ("CLL in follow-up", "case with mitral stenosis", "operated
for a tumor"); it goes, while an illness that explains what is seen ("compatible with lymphoma") stays. The words are in
vocabulary/, one file a rule; vocabulary/words.yaml tells how they are written.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

VOCABULARY = Path(__file__).with_name("vocabulary")
# In the order they are asked in.
NAMES = ("not_in_image", "measurement", "comparison")
_REASON, _HARMLESS, _CERTAIN, _CUE, _WORDS = "reason", "harmless", "certain", "cue", "words"
_NOTHING = "(?!)"
# Neither a word nor a blank: no phrase reaches over a place where a harmless one stood.
_TAKEN_OUT = " ; "
_NAME = re.compile(r"\{([a-z_]+)\}")
# A group that opens a phrase, without one inside, an ending or a repeat.
_GROUP = re.compile(r"\((?!\?)([^()]+)\)(?![?*+{])")
_GAP = r" (?:[^\s;]+ ){0,4}?"


@dataclass(frozen=True)
class SentenceRule:
    """Sentences with any of some phrases are dropped.

    Attributes:
        name: in logs and counts.
        reason: for people.
        phrases: regular expression of what is looked for anywhere in the sentence, in lower case.
        harmless: regular expression of what is taken out of the sentence first.
        certain: regular expression of what is looked for before anything is taken out.
        cue: regular expression of words without one of which `certain` is not looked for, for speed.
    """

    name: str
    reason: str
    phrases: str
    harmless: str
    certain: str
    cue: str

    # Compiled on first use: it takes a second, which nobody should wait for who only imports the package.
    @cached_property
    def pattern(self) -> re.Pattern:
        """`phrases`, compiled."""
        return re.compile(self.phrases)

    @cached_property
    def exempt(self) -> re.Pattern:
        """`harmless`, compiled."""
        return re.compile(self.harmless)

    @cached_property
    def sure(self) -> re.Pattern:
        """`certain`, compiled."""
        return re.compile(self.certain)

    @cached_property
    def hint(self) -> re.Pattern:
        """`cue`, compiled."""
        return re.compile(self.cue)

    def find(self, sentence: str) -> str | None:
        """Return the words of a lower-cased sentence that the rule is about, or None."""
        if self.hint.search(sentence) and (found := self.sure.search(sentence)):
            return found[0]
        if self.pattern.search(sentence) and (found := self.pattern.search(self.exempt.sub(_TAKEN_OUT, sentence))):
            return found[0]
        return None


def read_rules(folder: Path = VOCABULARY) -> tuple[SentenceRule, ...]:
    """Read a vocabulary: `words.yaml`, which phrases refer to, and one file a rule."""
    words = _read(folder, _WORDS)
    return tuple(_rule(name, _read(folder, name), words) for name in NAMES)


def _read(folder: Path, name: str) -> dict[str, str]:
    return yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))


def _rule(name: str, topics: dict[str, str], words: dict[str, str]) -> SentenceRule:
    reason = topics.pop(_REASON)
    harmless, certain, cue = (_whole(topics.pop(part, ""), words) for part in (_HARMLESS, _CERTAIN, _CUE))
    return SentenceRule(name, reason, _whole(";".join(topics.values()), words), harmless, certain, cue)


def _whole(phrases: str, words: dict[str, str]) -> str:
    """Return the expression of phrases that stand as whole words.

    Gathered by their first letter they are found five times as fast as in one long list.
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
    """Return what follows each first letter; under "" the patterns that do not begin with a certain one."""
    tails: dict[str, list[str]] = {}
    for pattern in patterns:
        plain = pattern[0].isalpha() and pattern[1:2] not in ("?", "*", "+", "{")
        tails.setdefault(pattern[0] if plain else "", []).append(pattern[plain:])
    return tails


def _split(phrases: str) -> list[str]:
    return [" ".join(phrase.split()).replace("| ", "|") for phrase in phrases.split(";") if phrase.strip()]


def _open(phrase: str, words: dict[str, str]) -> tuple[list[str], str]:
    """Return the words that a phrase may begin with and its rest: "(a|b) c" gives "a", "b" and " c"."""
    if (name := _NAME.match(phrase)) and phrase[name.end() : name.end() + 1] not in ("?", "{"):
        begins, rest = _split(words[name[1]]), phrase[name.end() :]
    elif group := _GROUP.match(phrase):
        begins, rest = group[1].split("|"), phrase[group.end() :]
    else:
        return [phrase], ""
    opened = [_open(begin, words) for begin in begins]
    return [first + last for firsts, last in opened for first in firsts], rest


def _fill_in(pattern: str, words: dict[str, str]) -> str:
    """Put the words for every {name}."""

    def any_of(name: re.Match) -> str:
        return "(?:" + "|".join(_fill_in(_translate(phrase), words) for phrase in _split(words[name[1]])) + ")"

    return _NAME.sub(any_of, pattern)


def _translate(phrase: str) -> str:
    """Return the regular expression of a phrase in the notation that the head of the vocabulary tells."""
    phrase = re.sub(r"(?<!\\\w)(?<=[\w)])\*", r"\\w*", phrase)
    phrase = re.sub(r"(?<!\\)\((?!\?)", "(?:", phrase)
    phrase = re.sub(r" (?![^\[]*\])", "[ -]", phrase)
    return phrase.replace("[ -]...[ -]", _GAP)


RULES = read_rules()


def judge_sentence(sentence: str) -> tuple[str, str] | None:
    """Return the first rule that a sentence falls under, with the words that it found, or None for one that stays."""
    sentence = sentence.lower()
    for rule in RULES:
        if (found := rule.find(sentence)) is not None:
            return rule.name, found
    return None
