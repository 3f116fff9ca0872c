"""Read the vocabulary of the stress test: words, wordings of errors, harmless changes, and details of phantoms."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .sentences import capitalise, lower_first

VOCABULARY = Path(__file__).with_name("vocabulary")


@cache
def read_vocabulary(name: str) -> dict[str, Any]:
    """Return one file of the vocabulary."""
    return yaml.safe_load((VOCABULARY / f"{name}.yaml").read_text(encoding="utf-8"))


def words_pattern(words: str) -> re.Pattern[str]:
    """Return the pattern of whole words, ignoring case, from a regular expression."""
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Rewording:
    """A rule that words a sentence anew.

    Attributes:
        pattern: matches a whole sentence without its full stop.
        wording: the new sentence, with the pattern's groups by name.
    """

    pattern: re.Pattern[str]
    wording: str

    def reword(self, sentence: str) -> str | None:
        """Return the new sentence, with a capital if the old one had one; None if the rule does not fit."""
        found = self.pattern.fullmatch(sentence)
        if found is None:
            return None
        groups = {name: lower_first(text or "") for name, text in found.groupdict().items()}
        new = self.wording.format(**groups)
        return capitalise(new) if sentence[:1].isupper() else new


@cache
def rewordings(file: str, topic: str) -> tuple[Rewording, ...]:
    """Return the rules under a topic of a file."""
    rules = read_vocabulary(file)[topic]
    return tuple(Rewording(re.compile(pattern, re.IGNORECASE), wording) for pattern, wording in rules)
