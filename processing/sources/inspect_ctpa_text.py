"""Clean INSPECT's impressions: inline lists, placeholders of de-identification, signatures, phone calls."""

import re

from ..report_text import split_sentences
from .numbered_lists import ended, split_numbered

# Placeholders of names, dates and times: <hcw>, <date>, <time>, [**2012-3-4**], [PHONE].
_PLACEHOLDER = r"<\s*/?[a-z][a-z _/-]{0,24}>|\[\*\*[^\]]*\*\*\]|\[[A-Z][A-Z _-]{2,24}\]"
_PLACEHOLDERS = re.compile(rf"(?:{_PLACEHOLDER})", re.IGNORECASE)
_PEOPLE = re.compile(r"<\s*(?:hcw|name|person|doctor|provider|staff|pager|phone)[^>]*>", re.IGNORECASE)
# "on <date> at <time>" is removed as a whole; "since <date>" and "from <date>" keep their first word, because it
# marks a comparison.
_WITH_PREPOSITION = re.compile(
    rf"(?:,?\s*\b(?:on|at|dated|date|of|around|approximately)\s+(?:(?:approximately|around|about)\s+)?)?"
    rf"(?:{_PLACEHOLDER})(?:\s*(?:hours|hrs|am|pm)\b)?",
    re.IGNORECASE,
)
_SIGNING = r"(?:signed|dictated|transcribed|interpreted|verified|approved)"
# Start of the text after the impression, which is removed up to the end of the text or the next impression.
_TAIL = re.compile(
    r"\bend of impression\b\s*:?|\baccession (?:number|no)\b\s*[:.#]?|\bthis report has been anonymi[sz]ed\b"
    r"|\battending (?:physician|radiologist)\b[^:.]{0,30}:"
    rf"|\b(?:electronically )?{_SIGNING}(?: and {_SIGNING})* by\b\s*:?",
    re.IGNORECASE,
)
_NEXT_IMPRESSION = re.compile(r"\b(?:impressions?|addend(?:um|a))\s*:", re.IGNORECASE)
# "SUMMARY: 4-possible significant findings, may need action", "SUMMARY 2: abnormal, previously reported".
_SUMMARY = re.compile(
    r"\bsummary\s*(?:code)?\s*:?\s*#?\s*\d*\s*[-:.]?\s*"
    r"(?:no significant abnormality|(?:possible )?significant (?:abnormality|findings?)[^.\n]*"
    r"|abnormal[^.\n]*|normal\b[^.\n]*|may need action|undictated[^.\n]*|critical[^.\n]*)?",
    re.IGNORECASE,
)
_TOLD = (
    r"(?:discussed|communicated|relayed|conveyed|reported|called|telephoned|phoned|paged|notified|informed|given"
    r"|emailed|faxed|reviewed)"
)
_TO_WHOM = (
    r"(?:<[a-z]|\bdr\b|\bm\.?d\b|\bphysician|\bteam\b|\bclinician|\bprovider|\bnurse|\bresident|\bdepartment\b"
    r"|\bphone\b|\btelephone\b|\bpager?\b)"
)
_SIGN_OFF = re.compile(
    "|".join(
        (
            # The reader's statement: "I, the attending radiologist, have personally reviewed the images and agree ...".
            r"\bi,? (?:the (?:attending|undersigned|teaching)[^,.]{0,40},? )?(?:<[^>]*>,? )?(?:have )?"
            r"(?:personally |independently )*(?:reviewed|viewed|interpreted|examined|read)\b.{0,80}"
            r"\b(?:images?|films?|studies|study|examination|exam|report|scan)\b",
            r"\b(?:and )?agree(?:d|s)? with (?:the|this|these|above|his|her|their)\b.{0,40}"
            r"\b(?:report|interpretation|findings?|dictation|impression)\b",
            r"\b(?:attending|staff|teaching) (?:radiologist|physician)\b.{0,60}\b(?:reviewed|agrees?|attest|present)",
            r"\battest(?:s|ed|ation)?\b",
            r"\b(?:on-?call|non-?called)\b.{0,30}\b(?:case|resident|radiolog|study)",
            r"\b(?:preliminary|final|wet|overnight) (?:report|read|interpretation|findings?|impression)\b",
            r"^\W*this (?:report|exam(?:ination)?|study) (?:was|has been) "
            r"(?:dictated|interpreted|signed|reviewed|electronically)",
            r"^\W*(?:by|on|at|date|time|signed|dictated|transcribed|resident|fellow|attending|radiologist|cc)\s*:",
            # Notes of who was informed, and when.
            rf"\b{_TOLD}\b.{{0,80}}\b(?:with|to|by)\b.{{0,60}}{_TO_WHOM}",
            r"\b(?:dr\.?|drs\.?|physician|nurse|team|provider|clinician)\b.{0,60}"
            r"\b(?:notified|informed|paged|called|contacted|made aware|alerted)\b",
            r"\bphysician[- ]to[- ]physician\b|\bconsult(?:ation)? line\b|\bplease (?:call|page|contact)\b"
            r"|\bread[- ]?back\b",
        )
    ),
    re.IGNORECASE,
)
_HEAD_ALONE = re.compile(
    r"\W*(?:impressions?|findings|conclusions?|opinion|results?|report|addend(?:um|a))\W*", re.IGNORECASE
)
_EMPTY_BRACKETS = re.compile(r"[(\[]\s*[,;.\s]*[)\]]")
_WORD = re.compile(r"[^\W\d_]{2,}")
# "Slightly larger than on <date>." has no meaning without the date.
_DANGLING = re.compile(r"\b(?:than|to|from|since|with|of|as|until|before|after|the|and|on|at|by)\W*\Z", re.IGNORECASE)


def clean_text(text: str) -> str:
    """Return an impression with each item of its list as a sentence on a line, without signatures and placeholders.

    Text about who read the scan, when, and who was informed is dropped; a sentence that compares with another date
    keeps the words of the comparison, which the rules judge later.
    """
    lines = []
    for block in _impressions(text):
        for item in split_numbered(_SUMMARY.sub(" ", block)):
            sentences = [_without_placeholders(part) for part in split_sentences(item) if not _is_sign_off(part)]
            sentences = [part for part in sentences if _WORD.search(part)]
            if sentences and not _HEAD_ALONE.fullmatch(item):
                lines.append(ended(" ".join(sentences)))
    return "\n".join(lines)


def _impressions(text: str) -> list[str]:
    """Remove the text between each impression's end and the next impression."""
    blocks = []
    while tail := _TAIL.search(text):
        blocks.append(text[: tail.start()])
        following = _NEXT_IMPRESSION.search(text, tail.end())
        text = text[following.start() :] if following else ""
    return [*blocks, text]


def _is_sign_off(sentence: str) -> bool:
    return bool(_PEOPLE.search(sentence) or _SIGN_OFF.search(sentence))


def _without_placeholders(sentence: str) -> str:
    if not _PLACEHOLDERS.search(sentence):
        return sentence
    sentence = _EMPTY_BRACKETS.sub(" ", _WITH_PREPOSITION.sub(" ", sentence))
    sentence = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s+", " ", sentence)).strip(" ,")
    return "" if _DANGLING.search(sentence) else sentence
