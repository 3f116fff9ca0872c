"""Which sentences of a report a CT cannot tell: rules that need no model (paper, appendix A).

A rule looks at one sentence. What a surgeon left behind is visible ("wires of a previous operation") and stays; what
was seen on another day is not, and goes.
"""

import re
from dataclasses import dataclass

_MONTH = "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
_MONTH += "|nov(?:ember)?|dec(?:ember)?"
_UNIT = (
    r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?|hu|hounsfield(?: units?)?|suv\w*|mls?|cc|cm3|mm3"
    r"|millilit(?:er|re)s?|lit(?:er|re)s? of fluid)"
)
_NUMBER = r"(?:\d+(?:[.,]\d+)?)"
_COUNT = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|half an?)"
_STUDY = (
    r"(?:cts?|mri?|pet|pet-cts?|x-rays?|radiographs?|scans?|stud(?:y|ies)|exams?|examinations?|images?|imaging"
    r"|reviews?|tomograph\w+|reports?)"
)
_SURGERY = (
    r"(?:\w+ )?(?:surg\w+|operat\w+|\w*otomy|\w*ectomy|intervention|bypass|fractures?|resection|tuberculosis"
    r"|infections?|trauma|radiotherapy)"
)
_AMOUNT = r"(?:the )?(?:sizes?|numbers?|amounts?|dimensions?|volumes?|extents?|prevalence)"
_CHANGE = r"(?:increas|decreas|reduc|regress|progress)"


@dataclass(frozen=True)
class SentenceRule:
    """Sentences with any of some patterns are dropped.

    Attributes:
        name: in logs and counts.
        reason: for people.
        pattern: found anywhere in the sentence, whatever its case.
    """

    name: str
    reason: str
    pattern: re.Pattern


def _rule(name: str, reason: str, *patterns: str) -> SentenceRule:
    return SentenceRule(name, reason, re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE))


RULES = (
    _rule(
        "not_in_image",
        "a fact about the patient that no CT shows: saturation, fever, age, vital signs, laboratory",
        r"\b(?:oxygen |o2 |blood )?saturation\b(?! artefact)|\bspo2\b|\bpulse oximetry\b|\bp[oc]o?2\b",
        r"\bfever\b|\bfebrile\b|\btemperature\b|°\s?c\b",
        r"\b(?:\d+|\w+)[- ]year[- ]old\b|\byears? (?:old|of age)\b|\b(?:aged|age of) \d+",
        r"\bblood (?:pressure|gas\w*|count|cultures?|sugar)\b|\b(?:heart|pulse|respiratory) rate\b|\bmmhg\b",
        r"\bcrp\b|\bc-reactive\b|\bd-?dimers?\b|\btroponins?\b|\bcreatinine\b|\bprocalcitonin\b|\bferritin\b",
        r"\bleu[ck]ocyt\w*\b|\bwbc\b|\bwhite (?:blood )?cells?\b|\blymphocyt\w*\b(?! infiltrat)|\bplatelets?\b"
        r"|\bha?emoglobin\b|\bneutrophil\w*\b",
        r"\bpcr\b|\bswab\b|\bsputum (?:culture|test)\w*|\bcultures? (?:grew|was|were|is|are)\b|\bantigen test\b",
        r"\b(?:cea|afp|psa|ca[ -]?(?:125|19-9|15-3)) (?:level|value|is|was|of)|\btumou?r markers?\b",
        r"\blaboratory (?:values?|results?|findings?|tests?|data)\b",
        r"\d\s?(?:mg/d?l|g/d?l|ng/ml|u/l|mmol/l|bpm)\b|\bbeats per minute\b",
    ),
    _rule(
        "measurement",
        "a measurement that needs a tool: mm, cm, HU, SUV, ml",
        rf"{_NUMBER}\s?{_UNIT}\b",
        rf"\b{_COUNT} {_UNIT}\b",
        rf"{_NUMBER}\s?(?:x|×|\*)\s?{_NUMBER}",
        rf"\b(?:suv|hu|hounsfield)\w*\b[^.]{{0,20}}{_NUMBER}",
    ),
    _rule(
        "comparison",
        "a comparison with an earlier study",
        r"\b(?:compar\w+)\b(?! (?:to|with) (?:the )?(?:left|right|other|opposite|contralateral|healthy|normal|rest))",
        rf"\b(?:previous(?:ly)?|prior|earlier|former(?:ly)?)\b(?! {_SURGERY})",
        rf"\b(?:old|last|recent|initial|baseline|current|present|actual|outside)(?: \w+)? {_STUDY}\b",
        r"\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b|\b\d{4}-\d{2}-\d{2}\b",
        rf"\b(?:{_MONTH})\.? (?:\d{{1,2}},? )?(?:19|20)\d\d\b|\b(?:in|from|of|since) (?:19|20)\d\d\b",
        r"\b(?:\w+ )?(?:days?|weeks?|months?|years?) (?:ago|before)\b",
        r"\bstable\b|\bstability\b|\bunchanged\b|\bno (?:interval |significant |relevant )?(?:change|difference)s?\b"
        r"|\bnot (?:\w+ )?changed\b|\bthe same as\b",
        r"\binterval\b|\bin the interim\b|\bmeanwhile\b|\bsince the\b",
        r"\bnew(?:ly)? (?!born)|\bde novo\b",
        r"\bprogress(?:ed|ion|ive|ing)\b|\bregress(?:ed|ion|ive|ing)\b|\bresolved\b|\bresolution of\b|\bcleared\b",
        r"\bpersist(?:s|ed|ent|ing|ence)?\b|\bno longer\b|\bre-?demonstrated\b",
        r"\bagain (?:seen|noted|observed|visible)\b",
        r"\b(?:has|have|had) (?:\w+ )?(?:increased|decreased|grown|enlarged|shrunk|improved|worsened|diminished"
        r"|developed|appeared|disappeared|become|gone)\b",
        rf"\b{_CHANGE}\w+ (?:was |is |were |are )?(?:\w+ )?in {_AMOUNT}\b",
        rf"\b{_CHANGE}ed (?:since|from|slightly|markedly|significantly)\b|\bgrowth\b|\b(?:smaller|larger) now\b",
    ),
)


def judge_sentence(sentence: str) -> tuple[str, str] | None:
    """Return the first rule that a sentence falls under, with the words that it found, or None for one that stays."""
    for rule in RULES:
        if found := rule.pattern.search(sentence):
            return rule.name, found[0]
    return None
