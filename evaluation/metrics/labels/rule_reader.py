"""Read CT-RATE's 18 labels out of a report by rules, with the words that say each of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from argus_processing.report_text import split_sentences

from ..report_words import lower_in_place
from .assertion import DENIED, PAST, PRESENT, Assertions, split_statements
from .label_terms import LABEL_TERMS
from .organs import is_of_lungs, organ_of

RULES = "argus-label-rules-v3"  # a new version whenever another label may be read
_START = r"(?:^|(?<=[.;\n\"]))\s*"
# What is asked of the radiologist, or how the scan was made, is no finding.
_HEAD = re.compile(
    rf"{_START}(?P<unread>clinical (?:information|history|data|indication)"
    r"|(?:(?:past )?(?:medical|surgical) )?history|indications?|comparisons?|reason for (?:exam\w*|study)"
    r"|(?:examination |scan(?:ning)? )?(?:technique|protocol)|technical information)\s*:"
    rf"|{_START}(?:findings?|impressions?|conclusions?|results?|report|opinion|lungs?|mediastinum|pleura|heart)\s*:"
)
# Lines, quotes and bullets part sentences, and so does a full stop or a capital without the other.
_BREAK = re.compile(
    r"[\n\r\"“”•·]+|(?<=[a-z)?])\.(?=[A-Za-z])(?<!e\.g)(?<!i\.e)|(?<=[A-Za-z)])\.(?=\d{1,2}[.)]\s?[A-Z])"
    r"|(?<=[a-z)])\s+(?=(?:No|There|In both|Bilateral|It is)\s)"
)
# Items of a list that runs on in a line part sentences too.
_FIRST_ITEM = re.compile(r"(?:^|[\n:.])\s*\(?(?:1[.)]|a\))\s", re.MULTILINE)
_ITEM = re.compile(rf"{_BREAK.pattern}|(?<=\S)\s+(?=\(?(?:\d{{1,2}}[.)]|[b-h]\))\s)")

# A finding that was just denied or of the past is stated of another side or of today: "that on the left persists".
_AGAIN = re.compile(
    r"\W*(?:(?:but|and|while|whereas|however|although)\W+)?"
    r"(?:(?:(?:that|those|the ones?|one) (?:on|in|of|at) (?:the )?(?:\w+ ){1,4}?"
    r"|the (?:(?:left|right) ones?|others?) )"
    r"(?:persists?|remains?|continues?|(?:is|are|has|have)(?! (?:normal|clear|free|natural|negative|unremarkable)))"
    r"|(?:is|are) (?:seen|present|observed|noted|detected|found) (?:on|in|at)"
    r"|on the (?:left|right)(?: side)? there (?:is|are)(?=\W*$)|(?:today|currently|now),? (?:it|they) measures?)\b"
)


@dataclass(frozen=True)
class LabelMention:
    """A label that a report names, and the place of the words in the text (`start`, `end`).

    Attributes:
        label: one of `CT_RATE_LABELS`.
        status: `present`, `denied`, `uncertain` or `past`.
    """

    label: str
    start: int
    end: int
    status: str


@dataclass(frozen=True)
class Sentence:
    """A sentence that tells findings: its text in small letters, its place, and the mentions in it by their place."""

    text: str
    start: int
    mentions: tuple[LabelMention, ...]


def locate_labels(report: str) -> list[LabelMention]:
    """Read every mention of a label, in the order of the text; only those that are `present` count."""
    return [mention for sentence in read_sentences(report) for mention in sentence.mentions]


def read_sentences(report: str) -> Iterator[Sentence]:
    """Yield the sentences that tell findings, in the order of the text, each with its mentions."""
    text = lower_in_place(report)
    organ_before = ""
    gone_before: tuple[str, ...] = ()
    for start, end in _sentences(report):
        sentence = text[start:end]
        found, gone_before = _sentence_mentions(sentence, organ_before, gone_before)
        mentions = [LabelMention(label, start + first, start + last, status) for label, first, last, status in found]
        ordered = sorted(mentions, key=lambda mention: (mention.start, mention.end, mention.label))
        yield Sentence(sentence, start, tuple(ordered))
        organ_before = organ_of(sentence) or organ_before


def read_labels_by_rules(report: str) -> set[str]:
    """Return the labels that a report states as present."""
    return {mention.label for mention in locate_labels(report) if mention.status == PRESENT}


def _sentences(report: str) -> Iterator[tuple[int, int]]:
    """Yield the place of every sentence that tells findings.

    What stands under a head such as "Indication:" is left out up to the next head; the sentence of the head alone if
    none follows.
    """
    places = [place for piece in _pieces(report) for place in _place_sentences(report, *piece)]
    heads = [_HEAD.match(report[start:end].lower()) for start, end in places]
    last_read = max((index for index, head in enumerate(heads) if head and not head["unread"]), default=-1)
    unread = False
    for index, (place, head) in enumerate(zip(places, heads, strict=True)):
        if head:
            unread = bool(head["unread"])
        if not unread:
            yield place
        unread = unread and index < last_read


def _place_sentences(report: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for sentence in split_sentences(report[start:end]):
        first = report.index(sentence, start)
        start = first + len(sentence)
        yield first, start


def _pieces(report: str) -> Iterator[tuple[int, int]]:
    start = 0
    breaks = _ITEM if _FIRST_ITEM.search(report) else _BREAK
    for found in breaks.finditer(report):
        yield start, found.start()
        start = found.end()
    yield start, len(report)


Found = tuple[str, int, int, str]  # label, place in the sentence, status


@lru_cache(maxsize=1 << 16)  # reports repeat most of their sentences
def _sentence_mentions(
    sentence: str, organ_before: str, gone_before: tuple[str, ...]
) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """Return the mentions of a sentence, and the labels that its last statement calls absent or past."""
    mentions: list[Found] = []
    for span in split_statements(sentence):
        statement = sentence[span.start : span.end]
        assertions = Assertions(statement)
        again = _AGAIN.match(statement)
        own = list(_find_mentions(statement, sentence, organ_before))
        if again and not own:
            own = [(label, *again.span()) for label in gone_before]
        told = [(label, first, last, assertions.status(first, last)) for label, first, last in own]
        mentions += ((label, span.start + first, span.start + last, status) for label, first, last, status in told)
        gone_before = tuple(label for label, _, _, status in told if status in (DENIED, PAST))
    return tuple(mentions), gone_before


def _find_mentions(statement: str, sentence: str, organ_before: str) -> Iterator[tuple[str, int, int]]:
    for label, terms in LABEL_TERMS.items():
        for first, last, needs_lung in terms.find(statement):
            if not needs_lung or is_of_lungs(statement, first, last, sentence, organ_before):
                yield label, first, last
