"""Findings that rules read from a report, and their scores against the known findings of phantoms."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from argus_processing.phantom.findings import FINDING_KINDS, Finding

from .metric import MetricScores, ratio_of_sums, score_of_sums

# Labels whose side carries information: those that can be on more than one side.
TWO_SIDED = {
    label for label, kind in FINDING_KINDS.items() if len({side for side, _ in kind.locations if side is not None}) > 1
}
Pairs = list[tuple[set[Finding], set[Finding]]]  # per scan: findings in the report, true findings

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
    # Letters whose lower case has more characters are not changed, so that places in the text stay correct.
    text = "".join(low if len(low := letter.lower()) == 1 else letter for letter in report)
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


def score_findings(predictions: Sequence[str], truths: Sequence[Sequence[Finding]]) -> dict:
    """Score reports against the true findings.

    Args:
        predictions: one report for each scan.
        truths: the findings of each scan, in the same order.

    Returns:
        `precision`, `recall`, `finding_f1` over all labels (side ignored);
        `macro_f1`, the mean over the labels that occur in the truth;
        `finding_side_f1`, for which label and side must both be right;
        `n_sided`, the number of findings that are truly present with a side and also reported with a side; a label that
        always has the same side (emphysema in both lungs) tells nothing and is left out;
        `laterality_accuracy`, the share of these findings whose side is right (None if there are none);
        `per_label` with precision, recall, f1 and support.

    Raises:
        ValueError: if the two differ in length or are empty.
    """
    if len(predictions) != len(truths) or not predictions:
        raise ValueError(f"need one report for each truth, got {len(predictions)} reports and {len(truths)} truths")
    pairs = [(extract_findings(report), set(truth)) for report, truth in zip(predictions, truths, strict=True)]
    per_label = {label: _rates(*_counts(pairs, lambda f: f.label, label)) for label in FINDING_KINDS}
    overall = _rates(*_counts(pairs, lambda f: f.label))
    sided, right = _laterality(pairs)
    present = [scores["f1"] for scores in per_label.values() if scores["support"]]
    return {
        "finding_f1": overall["f1"],
        "precision": overall["precision"],
        "recall": overall["recall"],
        "macro_f1": sum(present) / len(present) if present else 0.0,
        "finding_side_f1": _rates(*_counts(pairs, lambda f: (f.label, f.side)))["f1"],
        "laterality_accuracy": right / sided if sided else None,
        "n_sided": sided,
        "n_scans": len(pairs),
        "per_label": per_label,
    }


def resample_findings(predictions: Sequence[str], truths: Sequence[Sequence[Finding]]) -> dict[str, MetricScores]:
    """Return `finding_f1` and `laterality_accuracy` as scores that can be resampled, one row for each scan.

    The second is left out if no finding was reported with a side.
    """
    scans = [(extract_findings(report), set(truth)) for report, truth in zip(predictions, truths, strict=True)]
    hits = np.array([_counts([scan], lambda f: f.label) for scan in scans], dtype=np.float64)
    sides = np.array([_laterality([scan])[::-1] for scan in scans], dtype=np.float64)
    doubled = np.stack([2 * hits[:, 0], hits[:, 1] + hits[:, 2]], axis=-1)
    scores = {"finding_f1": score_of_sums(doubled, ratio_of_sums)}
    return scores | ({"laterality_accuracy": score_of_sums(sides, ratio_of_sums)} if sides[:, 1].any() else {})


def _counts(pairs: Pairs, key: Callable[[Finding], object], only: str | None = None) -> tuple[int, int, int]:
    """Count true positives, reported findings and present findings over all scans; a key tells which are equal."""
    hits = reported = present = 0
    for predicted, truth in pairs:
        predicted_keys = {key(finding) for finding in predicted if only in (None, finding.label)}
        truth_keys = {key(finding) for finding in truth if only in (None, finding.label)}
        hits += len(predicted_keys & truth_keys)
        reported += len(predicted_keys)
        present += len(truth_keys)
    return hits, reported, present


def _rates(hits: int, reported: int, present: int) -> dict[str, float | int]:
    return {
        "precision": hits / reported if reported else 0.0,
        "recall": hits / present if present else 0.0,
        "f1": 2 * hits / (reported + present) if reported + present else 0.0,
        "support": present,
    }


def _laterality(pairs: Pairs) -> tuple[int, int]:
    """Count the findings with a true side that were reported with a side, and those reported with the right side."""
    sided = right = 0
    for predicted, truth in pairs:
        for label in {finding.label for finding in truth if finding.side} & TWO_SIDED:
            told = {finding.side for finding in predicted if finding.label == label and finding.side}
            due = {finding.side for finding in truth if finding.label == label and finding.side}
            if told:
                sided += 1
                right += told == due
    return sided, right
