"""Write a short radiology report from findings: a fixed anatomical order, a small vocabulary and drawn wordings.

`argus_evaluation.metrics.phantom_truth` reads these wordings back; a test checks that the two agree.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .findings import Finding, known_labels


@dataclass(frozen=True)
class Wording:
    """The sentences for one finding; its side and lobe replace `{side}` and `{lobe}`.

    Attributes:
        present: full sentences for the findings section.
        short: phrases for the impression.
        absent: sentences if the finding is absent.
    """

    present: tuple[str, ...]
    short: tuple[str, ...]
    absent: tuple[str, ...] = ()


# In the order of dictation. A key is a label, or a label with a place or side that needs its own words.
WORDINGS: dict[str, Wording] = {
    "Medical material": Wording(
        (
            "A pacemaker is seen in the {side} chest wall.",
            "There is a pacemaker in the {side} chest wall with its lead in the heart.",
            "Pacemaker in place over the {side} chest wall.",
        ),
        ("pacemaker in the {side} chest wall", "{side} chest wall pacemaker"),
        ("No medical material.", "There is no implant."),
    ),
    "Medical material/sternum": Wording(
        ("Sternal wires are seen.", "There are wires in the sternum.", "Metal sternal wires after surgery."),
        ("sternal wires", "wires in the sternum"),
    ),
    "Lung opacity": Wording(
        (
            "There is a ground-glass opacity in the {side} {lobe}.",
            "A hazy opacity is seen in the {lobe} of the {side} lung.",
            "The {side} {lobe} shows ground-glass opacity.",
        ),
        ("{side} {lobe} opacity", "ground-glass opacity in the {side} {lobe}"),
        ("No ground-glass opacity.", "No opacity is seen."),
    ),
    "Consolidation": Wording(
        (
            "There is a consolidation in the {side} {lobe}.",
            "The {side} {lobe} is consolidated with air bronchograms.",
            "A dense consolidation is seen in the {lobe} of the {side} lung.",
        ),
        ("{side} {lobe} consolidation", "consolidation in the {side} {lobe}"),
        ("No consolidation.", "There is no focal consolidation."),
    ),
    "Lung nodule": Wording(
        (
            "There is a nodule in the {side} {lobe}.",
            "A round nodule is seen in the {lobe} of the {side} lung.",
            "Solid nodule in the {side} {lobe}.",
        ),
        ("{side} {lobe} nodule", "nodule in the {side} {lobe}"),
        ("No lung nodule.", "No nodule is seen in the lungs."),
    ),
    "Atelectasis": Wording(
        (
            "There is a band of atelectasis in the {side} {lobe}.",
            "Linear atelectasis is seen in the {side} {lobe}.",
            "The {side} {lobe} shows atelectasis.",
        ),
        ("{side} {lobe} atelectasis", "atelectasis in the {side} {lobe}"),
        ("No atelectasis.", "There is no atelectasis."),
    ),
    "Emphysema": Wording(
        (
            "There is emphysema in both lungs.",
            "Emphysematous change with bullae is seen in both lungs.",
            "Both lungs show emphysema.",
        ),
        ("bilateral emphysema", "emphysema in both lungs"),
        ("No emphysema.", "There is no emphysema."),
    ),
    "Mosaic attenuation pattern": Wording(
        (
            "There is a mosaic attenuation pattern in both lungs.",
            "Mosaic attenuation is seen in both lungs.",
            "Both lungs show a mosaic pattern.",
        ),
        ("bilateral mosaic attenuation", "mosaic attenuation in both lungs"),
        ("No mosaic attenuation.", "There is no mosaic pattern."),
    ),
    "Interlobular septal thickening": Wording(
        (
            "There is interlobular septal thickening in both lungs.",
            "The interlobular septa are thickened in both lungs.",
            "Both lungs show thickened interlobular septa.",
        ),
        ("bilateral interlobular septal thickening", "thickened interlobular septa in both lungs"),
        ("No interlobular septal thickening.", "The interlobular septa are not thickened."),
    ),
    "Peribronchial thickening": Wording(
        (
            "There is peribronchial thickening in both lungs.",
            "Peribronchial cuffing is seen in both lungs.",
            "Both lungs show peribronchial thickening.",
        ),
        ("bilateral peribronchial thickening", "peribronchial thickening in both lungs"),
        ("No peribronchial thickening.", "There is no peribronchial cuffing."),
    ),
    "Bronchiectasis": Wording(
        (
            "There is bronchiectasis in the {side} {lobe}.",
            "Dilated bronchi are seen in the {lobe} of the {side} lung.",
            "The {side} {lobe} shows bronchiectasis.",
        ),
        ("{side} {lobe} bronchiectasis", "bronchiectasis in the {side} {lobe}"),
        ("No bronchiectasis.", "The bronchi are not dilated."),
    ),
    "Pulmonary fibrotic sequela": Wording(
        (
            "There are fibrotic sequelae in the {side} {lobe}.",
            "Fibrotic bands are seen in the {lobe} of the {side} lung.",
            "The {side} {lobe} shows fibrotic scars.",
        ),
        ("{side} {lobe} fibrotic scars", "fibrotic sequelae in the {side} {lobe}"),
        ("No fibrotic sequelae.", "There are no fibrotic bands."),
    ),
    "Pleural effusion": Wording(
        (
            "There is a {side}-sided pleural effusion.",
            "A pleural effusion is seen on the {side}.",
            "Free fluid in the {side} pleural space.",
        ),
        ("{side} pleural effusion", "{side}-sided pleural effusion"),
        ("No pleural effusion.", "There is no pleural fluid.", "The pleural spaces are free of fluid."),
    ),
    "Pleural effusion/bilateral": Wording(
        (
            "There are bilateral pleural effusions.",
            "Pleural effusions are seen on both sides.",
            "Free fluid in both pleural spaces.",
        ),
        ("bilateral pleural effusions", "pleural effusions on both sides"),
    ),
    "Cardiomegaly": Wording(
        ("The heart is enlarged.", "There is cardiomegaly.", "The heart size is increased."),
        ("cardiomegaly", "enlarged heart"),
        ("The heart is not enlarged.", "The heart size is normal.", "No cardiomegaly."),
    ),
    "Pericardial effusion": Wording(
        (
            "There is a pericardial effusion.",
            "Fluid is seen around the heart in the pericardium.",
            "A pericardial effusion surrounds the heart.",
        ),
        ("pericardial effusion", "effusion in the pericardium"),
        ("No pericardial effusion.", "There is no pericardial fluid."),
    ),
    "Coronary artery wall calcification": Wording(
        (
            "Calcifications are seen in the coronary arteries.",
            "The coronary arteries are calcified.",
            "There is coronary artery calcification.",
        ),
        ("coronary artery calcification", "calcified coronary arteries"),
        ("No coronary calcification.", "The coronary arteries are not calcified."),
    ),
    "Arterial wall calcification": Wording(
        (
            "The wall of the {place} is calcified.",
            "There are wall calcifications in the {place}.",
            "Calcified plaques are seen along the {place}.",
        ),
        ("calcified {place}", "{place} calcification"),
        ("No aortic calcification.", "The aorta is not calcified."),
    ),
    "Lymphadenopathy": Wording(
        (
            "There are enlarged lymph nodes in the mediastinum.",
            "Mediastinal lymphadenopathy is seen.",
            "Several mediastinal lymph nodes are enlarged.",
        ),
        ("mediastinal lymphadenopathy", "enlarged mediastinal lymph nodes"),
        ("No enlarged lymph nodes.", "There is no lymphadenopathy."),
    ),
    "Lymphadenopathy/axilla": Wording(
        (
            "There are enlarged lymph nodes in the {side} axilla.",
            "{side} axillary lymphadenopathy is seen.",
            "Several {side} axillary lymph nodes are enlarged.",
        ),
        ("{side} axillary lymphadenopathy", "enlarged {side} axillary lymph nodes"),
    ),
    "Hiatal hernia": Wording(
        (
            "There is a hiatal hernia.",
            "A hiatal hernia with gas is seen behind the heart.",
            "Part of the stomach lies in the chest as a hiatal hernia.",
        ),
        ("hiatal hernia", "hernia of the stomach"),
        ("No hiatal hernia.", "There is no hernia."),
    ),
}

LUNG_LABELS = (
    "Lung opacity",
    "Consolidation",
    "Lung nodule",
    "Atelectasis",
    "Emphysema",
    "Mosaic attenuation pattern",
    "Interlobular septal thickening",
    "Peribronchial thickening",
    "Bronchiectasis",
    "Pulmonary fibrotic sequela",
)
_CLEAR_LUNGS = ("The lungs are clear.", "Both lungs are normal.", "The lungs are well aerated.")
_OPENINGS = ("Findings:", "Findings of the chest CT:", "CT of the chest:")
_CLOSINGS = (
    "The bones are unremarkable.",
    "No fracture is seen.",
    "The airways are open.",
    "The trachea and main bronchi are open.",
)
_NORMAL = ("Normal chest CT.", "No significant abnormality.", "Unremarkable CT of the chest.")
_IMPRESSION_LENGTH = 3
_IMPRESSION_ORDER = (
    "Consolidation",
    "Pleural effusion",
    "Lung nodule",
    "Lung opacity",
    "Lymphadenopathy",
    "Pericardial effusion",
    "Cardiomegaly",
    "Emphysema",
    "Bronchiectasis",
    "Interlobular septal thickening",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Pulmonary fibrotic sequela",
    "Atelectasis",
    "Hiatal hernia",
    "Coronary artery wall calcification",
    "Arterial wall calcification",
    "Medical material",
)


def wording_of(finding: Finding) -> Wording:
    """Return the wordings for a finding at its place."""
    for detail in (finding.place, finding.side):
        if wording := WORDINGS.get(f"{finding.label}/{detail}"):
            return wording
    return WORDINGS[finding.label]


def _fill(template: str, finding: Finding) -> str:
    text = template.format(side=finding.side, lobe=finding.place, place=finding.place)
    return text[0].upper() + text[1:]


def write_report(findings: Sequence[Finding], rng: np.random.Generator, labels: Collection[str] | None = None) -> str:
    """Write a report: every label once, present or absent, as in a structured report, then the impression.

    Args:
        findings: the true findings; each label at most once.
        rng: draws the wordings.
        labels: those that are called absent where they are; of others nothing is said then. Default: all.

    Returns:
        One paragraph of findings and one line of impression, of about 60 to 130 words, without numbers.
    """
    told = known_labels(labels)
    by_label = {finding.label: finding for finding in findings}

    def pick(options: Sequence[str]) -> str:
        return options[int(rng.random() * len(options))]

    sentences = [pick(_OPENINGS)]
    clear = pick(_CLEAR_LUNGS)
    if not any(label in by_label for label in LUNG_LABELS):
        sentences.append(clear)
    for label, wording in WORDINGS.items():
        finding = by_label.get(label)
        if finding is not None:
            sentences.append(_fill(pick(wording_of(finding).present), finding))
        elif wording.absent and label in told:
            sentences.append(pick(wording.absent))
    sentences.append(pick(_CLOSINGS))
    listed = [by_label[label] for label in _IMPRESSION_ORDER if label in by_label][:_IMPRESSION_LENGTH]
    phrases = [_fill(pick(wording_of(finding).short), finding) + "." for finding in listed] or [pick(_NORMAL)]
    return " ".join(sentences) + "\nImpression: " + " ".join(phrases)
