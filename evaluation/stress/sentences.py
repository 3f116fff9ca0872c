"""Split a report into sentences with their places, and change it at some of them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from argus_processing.report_text import split_sentences

from ..metrics.labels.assertion import PRESENT
from ..metrics.labels.rule_reader import locate_labels

# Lines, quotes and bullets part sentences.
_BREAK = re.compile(r"[\n\r\"“”•·]+")
# "Impression:" and "As far as can be seen:" stand before a sentence.
_HEAD = re.compile(r"[A-Z][\w ]{0,40}:\s+")
_STOP = re.compile(r"[.;!?]*$")
_ARTICLE = re.compile(r"\b([Aa])n? (?=(8\d*\b|11\b|18\b|[aeiou])?)", re.IGNORECASE)
_DANGLING_HEAD = re.compile(r"\s*\b[A-Z][\w ]{0,40}:\s*$")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a report.

    Attributes:
        start, end: its place, without a head such as "Impression:" and without its full stop.
        text: the report from `start` to `end`.
        stated: the labels that it states as present.
        section: the number of its section; a new one begins with a head at the start of a line.
    """

    start: int
    end: int
    text: str
    stated: frozenset[str] = frozenset()
    section: int = 0


Edit = tuple[int, int, str]  # from, to, new text


@lru_cache(maxsize=1 << 12)  # a reference is read for every change of it
def read_sentences(report: str) -> tuple[Sentence, ...]:
    """Return the sentences of a report, with the labels that they state."""
    stated = [mention for mention in locate_labels(report) if mention.status == PRESENT]
    sentences = []
    section = 0
    for start, end, opens in _places(report):
        section += opens
        labels = frozenset(mention.label for mention in stated if start <= mention.start < end)
        sentences.append(Sentence(start, end, report[start:end], labels, section))
    return tuple(sentences)


def _places(report: str) -> Iterator[tuple[int, int, bool]]:
    """Yield start and end of every sentence, and whether it opens a section."""
    start = 0
    for stop, after in [*(found.span() for found in _BREAK.finditer(report)), (len(report), len(report))]:
        for sentence in split_sentences(report[start:stop]):
            first = report.index(sentence, start)
            start = first + len(sentence)
            head = _HEAD.match(sentence)
            opens = head is not None and report[:first].rstrip(" \t").endswith("\n")
            body = _STOP.sub("", sentence[head.end() if head else 0 :])
            if body.strip():
                begin = first + (head.end() if head else 0)
                yield begin, begin + len(body), opens
        start = after


def apply_edits(report: str, edits: Iterable[Edit]) -> str:
    """Return a report with parts replaced; the parts do not overlap."""
    parts, place = [], 0
    for start, end, new in sorted(edits):
        parts += [report[place:start], new]
        place = end
    return "".join([*parts, report[place:]])


def remove_sentences(report: str, sentences: Iterable[Sentence]) -> str:
    """Return a report without some of its sentences, their full stops and a head that nothing follows."""
    edits = []
    for sentence in sentences:
        stop = re.compile(r"[.;!?]*[ \t]*").match(report, sentence.end)
        edits.append((sentence.start, stop.end() if stop else sentence.end, ""))
    return _DANGLING_HEAD.sub("", apply_edits(report, edits)).strip()


def capitalise(text: str) -> str:
    """Return a text with a capital as first letter."""
    return text[:1].upper() + text[1:]


def lower_first(text: str) -> str:
    """Return a text with a small first letter, unless its first word is an abbreviation such as "CT"."""
    return text if text[1:2].isupper() or text[1:2].isdigit() else text[:1].lower() + text[1:]


def fix_articles(text: str) -> str:
    """Return a text with "a" or "an" as the next word asks: "an 8 mm nodule", "a mild effusion"."""
    return _ARTICLE.sub(lambda found: f"{found[1]}{'n' if found[2] else ''} ", text)
