"""Decide for wordings in a sentence whether a finding is stated, denied, doubted, of the past, or only mentioned."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

PRESENT, DENIED, UNCERTAIN, PAST = "present", "denied", "uncertain", "past"

# A comma, "and" or "but" may begin a new statement.
_JOINT = re.compile(
    r"\s*(?:,|\band\b|\bbut\b|\bhowever\b|\balthough\b|\bthough\b|\bwhile\b|\bwhereas\b|\byet\b|\s-\s)+\s*"
)
_ALWAYS_JOINT = re.compile(r"\b(?:but|however|although|though|whereas)\b")
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|show(?:s|ed)?|causes?|contains?|extends?|continues?|seems?|appears?|lies|lie"
    r"|reaches|measures|remains?|suggests?|exists?)\b"
)
_RELATIVE = re.compile(r"\b(?:which|that|who|whose|where|when|as)\s+(?:\w+\s+){0,3}$")
# What follows a denial and a comma with such a word is there: "no pneumothorax, minimal effusion".
_QUANTITY = re.compile(
    r"(?:several|some|many|multiple|numerous|minimal|mild|moderate|slight|small|large|massive|diffuse|widespread"
    r"|prominent|significant increase|there (?:is|are|was|were)|only|stable|millimetric|an?)\b(?! or\b)"
)

# Denials of what comes after them.
_DENIES = re.compile(
    r"\b(?:no|not|\w+n't|never|without|neither|nor|absence of|lack of|free of|free from|clear of|negative for|devoid of"
    r"|(?<!partial )(?<!near )resolution of|disappearance of|removal of|ruled out|excludes|denies|instead of"
    r"|rather than|cannot see)\b"
)
# "No change in the effusion" denies a change, not the effusion.
_CHANGE = (
    r"(?:changes?|differences?|increase|decrease|progression|regression|reduction|growth|alteration|interval"
    r"|enlargement|improvement|worsening|evidence of change|variation)"
)
_DENIES_NO_FINDING = re.compile(
    rf"\b(?:no|not|without)\b(?:\s+\w+){{0,4}}?\s+{_CHANGE}\b(?!\s+in\s+(?:[\w-]+\s+){{0,3}}?[\w-]*(?:wall|thickness))"
    r"|\bnot\s+(?:only|significantly|exceed\w*|reach\w*|chang\w*|differ\w*|typical|specific|optimal\w*|given|performed"
    r"|included|enter\w*|suitable|adequate|sufficient|clear\w*|certain|fully|completely|entirely)\b"
    r"|\b(?:not|\w+n't|cannot)\s+(?:be\s+)?(?:\w+ly\s+)?(?:evaluated|excluded|characteri[sz]ed|ruled|differentiated"
    r"|assessed|distinguished from|separated|made|achieved|categori[sz]ed|measured)\b"
    r"|\bno\s+(?:longer|doubt|contrast|iv)\b"
)
# Denials of what stands before them.
_BE = r"(?:is|are|was|were|be|been|being|has been|have been|had been)"
_SEEN = (
    r"(?:detected|observed|seen|found|identified|noted|present|selected|distinguished|visuali[sz]ed|noticed|monitored"
    r"|encountered|shown|demonstrated|recogni[sz]ed|evident|apparent|available|existing|visible|appreciated|there"
    r"|in question|reported|revealed|determined|traced|enlarged)"
)
_DENIES_BEFORE = re.compile(
    rf"\b(?:{_BE}\s+)?(?:also\s+|clearly\s+)?(?:not|never|no longer)\s+(?:\w+ly\s+)?(?:be\s+|been\s+)?{_SEEN}\b"
    rf"|\babsent\b|\b{_BE}\s+(?:\w+\s+)?(?:excluded|ruled out|negative|unlikely)\b|:\s*(?:no|none|negative)\b"
    r"|\b(?:has|have|had|is|are|was|were)\s+(?:\w+\s+)?(?:disappeared|resolved|resorbed|cleared)\b"
    rf"|\b(?:(?:has|have|had)\s+been|{_BE})\s+(?:removed|resected|extracted|replaced\s+(?:by|with))\b"
    r"|\b(?:complete|total|full)(?:ly)?\s+(?:regress\w*|resol\w+|resor\w+|disappear\w*|respon\w+|clear\w*)\b"
    r"|\b(?:is|are|was|were)\s+not\b(?=\s*(?:$|[.,)]))"
)
_NEARLY = re.compile(r"\b(?:near(?:ly)?|almost|not|no|partial\w*)\s+$")
# The reach of a denial ends here; that of one which looks ahead also where its own place is told.
_CONTRAST = r"(?:except|apart from|other than|besides|aside from|but|however|although|though|whereas|while)"
# "No nodule other than the calcified one" denies others.
_EXCEPTED = re.compile(r"\s*(?:except(?: for)?|apart from|other than|besides|aside from)\b[^,;.]*\bones?\b")
_REASON = r"(?:only|due to|because|since|secondary to|owing to|caused by|so|accompanied by|accompanying)"
_BACK_END = re.compile(rf"\b(?:{_CONTRAST}|{_REASON})\b|;")
_AHEAD_END = re.compile(rf"\b(?:{_CONTRAST}|{_REASON}|in (?:this|these|the (?:described|defined|mentioned)))\b|;")

_BEFORE_EXAM = (
    r"(?:in|on|at|by)\s+(?:the\s+|his\s+|her\s+|their\s+|a\s+)?(?:patient's\s+)?"
    r"(?:previous|prior|old|older|earlier|former|last|past|preceding|first|initial)\b"
)
_EARLIER = re.compile(_BEFORE_EXAM)
_SEEN_EARLIER = re.compile(
    r"\b(?:was|were|had been)\s+(?:also\s+)?(?:observed|seen|present|detected|noted|found|available|existing)\s+"
    + _BEFORE_EXAM
)
_KNOWN_BEFORE = re.compile(
    r"\b(?:(?:previous )?history of|known (?:history|case|diagnosis)(?: of)?|operated (?:for|due to)|anamnesis of"
    r"|clinical(?:ly)? (?:knowledge|information|history) of|preliminary diagnosis of|resected|removed)\b[^,;]*"
)
# What a further examination is asked for is not seen, but "the described nodules" are.
_ASKED = re.compile(
    r"\b(?:recommend\w* (?:\w+ ){0,6}?(?:for|in terms of|in favou?r of)|(?:evaluat\w+|investigat\w+) for|in terms of"
    r"|to rule out|differential(?: diagnosis)?|screening|correlat\w+ (?:\w+ ){0,5}?for|risk of)"
    r"(?!\s+(?:the|this|these|described|defined|mentioned)\b)"
)
# "X cannot be excluded" and "X could not be evaluated" doubt what stands before, "cannot exclude X" what comes.
_CANNOT = r"(?:cannot|can not|could not|can't|couldn't|not)"
_DOUBTS_BEFORE = re.compile(
    rf"\b{_CANNOT}\s+(?:be\s+)?(?:\w+ly\s+)?(?:be\s+)?(?:excluded|ruled out|evaluated|assessed)\b"
)
_DOUBTS_AHEAD = re.compile(rf"\b{_CANNOT}\s+(?:exclude|rule out)\b")
_QUESTIONED = re.compile(r"(?:\s+\w+){0,2}\s*\?")
# "May be a nodule or a vessel" states neither.
_MODAL = re.compile(r"\b(?:may|might|could|can)\b")
_OR_BEFORE = re.compile(r"(?:\bor\s+(?:\w+\s+){0,2}|\w[-/]\s*)$")
_OR_AFTER = re.compile(r"(?:\s+\w+){0,2}?\s+or\b|\s*[-/]\s*\w")


@dataclass(frozen=True)
class Span:
    """A stretch of a text, from `start` to `end`."""

    start: int
    end: int

    def touches(self, start: int, end: int) -> bool:
        """Return whether two stretches share a character."""
        return start < self.end and end > self.start


def split_statements(sentence: str) -> list[Span]:
    """Split a sentence where one statement with a verb of its own ends and the next begins.

    "The aorta is wide and no nodule was seen" is two statements; "no mass, nodule and effusion was seen" is one.
    """
    starts = [0]
    for joint in _JOINT.finditer(sentence):
        before, after = sentence[starts[-1] : joint.start()], sentence[joint.end() :]
        if not before.strip() or not after.strip() or _in_brackets(sentence, joint.start()):
            continue
        if _ALWAYS_JOINT.search(joint[0]) or _begins_anew(before, after):
            starts.append(joint.end())
    return [Span(start, end) for start, end in zip(starts, [*starts[1:], len(sentence)], strict=True)]


def _begins_anew(before: str, after: str) -> bool:
    if _DENIES.search(before) and _QUANTITY.match(after):
        return True
    if _has_verb(before):
        return _has_verb(after) or bool(_DENIES.match(after))
    return bool(_DENIES.match(after)) and not _has_verb(after)


def _has_verb(text: str) -> bool:
    """Return whether a finite verb stands outside relative clauses."""
    return any(not _RELATIVE.search(text[: verb.start()]) for verb in _VERB.finditer(text))


def _in_brackets(text: str, place: int) -> bool:
    return text.rfind("(", 0, place) > text.rfind(")", 0, place)


class Assertions:
    """The reach of every denial and doubt in one statement."""

    def __init__(self, statement: str):
        self._text = statement
        self._denied = [*_denied_before(statement), *_denied_ahead(statement)]
        self._known = [Span(*found.span()) for found in _KNOWN_BEFORE.finditer(statement)]
        self._doubted = [
            *(Span(0, found.start()) for found in _DOUBTS_BEFORE.finditer(statement)),
            *(Span(found.end(), len(statement)) for found in _DOUBTS_AHEAD.finditer(statement)),
            *(Span(found.start(), len(statement)) for found in _ASKED.finditer(statement)),
        ]
        earlier = _SEEN_EARLIER.search(statement)
        self._is_past = earlier is not None and not _RELATIVE.search(statement[: earlier.start()])

    def status(self, start: int, end: int) -> str:
        """Return whether what is named from `start` to `end` is present, denied, uncertain or past."""
        if any(span.touches(start, end) for span in self._denied):
            return DENIED
        if self._is_past or any(span.touches(start, end) for span in self._known):
            return PAST
        doubted = any(span.touches(start, end) for span in self._doubted)
        if doubted or _QUESTIONED.match(self._text, end) or self._is_alternative(start, end):
            return UNCERTAIN
        return PRESENT

    def _is_alternative(self, start: int, end: int) -> bool:
        if not _MODAL.search(self._text, 0, start):
            return False
        return bool(_OR_BEFORE.search(self._text[:start]) or _OR_AFTER.match(self._text, end))


def _denied_before(text: str) -> Iterator[Span]:
    """Yield the reach of every denial that stands after its finding, such as "was not seen"."""
    for found in _DENIES_BEFORE.finditer(text):
        if not _NEARLY.search(text[: found.start()]) and not _EARLIER.match(text[found.end() :].lstrip()):
            stops = [stop.end() for stop in _BACK_END.finditer(text, 0, found.start())]
            yield Span(max(stops, default=0), found.end())


def _denied_ahead(text: str) -> Iterator[Span]:
    """Yield the reach of every denial that stands before its finding; in brackets, it ends with them."""
    harmless = [Span(*found.span()) for found in _DENIES_NO_FINDING.finditer(text)]
    for found in _DENIES.finditer(text):
        if any(span.touches(*found.span()) for span in harmless):
            continue
        stop = _AHEAD_END.search(text, found.end())
        if stop and _EXCEPTED.match(text, stop.start()):
            continue
        bracket = text.find(")", found.end()) if _in_brackets(text, found.end()) else -1
        ends = [stop.start() if stop else len(text), bracket if bracket >= 0 else len(text)]
        yield Span(found.start(), min(ends))
