"""Try a model on real scans: erase a listed finding, erase as much elsewhere, mirror, and take other patients."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from argus_processing import CTVolume, read_ct
from argus_processing.instructions import INSTRUCTION
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.file_hash import hash_file

from ..metrics.labels.rule_reader import RULES
from .audit import ANSWERS_FILE, check_folder, judge, read_answers, write_audit
from .audit_effects import (
    LEVEL,
    RESAMPLES,
    Effect,
    Read,
    count_followed,
    difference,
    differs,
    effect_of,
    side_following,
)
from .audit_page import Example, example_of
from .audit_results import SCANS, AuditResults, AuditSettings
from .audited_models import AuditedModel, MakeScan, Written, ask_once
from .erased_findings import NoPlaceError, erase, place_elsewhere
from .listed_boxes import ListedFinding, finding_mask, read_boxes

NUM_EXAMPLES = 4
MIDDLE = 0.06  # share of the width on both sides of the middle, where a finding has no side
Findings = tuple[ListedFinding, ...]


@dataclass(frozen=True)
class ScanFinding:
    """A label of a scan, with every listed place of it; `side` is left or right, or empty near the middle."""

    scan: Path
    label: str
    places: Findings
    side: str


@dataclass(frozen=True)
class ScanQuestion:
    """A finding with the places, in the list of all that is asked about, of its scan and the changed ones.

    Attributes:
        finding: the finding.
        whole, erased, elsewhere, mirrored: the scan, without the finding, without as much elsewhere, and mirrored.
    """

    finding: ScanFinding
    whole: int
    erased: int
    elsewhere: int
    mirrored: int


def audit_scans(
    model: AuditedModel, scans: Path, boxes: Path, out: Path, *, seed: int = 0, say: Callable[[str], None] = print
) -> AuditResults:
    """Audit a model on real scans, and write the same files as `audit_model` into the folder `out`.

    Args:
        model: the model under audit.
        scans: folder of NIfTI files.
        boxes: table of findings in them, see `read_boxes`.
        out: folder, made if it is not there.
        seed: of the places elsewhere.
        say: called with one line for each finding that cannot be asked about, and for each kind of failure.

    Raises:
        ValueError, OSError: if a scan or the table cannot be read, or `out` holds something else.
        ConnectionError: if an address gives no reports at all.
    """
    started = time.monotonic()
    findings = _grouped(read_boxes(scans, boxes))
    with claimed_folder(out) as folder:
        check_folder(folder, model)
        asked: dict[str, MakeScan] = {}
        questions = [_question(finding, seed, asked) for finding in _with_sides(findings, seed, say)]
        answers = ask_once(model, folder / ANSWERS_FILE, asked, "reports")
        read = read_answers(answers)
        labels = tuple(dict.fromkeys(question.finding.label for question in questions))
        results = judge(
            model,
            scan_effects(questions, read),
            {
                label: scan_effects([one for one in questions if one.finding.label == label], read)["paired_effect"]
                for label in labels
            },
            answers,
            AuditSettings(seed, labels, (), None, INSTRUCTION, RULES, RESAMPLES, LEVEL),
            kind=SCANS,
            num_subjects=len({question.finding.scan for question in questions}),
            sides_followed=count_followed(
                (one.finding.label, read[one.whole], read[one.mirrored]) for one in questions
            ),
            seconds=round(time.monotonic() - started, 1),
        )
        write_audit(folder, results, _examples(questions, list(asked.values()), answers), say)
    return results


def _grouped(listed: Iterable[ListedFinding]) -> dict[tuple[Path, str], Findings]:
    """Group findings by scan and label, scan by scan: a label is erased at all its places together."""
    grouped: dict[tuple[Path, str], Findings] = {}
    for one in sorted(listed, key=lambda one: str(one.scan)):
        grouped[one.scan, one.label] = (*grouped.get((one.scan, one.label), ()), one)
    return grouped


def _with_sides(findings: dict[tuple[Path, str], Findings], seed: int, say: Callable[[str], None]) -> list[ScanFinding]:
    """Look at every finding once; leave out those that have no place elsewhere, and tell them."""
    found = []
    for (scan, label), places in findings.items():
        finding = ScanFinding(scan, label, places, side_of(_mask(places)))
        try:
            _elsewhere(finding, seed)
        except NoPlaceError as error:
            say(f"{scan.name}, {label}: is left out: {error}")
            continue
        found.append(finding)
    if not found:
        raise ValueError("no listed finding can be asked about")
    return found


def side_of(mask: NDArray[np.bool_]) -> str:
    """Return the patient's side on which all of a mask lies; empty if some of it lies near the middle or beyond."""
    columns = np.flatnonzero(mask.any(axis=(0, 1))) / (mask.shape[2] - 1) - 0.5
    if columns.min() > MIDDLE:
        return "left"
    return "right" if columns.max() < -MIDDLE else ""


