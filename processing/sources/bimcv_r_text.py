"""Clean BIMCV-R's translated reports: full stops without a space, placeholders, signatures."""

import re

from .numbered_lists import ended, split_numbered

# Text in place of a report if the translation failed: 7.9 % of the rows.
_PLACEHOLDER = re.compile(r"something wrong with the data\b[\s!.#]*", re.IGNORECASE)
# Abbreviations whose full stop ends no sentence, although a letter follows directly.
_ABBREVIATIONS = frozenset(
    "dr dra mr mrs ms st vs approx aprox fig figs nr nos ser im seq resp incl min max bilat cf al dept tel".split()
)
# Only before a number: elsewhere these are words or end a sentence.
_BEFORE_FIGURES = frozenset("no vol pag pp sec seg ca art".split())
_UNITS = frozenset("mm cm ml cc hu kg kv kvp mas mgy msv h hs hrs min".split())
_FILE_ENDINGS = frozenset(
    "nii gz dcm dicom pdf jpg jpeg png tif tiff csv tsv txt xml doc docx zip html com org net es eu".split()
)
# One or more full stops with text directly behind.
_STOP = re.compile(r"(?<!\.)\.+(?=[^\s.])")
_OTHER_ENDS = re.compile(r"(?<=[\w)])([!?;])(?=[^\W\d_])")
_BEFORE, _AFTER = re.compile(r"[^\W_]{1,40}$"), re.compile(r"[^\W_]{1,40}")
_VERTEBRA = re.compile(r"[ctls]\d{1,2}", re.IGNORECASE)
# The names of patients and doctors were replaced by "name": such a sentence describes no finding.
_NAMES = re.compile(r"\bname\W+name\b|^fdo\b|^(?:signed|signature)\b[\s:]*$", re.IGNORECASE)
_LONE_NUMBER = re.compile(r"\W*\d{0,2}\W*")
# "post -surgical", "high -resolution": the translation sets a space before hyphens.
_LOOSE_HYPHEN = re.compile(r"(?<=[^\W\d_]) -(?=[^\W\d_])")
# "Vidrio deslustrado" was translated in dozens of ways, one of them "tired", which reads like a symptom.
_GROUND_GLASS = re.compile(
    r"\b(?:tangled?|rant(?:ing|less)?|tired|sliced|frosted|tuning|grated|gra[zt]ing|grazed|granted|tarnished|rating|dull)"
    r"[ -]gla(?:ss|zes?)\b",
    re.IGNORECASE,
)
# "Cayado aórtico", the aortic arch, was translated as the past tense of "to fall".
_AORTIC_ARCH = re.compile(r"\b((?:supra-?)?aortic) (?:fell|cane|crook)\b", re.IGNORECASE)
# "Anterior" means "previous" and "in front" in Spanish; before a part of the body it is not an earlier day.
_ANTERIOR = re.compile(
    r"\bprevious (?=(?:(?:and|or|lateral|medial|basal|apical|inferior|superior|left|right|costal|abdominal|thoracic"
    r"|chest|upper|lower|middle|vertebral|pulmonary|rib) )*(?:segments?|arch(?:es)?|slopes?|face|wall|mediastin\w*|"
    r"aspects?|regions?|portion|locations?|hemit\w+|compartment|space|borders?|column|chamber|third|half|field|fields|margin"
    r"|surface|edge|junction|commissure|descending|pararenal|sulcus|horn|mouth|situation|predominance|disposition|peripheral|marginal|rectals|communica\w*|os\w*eous|osteophyt\w*)\b)",
    re.IGNORECASE,
)
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+")


def is_placeholder(text: str) -> bool:
    """Return whether a report is only the mark of a failed translation."""
    return _PLACEHOLDER.fullmatch(text.strip()) is not None


def clean_text(text: str) -> str:
    """Return a report with a space after every full stop that ends a sentence, without headers of names.

    Decimals, times, abbreviations and file names keep their full stops; lists lose their numbers. Wrong translations of
    "ground glass", "aortic arch" and "anterior" are corrected; otherwise the text is not changed.
    """
    text = _GROUND_GLASS.sub("ground glass", _LOOSE_HYPHEN.sub("-", text))
    text = _ANTERIOR.sub("anterior ", _AORTIC_ARCH.sub(r"\1 arch", text))
    text = _STOP.sub(lambda stop: stop[0] + ("" if _is_inside(text, stop) else " "), text)
    text = _OTHER_ENDS.sub(r"\1 ", text)
    parts = [part for item in split_numbered(text) for part in _BETWEEN_SENTENCES.split(ended(item))]
    return " ".join(part for part in parts if not (_LONE_NUMBER.fullmatch(part) or _NAMES.search(part)))


def _is_inside(text: str, stop: re.Match) -> bool:
    """Return whether a full stop is inside a number, an abbreviation or a name, not at the end of a sentence."""
    before = _BEFORE.search(text[max(0, stop.start() - 40) : stop.start()])
    after = _AFTER.match(text, stop.end())
    if before is None or after is None:
        # ") .No" ends a sentence; ".5" is a number, and before a comma or a bracket a full stop ends nothing.
        return text[stop.end()] in ",;:)]%/-" if after is None else after[0].isdigit()
    left, right = before[0].lower(), after[0].lower()
    if len(stop[0]) > 1:
        return False
    if right[0].isdigit():
        return left[-1].isdigit() or left in _ABBREVIATIONS or left in _BEFORE_FIGURES
    if _VERTEBRA.fullmatch(left) and _VERTEBRA.fullmatch(right):
        return True
    if left[-1].isdigit():
        return right in _UNITS
    # "e.g": one letter on each side.
    return right in _FILE_ENDINGS or left in (*_ABBREVIATIONS, "www") or len(left) == len(right) == 1
