"""Read by rules where in the chest the labels of a report are said to be, and how large.

Sides, lobes and sizes belong to the wording of a label that they follow ("a nodule in the right upper lobe, 8 mm"), or
that they lead ("right upper lobe nodule, left effusion"), within one sentence; those of "the largest measures 8 mm" to
the sentence before.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .assertion import PRESENT
from .rule_reader import LabelMention, Sentence, read_sentences

DETAIL_RULES = "argus-label-details-v1"  # a new version whenever another detail may be read
LUNG_LABELS = (
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)
SIDED_LABELS = (*LUNG_LABELS, "Pleural effusion", "Medical material", "Lymphadenopathy")
SIZED_LABELS = (
    *("Lung nodule", "Lymphadenopathy", "Pleural effusion", "Pericardial effusion", "Hiatal hernia"),
    *("Consolidation", "Lung opacity", "Atelectasis", "Emphysema"),
)
LEFT, RIGHT = "left", "right"
_SIDES = {LEFT: (LEFT,), RIGHT: (RIGHT,), "both": (LEFT, RIGHT)}
_SIDE = (
    r"(?P<both>\bboth\b|\bbilateral(?:ly)?\b|\b(?:right (?:and|or) left|left (?:and|or) right)\b)"
    r"|\b(?P<left>left)\b|\b(?P<right>right)\b(?! (?:heart|cardiac|pulmonary arter))"
)
# Of the heart and its vessels, and of organs that are no part of the lungs.
_OTHER_SIDE = re.compile(
    r"\b(?:left|right) (?:ventric\w+|atri\w+|main|coronary|anterior descending|heart|cardiac|kidney|adrenal|renal"
    r"|thyroid|breast|circumflex|lobe of the (?:liver|thyroid)|(?:thyroid|liver) lobe|pulmonary arter\w+|hepatic)"
)
_LEVEL = (
    r"\b(?P<level>upper|middle|lower)(?=(?:(?:,| and|/| ?-) ?(?:upper|middle|lower))* (?:lung )?(?:lobes?|zones?)\b"
    r"(?: (?:of|in) (?:the )?(?P<of>left|right|both)\b)?)"
)
_SHORT = r"\b(?P<short>[rl][uml]l)\b|(?P<lingula>\blingul\w+)"
_NUMBER = r"\d{1,3}(?:[.,]\d{1,2})?"
_SIZE = (
    rf"(?P<size>\b{_NUMBER}(?:\s?(?:mm|cm)?\s?(?:x|×|\*|by)\s?{_NUMBER}){{0,2}})"
    r"\s?-?(?P<unit>mm|cm)\b(?!\s?(?:3|hg))"
)
_DETAIL = re.compile("|".join((_SHORT, _LEVEL, _SIDE, _SIZE)))
_NEW_PHRASE = re.compile(r"[,;:]|\band\b|\bwith\b")
_OF_THE_SENTENCE_BEFORE = re.compile(
    r"\s*(?:the )?(?:largest|biggest|larger|greatest|widest|thickest|it|they|this|these|one of)\b"
)


@dataclass
class LabelDetails:
    """Hold what a report tells of a label: sides (left, right), lobes such as "right upper lobe", sizes in mm."""

    sides: set[str] = field(default_factory=set)
    lobes: set[str] = field(default_factory=set)
    sizes_mm: set[float] = field(default_factory=set)


@dataclass(frozen=True)
class _Detail:
    """A wording of a detail in a sentence, from `start` to `end`: a side, a size, or a lobe's level with its side."""

    start: int
    end: int
    side: str = ""
    level: str = ""
    side_of_level: str = ""
    size_mm: float = 0.0


@dataclass
class _Group:
    """Mentions without a detail between them, and the details before and after them."""

    before: list[_Detail]
    mentions: list[LabelMention] = field(default_factory=list)
    after: list[_Detail] = field(default_factory=list)


