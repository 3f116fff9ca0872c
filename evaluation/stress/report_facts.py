"""Read by rules what must change with a planted error and must not change otherwise: labels, sides, sizes and more."""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from ..metrics.labels.assertion import DENIED, PRESENT
from ..metrics.labels.rule_reader import locate_labels
from .vocabulary_files import read_vocabulary, words_pattern

SIDE = re.compile(r"\b(left|right|bilateral(?:ly)?|both)\b", re.IGNORECASE)
LOBE = re.compile(
    r"\b(?:(upper|middle|lower)(?=(?:\W+(?:and|or|upper|middle|lower|lung))*\W+lobes?\b)|(lingul)\w+)", re.IGNORECASE
)
# One number, or several as in "17 x 34 mm".
SIZE = re.compile(
    r"(?<![\w./])(?P<numbers>\d+(?:[.,]\d+)?(?:\s*[x×]\s*\d+(?:[.,]\d+)?)*)(?P<unit>\s*(?:mm|cm)\b)", re.IGNORECASE
)
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_BOTH = ("both", "bilateral", "bilaterally")


@dataclass(frozen=True)
class ReportFacts:
    """The facts of a report; all but the labels are sorted, with as many entries as mentions.

    Attributes:
        stated: labels that it states as present.
        denied: labels that it denies.
        sides: left, right and both.
        lobes: upper, middle, lower and lingula.
        sizes_mm: every measure.
        grades: low, medium and high, by words such as "mild".
        organs: the organs of `vocabulary/words.yaml`.
    """

    stated: frozenset[str]
    denied: frozenset[str]
    sides: tuple[str, ...]
    lobes: tuple[str, ...]
    sizes_mm: tuple[float, ...]
    grades: tuple[str, ...]
    organs: tuple[str, ...]


@lru_cache(maxsize=1 << 14)  # a reference is read for every change of it
def read_facts(report: str) -> ReportFacts:
    """Read the facts of a report."""
    mentions = locate_labels(report)
    return ReportFacts(
        stated=frozenset(mention.label for mention in mentions if mention.status == PRESENT),
        denied=frozenset(mention.label for mention in mentions if mention.status == DENIED),
        sides=tuple(sorted(map(side_of, SIDE.findall(report)))),
        lobes=tuple(sorted((lobe or lingula).lower() for lobe, lingula in LOBE.findall(report))),
        sizes_mm=tuple(sorted(size for found in SIZE.finditer(report) for size in _sizes_of(found))),
        grades=_read_names(report, _grades()),
        organs=_read_names(report, _organs()),
    )


def side_of(word: str) -> str:
    """Return the side that a word says: left, right or both."""
    return "both" if word.lower() in _BOTH else word.lower()


def _sizes_of(found: re.Match[str]) -> list[float]:
    scale = 10.0 if found["unit"].strip().lower() == "cm" else 1.0
    return [round(scale * float(number.replace(",", ".")), 3) for number in NUMBER.findall(found["numbers"])]


def _read_names(report: str, patterns: dict[str, re.Pattern[str]]) -> tuple[str, ...]:
    return tuple(name for name, pattern in patterns.items() for _ in pattern.finditer(report))


@cache
def _grades() -> dict[str, re.Pattern[str]]:
    words = read_vocabulary("words")
    stays = words["grade_stays"]
    return {
        grade: re.compile(rf"\b(?:{'|'.join(listed)})\b(?!\W+(?:{stays})\b)", re.IGNORECASE)
        for grade, listed in words["grades"].items()
    }


@cache
def _organs() -> dict[str, re.Pattern[str]]:
    return {organ: words_pattern(pattern) for organ, pattern in read_vocabulary("words")["organs"].items()}
