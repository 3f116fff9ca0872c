"""Plan an audit: phantoms, and redraws of each that differ in one finding, in the sides, or elsewhere.

Redraws of a phantom share patient, noise and grid. Nothing is mirrored: sides are swapped by drawing the findings on
the other side of the same patient.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import numpy as np

from argus_processing.phantom.findings import FINDING_KINDS, Finding
from argus_processing.phantom.scans import make_phantom, truth_of

# Far from the seeds of the embedded data set and of the layouts, so that no model was trained on these phantoms.
FIRST_SEED = 7 * 10**17
SEEDS_PER_AUDIT = 1_000_000
MOST_PHANTOMS = 1000
OTHER_SIDE = {"left": "right", "right": "left"}
MIN_LABELS = 4
MIN_FINDINGS, MIN_SIDED = 2, 2  # of a phantom: something to remove elsewhere, and sides to swap
TARGETS = 3  # most findings that are removed from a phantom, and most that are put in
OTHER, MOVED, SCATTERED = "another finding", "the same change elsewhere", "the same values scattered"
# A finding that another one hides is no fair question: its drawing must change this much.
COARSE_MM = (8.0, 5.0, 5.0)
SEEN_HU, SEEN_ML = 50.0, 1.0
WINDOW_HU = (-1000, 1000)  # changes outside of it are invisible after preprocessing
FIRST_LOOKS = 6  # phantoms by which the findings that a model speaks of are found


@dataclass(frozen=True)
class Drawing:
    """One scan that a model reports on: the patient of a seed with these findings.

    Attributes:
        seed: of the phantom.
        findings: those that are drawn.
        moved: a finding that is not drawn, but whose change of the image is added at another place.
        scattered: a finding that is not drawn, but whose values stand one by one at places of like tissue.
    """

    seed: int
    findings: tuple[Finding, ...]
    moved: Finding | None = None
    scattered: Finding | None = None


@dataclass(frozen=True)
class Question:
    """One finding of one phantom, drawn and not drawn; scans are named by their places in the plan.

    Attributes:
        phantom: number of the phantom.
        label: of the finding; the question is about statements of this label.
        is_inserted: whether it was put into the phantom; else it was removed from it.
        drawn, bare: the scans with and without it.
        elsewhere: by kind, pairs of scans, the first of which has more than the second, but elsewhere.
    """

    phantom: int
    label: str
    is_inserted: bool
    drawn: int
    bare: int
    elsewhere: dict[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Swap:
    """A phantom and its redraw with sides swapped; `sides` holds each sided finding's label and its first side."""

    phantom: int
    original: int
    swapped: int
    sides: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Plan:
    """Everything that an audit asks; the same for the same settings."""

    num_phantoms: int
    drawings: tuple[Drawing, ...]
    questions: tuple[Question, ...]
    swaps: tuple[Swap, ...]


class _Drawings:
    """The scans of a plan, each once."""

    def __init__(self) -> None:
        self._places: dict[Drawing, int] = {}

    def place(
        self,
        seed: int,
        findings: Sequence[Finding],
        moved: Finding | None = None,
        scattered: Finding | None = None,
    ) -> int:
        """Return the place of a scan, which is added if it is new."""
        drawing = Drawing(seed, in_order(findings), moved, scattered)
        return self._places.setdefault(drawing, len(self._places))

    def all(self) -> tuple[Drawing, ...]:
        """Return the scans in their order."""
        return tuple(self._places)


def plan_audit(num_phantoms: int, seed: int = 0, labels: Sequence[str] | None = None) -> Plan:
    """Choose phantoms and questions.

    From each phantom up to three findings are removed, one at a time, and up to three are put in. Labels that were
    asked about least come first, so that all are asked about equally often.

    Args:
        num_phantoms: number of phantoms.
        seed: another seed gives other patients; nobody who does not know it can prepare for them.
        labels: findings that are drawn and asked about. Default: all that phantoms can have.

    Raises:
        ValueError: if a number is out of range, a label is unknown, or there are too few.
    """
    asked = check_labels(labels)
    if not 1 <= num_phantoms <= MOST_PHANTOMS or seed < 0:
        raise ValueError(
            f"an audit takes 1 to {MOST_PHANTOMS} phantoms and a seed of 0 or more, got {num_phantoms} and {seed}"
        )
    drawings, counts = _Drawings(), Counter(dict.fromkeys(asked, 0))
    questions: list[Question] = []
    swaps: list[Swap] = []
    for number, (own, truth) in enumerate(islice(_phantoms(seed, asked), num_phantoms)):
        removed, inserted = _choose(own, truth, counts, np.random.default_rng([seed, number]))
        counts.update(finding.label for finding in (*removed, *inserted))
        questions += _questions(drawings, number, own, truth, removed, inserted)
        swaps.append(_swap(drawings, number, own, truth))
    return Plan(num_phantoms, drawings.all(), tuple(questions), tuple(swaps))


