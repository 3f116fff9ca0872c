"""Compute from an audit's reports how statements follow the image, with bootstrap intervals over phantoms.

The paired effect of a finding is the difference of two things: how its statement changes when it is drawn, and how the
same statement changes when something is drawn elsewhere. A writer whose text changes with any change of the image, but
not with what it shows, has an effect of 0.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from argus_processing.phantom.findings import FINDING_KINDS

from ..metrics.metric import ratio_of_sums, score_of_sums
from ..metrics.significance import confidence_interval, draw_reports
from .audit_plan import MOVED, OTHER, OTHER_SIDE, SCATTERED, Plan, Question
from .statements import Statements

# A verdict on a model is drawn from them: wider than the 95% of scores, and with draws enough for that.
LEVEL, RESAMPLES = 0.99, 5000
Read = Sequence[Statements | None]  # of each scan of a plan; None where the model gave no report
Measure = Callable[[Question, Read], float | None]


@dataclass(frozen=True)
class Effect:
    """A mean difference with its 99% interval.

    Attributes:
        value: None if nothing could be compared.
        low, high: bootstrap over phantoms.
        n: number of phantoms.
        comparisons: number of comparisons in them.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    comparisons: int = 0


def drawn_effect(question: Question, read: Read) -> float | None:
    """Return the statement with the finding drawn minus without it."""
    return difference(question.label, read[question.drawn], read[question.bare])


def elsewhere_effect(question: Question, read: Read) -> float | None:
    """Return the change of the same statement by changes elsewhere: the mean of the two kinds."""
    return _mean(change_elsewhere(kind)(question, read) for kind in (OTHER, MOVED))


def change_elsewhere(kind: str) -> Measure:
    """Return the measure of the change of the same statement by one kind of change elsewhere."""

    def measure(question: Question, read: Read) -> float | None:
        pairs = question.elsewhere[kind]
        return _mean(difference(question.label, read[more], read[less]) for more, less in pairs)

    return measure


def beyond(elsewhere: Measure) -> Measure:
    """Return the measure of a finding's effect minus that of a change elsewhere."""

    def measure(question: Question, read: Read) -> float | None:
        own, other = drawn_effect(question, read), elsewhere(question, read)
        return None if own is None or other is None else own - other

    return measure


paired_effect = beyond(elsewhere_effect)


def cross_label_change(question: Question, read: Read) -> float | None:
    """Return the share of the other labels whose statement changes with this finding."""
    drawn, bare = read[question.drawn], read[question.bare]
    if drawn is None or bare is None:
        return None
    changed = (drawn.labels ^ bare.labels) & FINDING_KINDS.keys()
    return len(changed - {question.label}) / max(1, len(FINDING_KINDS) - 1)


def text_change(question: Question, read: Read) -> float | None:
    """Return 1 if the report changes with the finding in any way."""
    return differs(read[question.drawn], read[question.bare])


def differs(first: Statements | None, second: Statements | None) -> float | None:
    """Return 1 if two reports are not the same text, else 0."""
    return None if first is None or second is None else float(first.text != second.text)


MEASURES: dict[str, Measure] = {
    "paired_effect": paired_effect,
    "drawn_effect": drawn_effect,
    "elsewhere_effect": elsewhere_effect,
    "beyond_another_finding": beyond(change_elsewhere(OTHER)),
    "beyond_the_same_change_elsewhere": beyond(change_elsewhere(MOVED)),
    "beyond_the_same_values_scattered": beyond(change_elsewhere(SCATTERED)),
    "cross_label_change": cross_label_change,
    "text_change": text_change,
}


def measure_effects(plan: Plan, read: Read) -> dict[str, Effect]:
    """Compute each of `MEASURES` over all questions, the paired effect of removing and of inserting, and the sides."""
    effects = {name: question_effect(plan.questions, read, measure) for name, measure in MEASURES.items()}
    removed = [question for question in plan.questions if not question.is_inserted]
    inserted = [question for question in plan.questions if question.is_inserted]
    effects["removal_effect"] = question_effect(removed, read, paired_effect)
    effects["insertion_effect"] = question_effect(inserted, read, paired_effect)
    effects["side_following"] = effect_of(_side_values(plan, read))
    return effects


