"""The text of a report: cleaned, cut into sentences, counted."""

import re

_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "’": "'", "‘": "'"})
_HEADS = (
    "findings|impressions?|conclusions?|results?|report|comments?|diagnosis|opinion|technique|clinical information"
    "|clinical history|indication"
)
# A head stands at the start of a line or a sentence, and ends with a colon.
_HEAD = re.compile(rf"(^|[.;\n]\s*|\"\s*)(?:{_HEADS})(?: of the [a-z ]{{2,30}})?\s*:\s*", re.IGNORECASE)
_BULLET = re.compile(r"(?:^|(?<=\s))[•*·–-]\s+|^\s*\d{1,2}[.)]\s+(?=[A-Z])", re.MULTILINE)
_ABBREVIATIONS = "dr|mr|mrs|no|nr|vs|approx|fig|st|lt|rt|bilat|min|max|resp|incl|e\\.g|i\\.e|ca|ser|im|seq"
_END = re.compile(r"[.!?]+(?=\s|$|\")|;(?=\s)")
_NOT_AN_END = re.compile(rf"(?:\b(?:{_ABBREVIATIONS})|\b[A-Z])$", re.IGNORECASE)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\w+(?:['-]\w+)*|[^\w\s]")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def clean_report(text: str) -> str:
    """Return a report as one paragraph: no section heads, bullets, doubled quotes or stray whitespace.

    A line that does not end a sentence is closed with a full stop where the next one begins with a capital, so that
    two findings do not run into one.
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
    """Cut cleaned text into sentences; joined by a space they give the text again.

    A full stop inside a number or a date, after an abbreviation or an initial, does not end a sentence.
    """
    sentences, start = [], 0
    for end in _END.finditer(text):
        before = text[start : end.start()]
        if end[0] == "." and _NOT_AN_END.search(before):
            continue
        if sentence := text[start : end.end()].strip():
            sentences.append(sentence)
        start = end.end()
    if rest := text[start:].strip():
        sentences.append(rest)
    return [sentence for sentence in sentences if _WORD.search(sentence) or _TOKEN.search(sentence)]


def count_tokens(text: str) -> int:
    """Count words, numbers and punctuation marks. No language model's tokenizer is needed, or decides."""
    return len(_TOKEN.findall(text))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without numbers."""
    return [word.lower() for word in _WORD.findall(text)]