def read_details(report: str) -> dict[str, LabelDetails]:
    """Return what a report tells of each label that it states as present."""
    found: dict[str, LabelDetails] = {}
    last: list[str] = []
    for sentence in read_sentences(report):
        present = [mention for mention in sentence.mentions if mention.status == PRESENT]
        details = list(_details_in(sentence.text))
        if sentence.mentions:
            last = list(dict.fromkeys(mention.label for mention in present))
            for label in last:
                found.setdefault(label, LabelDetails())
            for mentions, own in _assign(sentence, details):
                for mention in mentions:
                    if mention.status == PRESENT:
                        _add(found[mention.label], mention.label, own)
        elif details and _OF_THE_SENTENCE_BEFORE.match(sentence.text):
            for label in last:
                _add(found[label], label, details)
    return found


def _details_in(text: str) -> Iterator[_Detail]:
    """Yield the details of a sentence in the order of the text."""
    others = [match.span() for match in _OTHER_SIDE.finditer(text)]
    for match in _DETAIL.finditer(text):
        start, end = match.span()
        if match["size"]:
            for number in re.findall(_NUMBER, match["size"]):
                yield _Detail(
                    start, end, size_mm=float(number.replace(",", ".")) * (10 if match["unit"] == "cm" else 1)
                )
        elif match["level"]:
            yield _Detail(start, end, level=match["level"], side_of_level=match["of"] or "")
        elif match["lingula"]:
            yield _Detail(start, end, side=LEFT)
            yield _Detail(start, end, level="upper")
        elif match["short"]:
            side, level = match["short"][0], match["short"][1]
            yield _Detail(start, end, side={"l": LEFT, "r": RIGHT}[side])
            yield _Detail(start, end, level={"u": "upper", "m": "middle", "l": "lower"}[level])
        elif not any(first <= start < last for first, last in others):
            yield _Detail(start, end, side=next(side for side in _SIDES if match[side]))


def _assign(sentence: Sentence, details: list[_Detail]) -> Iterator[tuple[list[LabelMention], list[_Detail]]]:
    """Yield groups of mentions with the details that belong to them.

    Mentions without a detail between them share what comes next: "atelectasis and effusion on the right". What stands
    before the first mention belongs to its group.
    """
    groups: list[_Group] = []
    waiting: list[_Detail] = []
    items = sorted(
        [(mention.start - sentence.start, mention) for mention in sentence.mentions]
        + [(detail.start, detail) for detail in details],
        key=lambda item: item[0],
    )
    for place, (_, item) in enumerate(items):
        if isinstance(item, LabelMention):
            if not groups or groups[-1].after or waiting:
                groups.append(_Group(before=waiting))
                waiting = []
            groups[-1].mentions.append(item)
        elif not groups or _leads(sentence, item, groups[-1].mentions[-1], [later for _, later in items[place + 1 :]]):
            waiting.append(item)
        else:
            groups[-1].after.append(item)
    for group in groups:
        yield group.mentions, group.before + group.after


def _leads(sentence: Sentence, detail: _Detail, before: LabelMention, after: list) -> bool:
    """Return whether a detail between two mentions belongs to the second: before it, not after it, a phrase begins."""
    following = next((item for item in after if isinstance(item, LabelMention)), None)
    if following is None:
        return False
    since = sentence.text[before.end - sentence.start : detail.start]
    until = sentence.text[detail.end : following.start - sentence.start]
    return bool(_NEW_PHRASE.search(since)) and not _NEW_PHRASE.search(until)


def _add(found: LabelDetails, label: str, details: list[_Detail]) -> None:
    """Add details to a label, as far as it can have them."""
    if label in SIDED_LABELS:
        found.sides |= {side for detail in details if detail.side for side in _SIDES[detail.side]}
    if label in LUNG_LABELS:
        found.lobes |= {f"{side} {level} lobe" for side, level in _lobes(details)}
    if label in SIZED_LABELS:
        found.sizes_mm |= {detail.size_mm for detail in details if detail.size_mm}


def _lobes(details: list[_Detail]) -> Iterator[tuple[str, str]]:
    """Yield side and level of every lobe whose side is told: with it, right before it, or else first after it."""
    for place, detail in enumerate(details):
        if not detail.level:
            continue
        before = [other.side for other in details[:place] if other.side]
        after = [other.side for other in details[place + 1 :] if other.side]
        near = before[-1] if before else after[0] if after else ""
        side = RIGHT if detail.level == "middle" else detail.side_of_level or near
        for each in _SIDES.get(side, ()):
            yield each, detail.level
