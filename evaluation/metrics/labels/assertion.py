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
    r"\b(?:is|are|was|were|has|have|had|does|do|did|show(?:s|ed)?|causes?|contains?|extends?|continues?|persists?|seems?"
    r"|appears?|lies|lie|reaches|measures|remains?|suggests?|exists?)\b"
)
_RELATIVE = re.compile(r"\b(?:which|that(?! (?:on|in|of|at) the)|who|whose|where|when|as)\s+(?:\w+\s+){0,3}$")
# What follows a denial and a comma with such a word is there: "no pneumothorax, minimal effusion".
_QUANTITY = re.compile(
    r"(?:several|some|many|multiple|numerous|minimal|mild|moderate|slight|small|large|massive|diffuse|widespread"
    r"|prominent|significant increase|there (?:is|are|was|were)|only|stable|millimetric|an?)\b(?! or\b)"
)

# Denials of what comes after them.
_DENIES = re.compile(
    r"\b(?:no|not|\w+n't|(?:is|are|was|were|does|did|could)nt|never|without|neither|nor|none of(?! which)|nil|zero"
    r"|nowhere|absence of|lack of|free of|free from|clear of|negative for|devoid of|fail(?:s|ed)? to"
    r"|nothing (?:to )?(?:suggest|indicat)\w*|(?:resolution|clearing|disappearance|removal|evacuation) of"
    r"|(?:complete|total|full) (?:regression|resolution|resorption|disappearance|clearing)"
    r"|ruled out|excludes|denies|instead of|rather than|as opposed to|cannot see)\b"
    r"|(?:^|(?<=[,:]))\W*(?:\d+[.)]\s*)?(?:(?:completely|fully|interval|now) )?(?:absent|resolved)(?= \w)"
    r"|\bmore likely\b(?:(?!\bthan\b)[^,;])*\bthan\b|\bfavou?r(?:s|ed)?\b(?:(?!\bover\b)[^,;])*\bover\b"
)
# "No change in the effusion" denies a change, not the effusion.
_CHANGE = (
    r"(?:changes?|differences?|increase|decrease|progression|regression|reduction|growth|alteration|interval"
    r"|enlargement|improvement|worsening|evidence of change|variation)"
)
_DENIES_NO_FINDING = re.compile(
    r"\b(?:no|not|without)\b(?:\s+(?:(?!(?:or|nor|and)\b)\w+"
    r"|\w+(?:al|ve|nt|ar|ble) (?:and|or) \w+(?:al|ve|nt|ar|ble)\b)){0,4}?\s+(?<!thickness )(?<!density )(?<!diameter )"
    rf"{_CHANGE}\b"
    r"(?!\s+in\s+(?:[\w-]+\s+){0,3}?[\w-]*(?:wall|thickness))"
    r"|\bnot\s+(?:only|significantly|exceed\w*|reach\w*|chang\w*|differ\w*|typical|specific|optimal\w*|given|performed"
    r"|included|enter\w*|suitable|adequate|sufficient|clear\w*|certain|fully|completely|entirely|un(?:likely|usual|common))\b"
    r"|\bnot\s+(?:required|needed|necessary|planned|indicated|recommended)\b"
    r"|\bno\s+(?:\w+\s+)?(?:follow-?up|intervention|biopsy|treatment|drainage)\b"
    r"|\b(?:not|\w+n't|cannot)\s+(?:be\s+)?(?:\w+ly\s+)?(?:evaluated|excluded|characteri[sz]ed|ruled|differentiated"
    r"|assessed|distinguished from|separated|made|achieved|categori[sz]ed|measured)\b"
    r"|\bno\s+(?:longer(?! any)|doubt|contrast|iv|(?:more|less|greater|larger|smaller) than)\b"
    r"|\bnot\s+(?:previously|formerly|(?:seen|present|observed|noted|available)\s+(?:previously|formerly|before|earlier))\b"
)
# Denials of what stands before them.
_BE = r"(?:is|are|was|were|be|been|being|has been|have been|had been)"
_SEEN = (
    r"(?:detected|observed|seen|found|identified|noted|present|selected|distinguished|visuali[sz]ed|noticed|monitored"
    r"|encountered|shown|demonstrated|recogni[sz]ed|evident|apparent|available|existing|visible|appreciated|there"
    r"|in question|reported|revealed|determined|traced|enlarged|confirmed|verified)"
)
_DENIES_BEFORE = re.compile(
    rf"\b(?:{_BE}\s+)?(?:also\s+|clearly\s+)?(?:not|never|no longer)\s+(?!previously|formerly)"
    rf"(?:\w+ly\s+)?(?:be\s+|been\s+)?{_SEEN}\b"
    r"(?!\s+(?:previously|formerly|before|earlier)\b)"
    rf"|\babsent\b|\b{_BE}\s+(?:(?!not\b)\w+\s+)?(?:excluded|ruled out|negative|unlikely|nil|none)\b"
    r"|:\s*(?:no|none|negative)\b|\(\s*[-–−]\s*\)"
    r"|\b(?:has|have|had|is|are|was|were)\s+(?:\w+\s+)?(?:disappeared|resolved|resorbed|cleared)\b"
    r"|\b(?:disappeared|resolved)\b(?=\s*(?:$|[.,)]))"
    r"|\b(?:regress|resol|resor|disappear|clear)\w*\s+(?:completely|totally|entirely|fully)\b"
    r"|\bmissing\b|\b(?:turned|evolved|transformed|converted)\s+(?:in)?to\b"
    r"|\bregressed to (?=(?:an? )?(?:ground|frost|fibro|band|sequel))"
    rf"|\b(?:(?:has|have|had)\s+been|{_BE})\s+(?:removed|resected|extracted|evacuated|drained|withdrawn|replaced\s+(?:by|with))\b"
    r"|\b(?:complete|total|full)(?:ly)?\s+(?:regress\w*|resol\w+|resor\w+|disappear\w*|respon\w+|clear\w*)\b"
    r"|\b(?:is|are|was|were)\s+not\b(?=\s*(?:$|[.,)]))"
)
# "No cavitation within the consolidation" denies the cavitation only.
_DENIES_A_PART = re.compile(
    r"\b(?:no|without)\s+(?!(?:evidence|signs?|findings?|suspicion|traces?)\b)(?:[\w-]+\s+){1,4}?"
    r"(?:within|inside|for|of|in|around)\s+(?:the|this|these)\s+(?:[\w.-]+\s+){0,3}$"
)
_NEARLY = re.compile(r"\b(?:near(?:ly)?|almost|not|no|partial\w*|incomplete\w*)[\s-]+(?:complete\w* |total\w* )?$")
# Denials that a word before them takes back: "near-complete resolution of".
_GONE = re.compile(r"(?:complete|total|full|resol|clear|disap|remov|evac)")
# The reach of a denial ends here; that of one which looks ahead also where its own place is told.
_CONTRAST = r"(?:except|apart from|other than|besides|aside from|but|however|although|though|whereas|while)"
# "No nodule other than the calcified one" denies others.
_EXCEPTED = re.compile(r"\s*(?:except(?: for)?|apart from|other than|besides|aside from)\b[^,;.]*\bones?\b")
_REASON = r"(?:only|due to|because|since|secondary to|owing to|caused by|so|accompanied by|accompanying)"
_BACK_END = re.compile(rf"\b(?:{_CONTRAST}|{_REASON})\b|;|\(\s*\+\s*\)")
_ACCOMPANIED = re.compile(r"\s*accompanied by\b")
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
# "On the prior CT there was a nodule" tells the past, unless something of today follows.
_EXAM = (
    r"(?:(?:chest|thorax|outside|control|follow-up) )?(?:ct|mri?|x-?ray|radiograph\w*|exam\w*|stud(?:y|ies)|scans?"
    r"|tomogra\w+|imag\w+|reports?)\b"
)
_EARLIER_TOLD = re.compile(
    rf"^\W*{_BEFORE_EXAM} {_EXAM}[^,;]*?,?\s*"
    r"(?:there (?:was|were)\b|.*\b(?:was|were) (?:\w+ )?(?:described|reported|mentioned)\b)"
    rf"|^\W*(?:the )?(?:previous|prior|old|older|earlier|former|last|outside) {_EXAM}"
    r"(?: \w+)? (?:showed|revealed|reported|demonstrated|described|mentioned)\b"
)
_TODAY = re.compile(r"\b(?:today|now|currently|current|present)\b")
_KNOWN_BEFORE = re.compile(
    r"\b(?:(?:previous )?history of|known (?:history|case|diagnosis)(?: of)?|operated (?:on )?(?:for|due to)"
    r"|anamnesis of|clinical(?:ly)? (?:knowledge|information|history) of|preliminary diagnosis of"
    r"|resected|removed)\b[^,;]*"
)
# What a further examination is asked for is not seen, but "the described nodules" are.
_ASKED = re.compile(
    r"\b(?:recommend\w* (?:\w+ ){0,6}?(?:for|in terms of|in favou?r of)|(?:evaluat\w+|investigat\w+) for|in terms of"
    r"|(?:to )?rule out|r/o|to exclude|assess\w* for|search\w* for|performed (?:for|to)|concern for"
    r"|suspicion (?:of|for)|question of|whether|differential(?: diagnosis)?|screening"
    r"|correlat\w+ (?:\w+ ){0,5}?for|risk of)"
    r"(?!\s+(?:the|this|these|described|defined|mentioned)\b)"
)
# A condition is no finding: "if effusion develops", "should consolidation appear".
_CONDITION = re.compile(
    r"(?:\b(?:if|in case of|in the event of)\b(?!\s+(?:so|not|any|clinical\w*|possible|present|needed|necessary"
    r"|indicated|required|available|desired)\b)|^\W*should\b)[^,;]*"
)
_KNOWN_ONE = re.compile(r"\b(?:the|this|these|described|known)\s+(?:(?!ha[sd]|have|is|are|show)[\w-]+\s+){0,2}$")
# "X cannot be excluded" and "X could not be evaluated" doubt what stands before, "cannot exclude X" what comes.
_CANNOT = r"(?:cannot|can not|could not|can't|couldn't|not)"
_DOUBTS_BEFORE = re.compile(
    rf"\b{_CANNOT}\s+(?:be\s+)?(?:\w+ly\s+)?(?:be\s+)?(?:excluded|ruled out|evaluated|assessed)\b"
)
_DOUBTS_AHEAD = re.compile(rf"\b{_CANNOT}\s+(?:exclude|rule out)\b")
_QUESTIONED = re.compile(r"(?:\s+\w+){0,2}\s*\(?\?")
_DOUBTFUL = re.compile(r"\b(?:possible|questionable|equivocal|doubtful|suspected)\s+(?:[\w-]+\s+){0,3}$")
# "May be a nodule or a vessel" states neither.
_MODAL = re.compile(r"\b(?:may|might|could|can)\b")
_OR_BEFORE = re.compile(r"(?:\bor\s+(?:\w+\s+){0,2}|\w[-/]\s*)$")
_OR_AFTER = re.compile(r"(?:\s+\w+){0,2}?\s+or\b|\s*[-/]\s*\w")
_EITHER = r"(?:versus|vs\.?|and/or)"
_EITHER_BEFORE = re.compile(rf"\b{_EITHER}\s+(?:\w+\s+){{0,2}}$")
_EITHER_WITHIN = re.compile(rf"\b{_EITHER}\s")
_EITHER_AFTER = re.compile(rf"(?:\s+\w+){{0,3}}?\s+{_EITHER}\s")
# "The heart is enlarged" begins anew after a denial without a verb, "effusion was detected" does not.
_NEW_SUBJECT = re.compile(rf"(?:the|there|an?|its|his|her)\b(?!.*\b{_BE}\s+(?:\w+ly\s+)?(?!enlarged){_SEEN})")


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
    if _DENIES.search(before) and _NEW_SUBJECT.match(after) and _has_verb(after):
        return True
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
        self._denied_before, self._denied_ahead = list(_denied_before(statement)), list(_denied_ahead(statement))
        self._unchanged = [Span(*found.span()) for found in _DENIES_NO_FINDING.finditer(statement)]
        self._known = [Span(*found.span()) for found in _KNOWN_BEFORE.finditer(statement)]
        self._doubted = [
            *(Span(0, found.start()) for found in _DOUBTS_BEFORE.finditer(statement)),
            *(Span(found.end(), len(statement)) for found in _DOUBTS_AHEAD.finditer(statement)),
            *(Span(found.start(), len(statement)) for found in _ASKED.finditer(statement)),
        ]
        self._conditions = [Span(*found.span()) for found in _CONDITION.finditer(statement)]
        earlier = _SEEN_EARLIER.search(statement)
        self._is_past = earlier is not None and not _RELATIVE.search(statement[: earlier.start()])
        if _EARLIER_TOLD.search(statement) and not _TODAY.search(statement):
            self._is_past = True

    def status(self, start: int, end: int) -> str:
        """Return whether what is named from `start` to `end` is present, denied, uncertain or past."""
        if self._is_denied(start, end):
            return DENIED
        # "No increase in heart size" denies a change, which here is the finding.
        if any(span.touches(start, end) and span.end <= end for span in self._unchanged):
            return DENIED
        if self._is_past or any(span.touches(start, end) for span in self._known):
            return PAST
        doubted = any(span.touches(start, end) for span in self._doubted)
        if doubted or self._is_questioned(start, end) or self._is_alternative(start, end):
            return UNCERTAIN
        return PRESENT

    def _is_denied(self, start: int, end: int) -> bool:
        if any(span.touches(start, end) for span in self._denied_before):
            return True
        ahead = any(span.touches(start, end) for span in self._denied_ahead)
        return ahead and not _DENIES_A_PART.search(self._text[:start])

    def _is_questioned(self, start: int, end: int) -> bool:
        before = self._text[:start]
        if _QUESTIONED.match(self._text, end) or _DOUBTFUL.search(before):
            return True
        return any(span.touches(start, end) for span in self._conditions) and not _KNOWN_ONE.search(before)

    def _is_alternative(self, start: int, end: int) -> bool:
        if _EITHER_BEFORE.search(self._text[:start]) or _EITHER_AFTER.match(self._text, end):
            return True
        if _EITHER_WITHIN.search(self._text, start, end):
            return True
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
        if _GONE.match(found[0]) and _NEARLY.search(text[: found.start()]):
            continue
        accompanied = _ACCOMPANIED.match(text, found.end())
        stop = _AHEAD_END.search(text, accompanied.end() if accompanied else found.end())
        if stop and _EXCEPTED.match(text, stop.start()):
            continue
        bracket = text.find(")", found.end()) if _in_brackets(text, found.end()) else -1
        ends = [stop.start() if stop else len(text), bracket if bracket >= 0 else len(text)]
        yield Span(found.end(), min(ends))