def plan_first_look(seed: int = 0) -> tuple[Drawing, ...]:
    """Return phantoms in which every finding is drawn equally often, to find those that a model speaks of."""
    first = FIRST_SEED + (seed + 1) * SEEDS_PER_AUDIT
    labels = list(FINDING_KINDS)
    draw = np.random.default_rng([seed, 0])
    looks = []
    for number in range(FIRST_LOOKS):
        own = [labels[place] for place in range(len(labels)) if place % (FIRST_LOOKS // 2) == number // 2]
        looks.append(Drawing(first - 1 - number, in_order(_placed(label, draw) for label in own)))
    return tuple(looks)


def check_labels(labels: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels to ask about, in the order of the table of findings.

    Raises:
        ValueError: if one is unknown, or there are too few.
    """
    if unknown := set(labels or ()) - set(FINDING_KINDS):
        raise ValueError(f"no finding of phantoms: {', '.join(sorted(unknown))}; there are {', '.join(FINDING_KINDS)}")
    asked = tuple(label for label in FINDING_KINDS if labels is None or label in labels)
    if len(asked) < MIN_LABELS:
        raise ValueError(f"an audit needs {MIN_LABELS} findings or more, to change another one; got {len(asked)}")
    return asked


def in_order(findings: Sequence[Finding] | Iterator[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order in which they are painted."""
    return tuple(sorted(findings, key=lambda finding: list(FINDING_KINDS).index(finding.label)))


def _phantoms(seed: int, labels: Sequence[str]) -> Iterator[tuple[int, tuple[Finding, ...]]]:
    """Yield seeds of phantoms with their findings, in order, without those that are too healthy to ask about."""
    sided = sum(any(side in OTHER_SIDE for side, _ in FINDING_KINDS[label].locations) for label in labels)
    first = FIRST_SEED + seed * SEEDS_PER_AUDIT
    for own in range(first, first + SEEDS_PER_AUDIT):
        truth = tuple(finding for finding in truth_of(own) if finding.label in labels)
        with_side = sum(finding.side in OTHER_SIDE for finding in truth)
        if len(truth) >= MIN_FINDINGS and with_side >= min(MIN_SIDED, sided):
            yield own, truth


def _choose(
    seed: int, truth: tuple[Finding, ...], counts: Counter[str], draw: np.random.Generator
) -> tuple[list[Finding], list[Finding]]:
    """Choose the findings to remove and to put in: those asked about least, if they can be seen in this phantom."""
    present = {finding.label: finding for finding in truth}
    chances = {label: float(draw.random()) for label in counts}
    by_need = sorted(counts, key=lambda label: (counts[label], chances[label]))
    new = {label: _placed(label, draw) for label in counts if label not in present}
    removed = (present[label] for label in by_need if label in present)
    inserted = (new[label] for label in by_need if label in new)
    return (
        list(islice((one for one in removed if is_seen(seed, without(truth, one), one)), TARGETS)),
        list(islice((one for one in inserted if is_seen(seed, truth, one)), TARGETS)),
    )


def _placed(label: str, draw: np.random.Generator) -> Finding:
    locations = FINDING_KINDS[label].locations
    return Finding(label, *locations[int(draw.integers(len(locations)))])


def without(findings: Sequence[Finding], removed: Finding) -> tuple[Finding, ...]:
    """Return findings without one of them."""
    return tuple(finding for finding in findings if finding != removed)


def _questions(
    drawings: _Drawings,
    phantom: int,
    seed: int,
    truth: tuple[Finding, ...],
    removed: Sequence[Finding],
    inserted: Sequence[Finding],
) -> Iterator[Question]:
    base = drawings.place(seed, truth)
    less = {finding: drawings.place(seed, without(truth, finding)) for finding in removed}
    more = {finding: drawings.place(seed, (*truth, finding)) for finding in inserted}
    for finding, bare in less.items():
        others = tuple((base, place) for other, place in less.items() if other != finding)
        instead = _instead(drawings, seed, without(truth, finding), finding, bare)
        yield Question(phantom, finding.label, False, base, bare, {OTHER: others, **instead})
    for finding, drawn in more.items():
        others = tuple((place, base) for other, place in more.items() if other != finding)
        instead = _instead(drawings, seed, truth, finding, base)
        yield Question(phantom, finding.label, True, drawn, base, {OTHER: others, **instead})


def _instead(
    drawings: _Drawings, seed: int, findings: tuple[Finding, ...], finding: Finding, bare: int
) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return the pairs in which the change of a finding stands elsewhere, or its values are scattered."""
    moved = drawings.place(seed, findings, moved=finding)
    scattered = drawings.place(seed, findings, scattered=finding)
    return {MOVED: ((moved, bare),), SCATTERED: ((scattered, bare),)}


def _swap(drawings: _Drawings, phantom: int, seed: int, truth: tuple[Finding, ...]) -> Swap:
    sides = tuple((one.label, one.side) for one in truth if one.side in OTHER_SIDE and swapped(one) != one)
    other = drawings.place(seed, tuple(map(swapped, truth)))
    return Swap(phantom, drawings.place(seed, truth), other, sides)


def swapped(finding: Finding) -> Finding:
    """Return a finding on the other side: at the same place, or at the first one that this side has instead.

    A finding without a side, or that has no place on the other side, stays as it is.
    """
    side = OTHER_SIDE.get(finding.side or "")
    places = [place for known, place in FINDING_KINDS[finding.label].locations if known == side]
    if side is None or not places:
        return finding
    return replace(finding, side=side, place=finding.place if finding.place in places else places[0])


def is_seen(seed: int, bare: tuple[Finding, ...], finding: Finding) -> bool:
    """Return whether a finding changes the image of a phantom that already has the findings `bare`."""
    before, after = (_coarse(seed, in_order(drawn)) for drawn in (bare, (*bare, finding)))
    changed = np.count_nonzero(np.abs(after - before) > SEEN_HU)
    return bool(changed * float(np.prod(COARSE_MM)) / 1000 >= SEEN_ML)


@lru_cache(maxsize=4)
def _coarse(seed: int, findings: tuple[Finding, ...]) -> np.ndarray:
    return np.clip(make_phantom(seed, COARSE_MM, findings).hu, *WINDOW_HU).astype(np.float32)
