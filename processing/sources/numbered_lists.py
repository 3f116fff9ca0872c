"""Split lists in running text, "1. No embolism. 2. Small effusions.", into items without their numbers."""

import re

_MARK = re.compile(r"(?<![\w,/#-])(?<!\d\.)\(?(?P<number>\d{1,2})(?:[.)]|\.\))(?=\s|[^\W\d_]|$)")
_SENTENCE_END = re.compile(
    r"(?:\A|[.!?;:\n\r]|\b(?:conclusions?|impressions?|summary|findings?|diagnos[ei]s|opinion))[\"')\]\s]*\Z",
    re.IGNORECASE,
)
# Words before a number that belongs to them: "segment 2." names a place.
_TAKES_A_NUMBER = re.compile(
    r"\b(?:segments?|grade|type|stage|level|series|image|slice|zone|rib|score|class|category|phase|number|no|and|to|of)\s*\Z",
    re.IGNORECASE,
)
_CONTEXT = 40  # characters that are checked before a mark


def split_numbered(text: str) -> list[str]:
    """Return the items of a list numbered 1, 2, 3, ..., with any text before it first; other text is one item.

    A number counts as a mark only if it is the next one, so that "segment 2." or "T12. 3 nodules" are not split.
    """
    marks = list(_MARK.finditer(text))
    if not marks or _starts_no_list(text, marks[0]):
        return [part] if (part := text.strip()) else []
    cuts, expected, position = [], 1, 0
    while mark := _next_mark(text, marks, expected, position):
        cuts.append(mark)
        expected, position = expected + 1, mark.end()
        if not any(int(other["number"]) == expected for other in marks if other.start() >= position):
            # A second list, for example of an addendum, starts at 1 again.
            expected = 1
    starts = [0, *(mark.end() for mark in cuts)]
    ends = [*(mark.start() for mark in cuts), len(text)]
    return [part for start, end in zip(starts, ends, strict=True) if (part := text[start:end].strip())]


def ended(item: str) -> str:
    """Return an item as a sentence: with a full stop, unless it ends with another mark."""
    item = item.rstrip(" ,;:")
    return item if not item or item[-1] in ".!?" else f"{item}."


def _starts_no_list(text: str, mark: re.Match) -> bool:
    return int(mark["number"]) != 1 or not _SENTENCE_END.search(text[max(0, mark.start() - _CONTEXT) : mark.start()])


def _next_mark(text: str, marks: list[re.Match], expected: int, position: int) -> re.Match | None:
    """Return the mark of the expected number: after the end of a sentence, else before a capital letter."""
    found = [mark for mark in marks if int(mark["number"]) == expected and mark.start() >= position]
    after_end = [mark for mark in found if _SENTENCE_END.search(text[max(0, mark.start() - _CONTEXT) : mark.start()])]
    if after_end or expected == 1:
        return after_end[0] if after_end else None
    for mark in found:
        following = text[mark.end() :].lstrip()[:1]
        if following.isupper() and not _TAKES_A_NUMBER.search(text[max(0, mark.start() - _CONTEXT) : mark.start()]):
            return mark
    return None