def effects_by_label(plan: Plan, read: Read) -> dict[str, Effect]:
    """Compute the paired effect of each label that was asked about."""
    asked: dict[str, list[Question]] = {label: [] for label in FINDING_KINDS}
    for question in plan.questions:
        asked[question.label].append(question)
    return {label: question_effect(own, read, paired_effect) for label, own in asked.items() if own}


def question_effect(questions: Iterable[Question], read: Read, measure: Measure) -> Effect:
    """Compute the mean of a measure over questions."""
    return effect_of((question.phantom, measure(question, read)) for question in questions)


def effect_of(values: Iterable[tuple[int | str, float | None]]) -> Effect:
    """Compute the mean of values, each of a phantom or scan, by which they are resampled; None is left out."""
    rows: dict[int | str, list[float]] = {}
    for subject, value in values:
        if value is not None:
            rows.setdefault(subject, []).append(value)
    if not rows:
        return Effect(None)
    scores = score_of_sums(np.array([[sum(own), len(own)] for own in rows.values()]), ratio_of_sums)
    low, high = confidence_interval(scores, draw_reports(len(rows), RESAMPLES), expanded_level(len(rows)))
    return Effect(scores.value, low, high, len(rows), sum(map(len, rows.values())))


def expanded_level(count: int, level: float = LEVEL) -> float:
    """Return the level at which a percentile interval over few subjects covers as often as `level` says.

    Source: the expanded percentile interval of Hesterberg (The American Statistician 69, 2015), section 3.2.
    """
    if count < 2:
        return 1.0
    reach = math.sqrt(count / (count - 1)) * stats.t.ppf((1 + level) / 2, count - 1)
    return float(2 * stats.norm.cdf(reach) - 1)


def sides_followed(plan: Plan, read: Read) -> tuple[int, int]:
    """Count the findings whose stated side follows the swap, and those that have one stated side in both reports."""
    return count_followed(
        (label, read[swap.original], read[swap.swapped]) for swap in plan.swaps for label, _ in swap.sides
    )


def count_followed(pairs: Iterable[tuple[str, Statements | None, Statements | None]]) -> tuple[int, int]:
    """Count labels whose one stated side differs in two reports, and those that have one in both."""
    sides = [(_stated_side(first, label), _stated_side(second, label)) for label, first, second in pairs]
    told = [pair for pair in sides if None not in pair]
    return sum(first != second for first, second in told), len(told)


def side_following(label: str, side: str, original: Statements | None, other: Statements | None) -> float | None:
    """Return by how much more often a side is stated where it is right than where it is wrong.

    Args:
        label: of a finding.
        side: the finding's in the first scan; it has the other side in the second.
        original, other: the reports' statements.
    """
    if original is None or other is None:
        return None
    own, wrong = (label, side), (label, OTHER_SIDE[side])
    on_own = (own in original.sides) - (own in other.sides)
    return (on_own + (wrong in other.sides) - (wrong in original.sides)) / 2


def _side_values(plan: Plan, read: Read) -> Iterator[tuple[int, float | None]]:
    for swap in plan.swaps:
        for label, side in swap.sides:
            yield swap.phantom, side_following(label, side, read[swap.original], read[swap.swapped])


def _stated_side(read: Statements | None, label: str) -> str | None:
    return next((side for own, side in (read.sides if read else ()) if own == label), None)


def difference(label: str, more: Statements | None, less: Statements | None) -> float | None:
    """Return 1 if only the first report states a label, -1 if only the second does, else 0."""
    if more is None or less is None:
        return None
    return float(label in more.labels) - float(label in less.labels)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
