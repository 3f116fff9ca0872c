"""Clean the text of a report, split it into sentences and count its tokens."""

import re
from collections.abc import Iterator

_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "’": "'", "‘": "'"})
_HEADS = (
    "findings|impressions?|conclusions?|results?|report|comments?|diagnosis|opinion|technique|clinical information"
    "|clinical history|indication"
)
# A head stands at the start of a line or a sentence, and ends with a colon.
_HEAD = re.compile(rf"(^|[.;\n]\s*|\"\s*)(?:{_HEADS})(?: of the [a-z ]{{2,30}})?\s*:\s*", re.IGNORECASE)
_BULLET = re.compile(r"(?:^|(?<=\s))[•*·–-]\s+|^\s*\d{1,2}[.)]\s+(?=[A-Z])", re.MULTILINE)
# Abbreviations whose full stop ends no sentence: always, before a number, before a small letter or a number.
_ALWAYS = "dr|prof|mr|mrs|ms|st|vs|approx|incl|resp|cf|e\\.g|i\\.e|et al"
_BEFORE_NUMBER = "no|nos|nr|fig|figs|ser|im|img|seq|sec|vol|pp|ca"
_BEFORE_SMALL = (
    "lab|labs|clin|pathol?|histol?|hist|exam|diff|diag|min|max|lt|rt|bilat|sup|inf|ant|post|lat|med|prox|dist|seg|lob"
    "|abd|thor|lum|temp|para|iv|po|sc|[a-z]|(?:[a-z]\\.)+[a-z]"
)
_END = re.compile(r"[.!?]+(?=\s|$|\")|;(?=\s)")
_NEVER_AN_END = re.compile(rf"\b(?:{_ALWAYS})$", re.IGNORECASE)
_NUMBER_EXPECTED = re.compile(rf"\b(?:{_BEFORE_NUMBER})$", re.IGNORECASE)
_SMALL_EXPECTED = re.compile(rf"\b(?:{_BEFORE_SMALL})$", re.IGNORECASE)
_NUMBER = re.compile(r"\s+[#\d]")
_SMALL = re.compile(r"\s+[a-z\d]")
# "J. Smith", but not "hepatitis B. The liver".
_INITIAL = re.compile(r"\b[A-Z]$")
_LETTERED = re.compile(
    r"\b(?:types?|class|grade|stage|group|category|level|segment|zone|hepatitis|vitamin|influenza|stanford) [A-Z]$",
    re.IGNORECASE,
)
# "The 5-6. ribs", "the T12. vertebra".
_ORDINAL = re.compile(r"\b[CTLS]?\d{1,2}(?:[-/,] ?[CTLS]?\d{1,2})*$")
_COUNTED = re.compile(
    r"\s+(?:(?:and|or) \S*\d|(?:right |left |thoracic |lumbar |cervical |anterior |posterior |lateral )*"
    r"(?:ribs?|costa\w*|vertebra\w*|intercostal|segments?|months?|weeks?|days?|years?)\b)"
)
_LINE = re.compile(r"[^\n]+")
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\w+(?:['-]\w+)*|[^\w\s]")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def clean_report(text: str) -> str:
    """Return a report as one paragraph, without section heads, bullets, doubled quotes or extra whitespace.

    A line that does not end a sentence gets a full stop if the next one begins with a capital, so that two findings are
    not joined.
    """
    text = text.translate(_QUOTES).replace("\ufeff", "").replace("\u00a0", " ").replace("\r", "\n")
    text = text.replace('"', " ")
    text = _HEAD.sub(lambda match: match[1], _BULLET.sub("", text))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    lines = [line for line in lines if line]
    for index, following in enumerate(lines[1:]):
        if following[0].isupper() and lines[index][-1] not in ".!?;:,":
            lines[index] += "."
    text = _HEAD.sub(lambda match: match[1], " ".join(lines))
    return re.sub(r"\s+([.,;:!?])", r"\1", text).strip()


def split_sentences(text: str) -> list[str]:
    """Split cleaned text into sentences; joined by a space they are the same text again.

    A full stop inside a number or a date, after an abbreviation, an ordinal or an initial, does not end a sentence.
    """
    return [text[start:end] for start, end in _spans(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence of a text as it is, in which a line's end ends a sentence too.

    A head, such as "Findings:", belongs to no sentence.
    """
    spans = []
    for line in _LINE.finditer(text):
        for start, end in _spans(line[0]):
            head = _HEAD.match(line[0][start:end])
            first = start + (head.end() if head else 0)
            if first < end:
                spans.append((line.start() + first, line.start() + end))
    return spans


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence, without the space around it."""
    start = 0
    for end in _END.finditer(text):
        if end[0] != "." or _ends(text[start : end.start()], text, end.end()):
            yield from _stripped(text, start, end.end())
            start = end.end()
    yield from _stripped(text, start, len(text))


def _stripped(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    part = text[start:stop]
    if part.strip():
        yield start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _ends(before: str, text: str, position: int) -> bool:
    """Return whether the full stop between `before` and `text[position:]` ends a sentence."""
    if _NEVER_AN_END.search(before):
        return False
    if _INITIAL.search(before) and text[position:].strip():
        return bool(_LETTERED.search(before)) and not _SMALL.match(text, position)
    if _NUMBER_EXPECTED.search(before) and _NUMBER.match(text, position):
        return False
    if _SMALL_EXPECTED.search(before) and _SMALL.match(text, position):
        return False
    return not (_ORDINAL.search(before) and _COUNTED.match(text, position))


def count_tokens(text: str) -> int:
    """Count words, numbers and punctuation marks, independent of any language model's tokenizer."""
    return len(_TOKEN.findall(text))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without numbers."""
    return [word.lower() for word in _WORD.findall(text)]
