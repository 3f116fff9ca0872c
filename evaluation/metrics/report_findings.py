"""Read the findings that a report states by rules: label, side and place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from argus_processing.phantom.findings import FINDING_KINDS, Finding

from .report_words import lower_in_place

LABEL_PATTERNS: dict[str, str] = {
    "Medical material": r"pacemakers?|defibrillator|sternal wires?|wires? in the sternum|sternotomy wires?",
    "Lung opacity": r"ground[- ]?glass|opacit(?:y|ies)|opacification",
    "Consolidation": r"consolidat(?:ion|ions|ed|ive)",
    "Lung nodule": r"nodul(?:e|es|ar)",
    "Atelectasis": r"atelecta(?:sis|ses|tic)",
    "Emphysema": r"emphysema(?:tous)?|bullae",
    "Pleural effusion": r"pleural (?:effusions?|fluid)|(?:fluid|effusions?) in (?:\w+ )?(?:left |right )?pleural"
    r"|pleural spaces? (?:is|are) free of fluid|hydrothorax",
    "Cardiomegaly": r"cardiomegaly|enlarged (?:heart|cardiac)|cardiac enlargement"
    r"|(?:heart|cardiac silhouette)(?: size)?(?: is| appears)?(?: \w+)?(?: not| no longer)? (?:enlarged|increased)",
    "Pericardial effusion": r"pericardial (?:effusions?|fluid)|(?:effusion|fluid)[\w ]*pericardium",
    "Coronary artery wall calcification": r"coronary[\w ]*calcif\w+|calcif[\w ]*coronary",
    "Arterial wall calcification": r"(?:aorta|aortic|arter(?:y|ial)|atherosclero\w+)[\w ]*calcif\w+"
    r"|calcif[\w ]*(?:aorta|aortic|arter)",
    "Lymphadenopathy": r"(?:lymph)?adenopathy|lymph nodes?[\w ]* enlarged|enlarged[\w ]* nodes?",
    "Hiatal hernia": r"(?:hiatal|hiatus) hernia|hernia",
    "Mosaic attenuation pattern": r"mosaic",
    "Interlobular septal thickening": r"interlobular sept(?:al|a|um) (?:\w+ )*?(?:thicken\w*)"
    r"|thicken\w+ (?:of (?:the )?)?(?:\w+ )?interlobular sept(?:a|al|um)|septal thickening",
    "Peribronchial thickening": r"peribronch\w+(?: wall)? (?:thicken\w+|cuffing)",
    "Bronchiectasis": r"bronchiecta\w+|dilated bronch(?:i|us)|bronch(?:i|us) (?:is|are) (?:\w+ )?dilated",
    "Pulmonary fibrotic sequela": r"fibrotic(?: \w+)?|sequela(?:e|s)?|scars?|scarring",
}
PLACE_PATTERNS: dict[str, str] = {
    "upper lobe": r"upper lobes?",
    "middle lobe": r"middle lobe",
    "lower lobe": r"lower lobes?",
    "aortic arch": r"aortic arch|arch of the aorta",
    "descending aorta": r"descending (?:thoracic )?aorta",
    "mediastinum": r"mediastin(?:um|al)",
    "axilla": r"axilla(?:ry)?",
    "chest wall": r"chest wall",
    "sternum": r"stern(?:um|al)",
}
_SIDE = re.compile(r"\b(?:(left)|(right)|(bilateral(?:ly)?|both))\b")
_SIDES = ("left", "right", "bilateral")
_DENIAL = re.compile(r"\b(?:no|not|without|absence of|absent|negative for|free of|never|neither|nor|denies)\b")
_DENIED_AFTER = re.compile(r"\b(?:is|are|was|were) (?:not (?:seen|present|identified|noted)|absent)\b|\bfree of\b")
_CLAUSE_END = re.compile(r"[.;:\n]+|,? but |,? however,? |,? although |,? except (?:for )?")
_LABELS = {label: re.compile(rf"\b(?:{pattern})\b") for label, pattern in LABEL_PATTERNS.items()}
_PLACES = {place: re.compile(rf"\b(?:{pattern})\b") for place, pattern in PLACE_PATTERNS.items()}


@dataclass(frozen=True)
class Mention:
    """A finding that a report states as present, and the place of its name in the text (`start`, `end`)."""

    finding: Finding
    start: int
    end: int


def extract_findings(report: str) -> set[Finding]:
    """Read the findings that a report states as present, with side and place if the report gives them.

    Side and place are taken from the same clause. After a denial, findings count as absent up to the clause's end.
    Text that names no finding gives an empty set. A mention without side or place is dropped if another mention of
    the same label has them.
    """
    found = {mention.finding for mention in locate_findings(report)}
    return {finding for finding in found if not any(_says_more(other, finding) for other in found)}


def locate_findings(report: str) -> list[Mention]:
    """Read every mention of a present finding, in the order of the text; `extract_findings` combines them."""
    text = lower_in_place(report)
    mentions: list[Mention] = []
    start = 0
    for stop, after in [*(match.span() for match in _CLAUSE_END.finditer(text)), (len(text), len(text))]:
        mentions += _clause_mentions(text[start:stop], start)
        start = after
    return sorted(mentions, key=lambda mention: (mention.start, mention.end))


def _clause_mentions(clause: str, offset: int) -> Iterator[Mention]:
    denial = _DENIAL.search(clause)
    denied_from = denial.start() if denial else len(clause)
    if _DENIED_AFTER.search(clause):
        denied_from = 0
    side = _side_of(clause)
    for label, pattern in _LABELS.items():
        for match in pattern.finditer(clause):
            if match.end() > denied_from or _is_part_of_other(label, clause):
                continue
            yield Mention(
                Finding(label, *_known_location(label, side, clause)), offset + match.start(), offset + match.end()
            )


def _is_part_of_other(label: str, clause: str) -> bool:
    """Return whether a general pattern matched inside a more specific finding."""
    return label == "Arterial wall calcification" and bool(_LABELS["Coronary artery wall calcification"].search(clause))


def _side_of(clause: str) -> str | None:
    named = {_SIDES[index] for groups in _SIDE.findall(clause) for index, group in enumerate(groups) if group}
    if "bilateral" in named or {"left", "right"} <= named:
        return "bilateral"
    return next(iter(named), None)


def _known_location(label: str, side: str | None, clause: str) -> tuple[str | None, str | None]:
    """Return the side and place of a clause, limited to those that this label can have."""
    locations = FINDING_KINDS[label].locations
    places = {place for _, place in locations if place and _PLACES[place].search(clause)}
    place = min(places) if places else None
    sides = {known for known, at in locations if place is None or at == place}
    return (side if any(sides) else None), place


def _says_more(other: Finding, finding: Finding) -> bool:
    """Return whether `other` is the same finding in more detail."""
    if other == finding or other.label != finding.label:
        return False
    return finding.side in (None, other.side) and finding.place in (None, other.place)
