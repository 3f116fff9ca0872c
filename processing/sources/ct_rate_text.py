"""Remove filling words from CT-RATE's sections, which stand for an empty section: "Not given.", "nan" and others."""

import re

_NOTHING = (
    r"(?:not|none|nothing|no)\s+(?:was\s+|were\s+|been\s+)?"
    r"(?:given|specified|provided|stated|available|applicable|reported|mentioned|entered|recorded|indicated)"
    r"|nan|none|null|n\.?/?a|unspecified"
)
_NOTHING_AT_ALL = re.compile(rf"\W*(?:{_NOTHING})\W*", re.IGNORECASE)
_LETTER = re.compile(r"\w")
_HEAD = re.compile(
    r"^[\s\"']*(?:findings?|impressions?|conclusions?|results?|comments?|opinion)\s*[:\-]\s*", re.IGNORECASE
)
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]+[\"')]*\s*|[^.!?\n]+$")
_FILLER_SENTENCE = re.compile(r"\W*not (?:given|specified)\W*", re.IGNORECASE)


def given_text(section: str) -> str:
    """Return a section without its filling words; "" if nothing was written."""
    body = _HEAD.sub("", section)
    if not _LETTER.search(body) or _NOTHING_AT_ALL.fullmatch(body):
        return ""
    sentences = _SENTENCE.findall(section)
    if not any(_FILLER_SENTENCE.fullmatch(sentence) for sentence in sentences):
        return section.strip()
    return "".join(part for part in sentences if not _FILLER_SENTENCE.fullmatch(_HEAD.sub("", part))).strip()
