"""Decide for wordings that fit several organs, such as "nodule", whether they are said of the lungs."""

import re

_LUNG, _OTHER = "lung", "other"
_LUNG_WORDS = re.compile(
    r"\b(?:lungs?|pulmon\w+|lobar|(?:upper|middle|lower) lobes?|lingul\w+|apex|apexes|apices|apical|\w*basal\w*"
    r"|fissures?|bronch\w+|peribronch\w+|subpleural|parenchym\w*|alveol\w*|hemithora\w+|acin\w+|centriacinar"
    r"|interstiti\w+)\b"
)
_OTHER_WORDS = re.compile(
    r"\b(?:thyroid|adrenals?|breasts?|mammary|livers?|hepat\w+|kidneys?|renal|perirenal|perinephric|spleen\w*|splenic"
    r"|pancrea\w+|subcutaneous|skin|bones?|bony|marrow|vertebra\w*|corpus|ribs?|costal|sternum|scapula\w*|clavicle\w*"
    r"|humer\w+|shoulder|end ?plates?|peritone\w+|omental|omentum|mesenter\w+|gall ?bladder|bladder|ureter\w*|prostate"
    r"|uterus|ovar\w+|stomach|gastric|colon\w*|bowel|intestin\w+|axill\w+|muscles?|fat(?:ty)? planes|portal|abdom\w+"
    r"|diaphragm\w*|thymus|thymic|lymph nodes?|plexus|coronary|trachea\w*|spinal|mediastinum|inguinal|iliac|pelvic"
    r"|aort\w+|maxillary|ethmoid\w*|sphenoid\w*|paranasal|mastoid\w*)\b"
)
_PHRASE_END = re.compile(r"[,;]|\band\b|\bwith\b")


def is_of_lungs(statement: str, start: int, end: int, sentence: str, organ_before: str) -> bool:
    """Return whether a wording of a statement is said of the lungs.

    Its organ is the one right before it ("thyroid nodule"), the first one after it in the same phrase, or else the
    nearest in the statement, then in the sentence. A sentence without one goes on about the organ of the one before.
    """
    organs = _organs(statement)
    adjoining = [name for first, last, name in organs if last <= start <= last + 1 or first < end and last > start]
    phrase_end = next((found.start() for found in _PHRASE_END.finditer(statement, end)), len(statement))
    following = [name for first, _, name in organs if end <= first < phrase_end]
    nearest = sorted(organs, key=lambda organ: max(organ[0] - end, start - organ[1]))
    names = [*adjoining, *following, *(name for _, _, name in nearest), *(name for _, _, name in _organs(sentence))]
    return (names[0] if names else organ_before) != _OTHER


def organ_of(sentence: str) -> str:
    """Return the organ that a sentence is about: the lungs if it names them at all, another organ, or "" for none."""
    names = {name for _, _, name in _organs(sentence)}
    return _LUNG if _LUNG in names else next(iter(names), "")


def _organs(text: str) -> list[tuple[int, int, str]]:
    """Return the organs that a text names, by place."""
    lungs = [(*found.span(), _LUNG) for found in _LUNG_WORDS.finditer(text)]
    return sorted([*lungs, *((*found.span(), _OTHER) for found in _OTHER_WORDS.finditer(text))])
