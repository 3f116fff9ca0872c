"""Which sentences of a report a CT cannot tell: rules that need no model (paper, appendix A).

A rule looks at one sentence. What a surgeon left behind is visible ("wires of a previous operation") and stays; what
was seen on another day is not, and goes. Advice to look further ("correlation with the laboratory") tells nothing of
the patient and stays. The words are in sentence_rules.yaml, by topic.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

VOCABULARY = Path(__file__).with_name("sentence_rules.yaml")
_REASON, _HARMLESS, _WORDS = "reason", "harmless", "words"
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
        pattern: found anywhere in the sentence, in lower case.
        exempt: what is taken out of the sentence before `pattern` decides.
    """

    name: str
    reason: str
    pattern: re.Pattern
    exempt: re.Pattern


def read_rules(path: Path = VOCABULARY) -> tuple[SentenceRule, ...]:
    """Read a vocabulary: `words` that phrases refer to, then one section a rule, in the order they are asked in."""
    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    words = sections.pop(_WORDS)
    return tuple(_rule(name, dict(topics), words) for name, topics in sections.items())


def _rule(name: str, topics: dict[str, str], words: dict[str, str]) -> SentenceRule:
    reason, harmless = topics.pop(_REASON), topics.pop(_HARMLESS)
    return SentenceRule(name, reason, _whole(";".join(topics.values()), words), _whole(harmless, words))


def _whole(phrases: str, words: dict[str, str]) -> re.Pattern:
    """Compile phrases that stand as whole words, gathered by their first letter: ten times as fast as a long list."""
    by_letter: dict[str, list[str]] = {}
    for phrase in _split(phrases):
        for pattern in map(_translate, _openings(phrase, words)):
            plain = pattern[0].isalpha() and pattern[1:2] not in ("?", "*", "+", "{")
            by_letter.setdefault(pattern[0] if plain else "", []).append(pattern[plain:])
    letters = "|".join(f"{letter}(?:{'|'.join(patterns)})" for letter, patterns in by_letter.items())
    return re.compile(rf"(?<!\w)(?:{_fill_in(letters, words)})(?!\w)")


def _split(phrases: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in phrases.split(";") if phrase.strip()]


def _openings(phrase: str, words: dict[str, str]) -> list[str]:
    """Return a phrase once for each word that it may begin with: "(a|b) c" gives "a c" and "b c"."""
    if (name := _NAME.match(phrase)) and phrase[name.end() : name.end() + 1] not in ("?", "{"):
        begins = _split(words[name[1]])
        rest = phrase[name.end() :]
    elif group := _GROUP.match(phrase):
        begins, rest = group[1].split("|"), phrase[group.end() :]
    else:
        return [phrase]
    return [opening for begin in begins for opening in _openings(begin + rest, words)]


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
        if rule.pattern.search(sentence) and (found := rule.pattern.search(rule.exempt.sub(_TAKEN_OUT, sentence))):
            return rule.name, found[0]
    return None