@lru_cache(maxsize=2)
def _volume(scan: Path) -> CTVolume:
    return read_ct(scan)


def _mask(places: Findings) -> NDArray[np.bool_]:
    return np.logical_or.reduce([finding_mask(place, _volume(place.scan)) for place in places])


def _elsewhere(finding: ScanFinding, seed: int) -> NDArray[np.bool_]:
    mask = _mask(finding.places)
    return place_elsewhere(_volume(finding.scan), mask, mask, np.random.default_rng(seed))


def _erased(finding: ScanFinding, seed: int) -> CTVolume:
    return erase(_volume(finding.scan), _mask(finding.places), _elsewhere(finding, seed))


def _erased_elsewhere(finding: ScanFinding, seed: int) -> CTVolume:
    other = _elsewhere(finding, seed)
    return erase(_volume(finding.scan), other, other)


def _mirrored(scan: Path) -> CTVolume:
    volume = _volume(scan)
    return replace(volume, hu=volume.hu[:, :, ::-1])


def _question(finding: ScanFinding, seed: int, asked: dict[str, MakeScan]) -> ScanQuestion:
    """Make the question of a finding, and add the scans that it needs."""
    places = [(one.box, one.mask and hash_file(one.mask)) for one in finding.places]
    own = {"scan": _hash(finding.scan)}
    erased = own | {"label": finding.label, "places": places, "seed": seed}
    makers: dict[str, tuple[dict, MakeScan]] = {
        "whole": (own, partial(_volume, finding.scan)),
        "erased": (erased, partial(_erased, finding, seed)),
        "elsewhere": (erased, partial(_erased_elsewhere, finding, seed)),
        "mirrored": (own, partial(_mirrored, finding.scan)),
    }
    at = {}
    for name, (key, make) in makers.items():
        asked.setdefault(json.dumps({"shown": name, **key}), make)
        at[name] = list(asked).index(json.dumps({"shown": name, **key}))
    return ScanQuestion(finding, **at)


@lru_cache(maxsize=4096)
def _hash(path: Path) -> str:
    return hash_file(path)


def scan_effects(questions: Sequence[ScanQuestion], read: Read) -> dict[str, Effect]:
    """Compute the effects of real scans, with intervals over scans.

    `other_patient_effect` is the statement on the scan minus its share on the other scans, for which the label is not
    listed.
    """

    def change(more: str, less: str) -> Effect:
        return mean(lambda one: difference(one.finding.label, read[getattr(one, more)], read[getattr(one, less)]))

    def mean(measure: Callable[[ScanQuestion], float | None]) -> Effect:
        return effect_of((str(one.finding.scan), measure(one)) for one in questions)

    def side(one: ScanQuestion) -> float | None:
        own = one.finding
        return side_following(own.label, own.side, read[one.whole], read[one.mirrored]) if own.side else None

    return {
        "paired_effect": change("elsewhere", "erased"),
        "drawn_effect": change("whole", "erased"),
        "elsewhere_effect": change("whole", "elsewhere"),
        "other_patient_effect": mean(lambda one: _other_patients(one, questions, read)),
        "side_following": mean(side),
        "text_change": mean(lambda one: differs(read[one.whole], read[one.erased])),
    }


def _other_patients(question: ScanQuestion, questions: Sequence[ScanQuestion], read: Read) -> float | None:
    label = question.finding.label
    having = {one.finding.scan for one in questions if one.finding.label == label}
    others = {one.whole for one in questions if one.finding.scan not in having}
    told = [float(label in statements.labels) for place in others if (statements := read[place]) is not None]
    own = read[question.whole]
    return float(label in own.labels) - sum(told) / len(told) if own is not None and told else None


def _examples(
    questions: Sequence[ScanQuestion], scans: Sequence[MakeScan], answers: Sequence[Written]
) -> list[Example]:
    """Return the first questions, so that none is chosen for its result."""
    examples = []
    for question in questions[:NUM_EXAMPLES]:
        places = (question.whole, question.erased)
        reports = [answers[place].report for place in places]
        if None not in reports:
            examples.append(example_of(question.finding.label, "erased", [scans[at]() for at in places], reports))
    return examples
