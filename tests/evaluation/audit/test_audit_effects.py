"""Effects of a plan written by hand, against values computed by hand."""

import pytest

from argus_evaluation.audit.audit_effects import (
    Effect,
    effect_of,
    effects_by_label,
    expanded_level,
    measure_effects,
    sides_followed,
)
from argus_evaluation.audit.audit_plan import MOVED, OTHER, SCATTERED, Drawing, Plan, Question, Swap
from argus_evaluation.audit.audit_verdict import CANNOT_TELL, DOES_NOT_READ, READS, decide
from argus_evaluation.audit.statements import Statements, read_statements
from argus_processing.phantom.findings import FINDING_KINDS

NODULE, EFFUSION = "Lung nodule", "Pleural effusion"


def said(*labels, sides=()):
    return Statements("; ".join(labels), frozenset(labels), frozenset(sides))


def plan_of(questions, num_scans, swaps=()):
    phantoms = 1 + max((one.phantom for one in (*questions, *swaps)), default=0)
    return Plan(phantoms, tuple(Drawing(number, ()) for number in range(num_scans)), tuple(questions), tuple(swaps))


# scans: 0 base, 1 without the nodule, 2 without the effusion, 3 the nodule's change elsewhere or scattered
ONE = Question(0, NODULE, False, 0, 1, {OTHER: ((0, 2),), MOVED: ((3, 1),), SCATTERED: ((3, 1),)})
TWO = Question(1, EFFUSION, True, 4, 5, {OTHER: ((6, 5),), MOVED: ((7, 5),), SCATTERED: ((7, 5),)})


def test_an_effect_is_drawn_minus_not_drawn_minus_changes_elsewhere():
    # drawn 1; without the effusion the nodule is not stated any more (1); the moved change alone does nothing (0)
    effects = measure_effects(plan_of([ONE], 4), [said(NODULE), said(), said(), said()])
    assert effects["drawn_effect"].value == 1
    assert effects["elsewhere_effect"].value == 0.5
    assert effects["paired_effect"].value == 0.5
    assert effects["beyond_another_finding"].value == 0
    assert effects["beyond_the_same_change_elsewhere"].value == 1
    assert effects["beyond_the_same_values_scattered"].value == 1


def test_effects_are_means_over_questions_with_the_number_of_phantoms():
    read = [said(NODULE), said(), said(NODULE), said()] + [said(), said(EFFUSION), said(EFFUSION), said(EFFUSION)]
    effects = measure_effects(plan_of([ONE, TWO], 8), read)
    assert effects["paired_effect"].value == 0 and (
        effects["paired_effect"].n,
        effects["paired_effect"].comparisons,
    ) == (2, 2)
    assert effects["removal_effect"].value == 1 and effects["insertion_effect"].value == -1
    assert {label: effect.value for label, effect in effects_by_label(plan_of([ONE, TWO], 8), read).items()} == {
        EFFUSION: -1,
        NODULE: 1,
    }


def test_statements_of_other_labels_and_texts_are_counted():
    effects = measure_effects(plan_of([ONE], 4), [said(NODULE), said(EFFUSION, "Emphysema"), said(), said()])
    assert effects["text_change"].value == 1
    assert effects["cross_label_change"].value == pytest.approx(2 / (len(FINDING_KINDS) - 1))


def test_a_scan_without_a_report_takes_its_questions_along():
    read = [None, said(), said(), said(), said(EFFUSION), said(), said(), said()]
    effects = measure_effects(plan_of([ONE, TWO], 8), read)
    assert (effects["paired_effect"].value, effects["paired_effect"].comparisons) == (1, 1)
    assert measure_effects(plan_of([ONE], 4), [None] * 4)["paired_effect"] == Effect(None)


def test_sides_that_follow_a_swap():
    swap = Swap(0, 0, 1, ((NODULE, "left"), (EFFUSION, "right")))
    left, right = said(NODULE, sides=[(NODULE, "left")]), said(NODULE, sides=[(NODULE, "right")])
    plan = plan_of([], 2, [swap])
    assert measure_effects(plan, [left, right])["side_following"].value == 0.5  # the effusion's side is never told
    assert measure_effects(plan, [right, left])["side_following"].value == -0.5
    assert measure_effects(plan, [left, left])["side_following"].value == 0
    assert sides_followed(plan, [left, right]) == (1, 1) and sides_followed(plan, [left, left]) == (0, 1)


def test_the_interval_draws_phantoms_and_not_questions():
    # Two phantoms of very different size: resampling questions would give a narrow interval.
    effect = effect_of([(0, 1.0)] * 50 + [(1, 0.0)] * 50)
    assert (effect.value, effect.low, effect.high, effect.n) == (0.5, 0.0, 1.0, 2)


def decided(paired, drawn=None, elsewhere=(0, 0, 0), moved=None, scattered=None, text=1.0, failed=0, n=20):
    effects = {
        "paired_effect": Effect(*paired, n, 100),
        "drawn_effect": Effect(*(drawn or paired), n, 100),
        "elsewhere_effect": Effect(*elsewhere, n, 100),
        "beyond_another_finding": Effect(*paired, n, 100),
        "beyond_the_same_change_elsewhere": Effect(*(moved or paired), n, 100),
        "beyond_the_same_values_scattered": Effect(*(scattered or paired), n, 100),
        "text_change": Effect(text, text, text, n, 100),
        "side_following": Effect(0.8, 0.7, 0.9, n, 30),
    }
    return decide(effects, 100, failed)


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ({"paired": (0.8, 0.7, 0.9)}, READS),
        ({"paired": (0.0, -0.1, 0.1)}, DOES_NOT_READ),
        ({"paired": (0.0, 0.0, 0.0), "text": 0.0}, DOES_NOT_READ),
        ({"paired": (0.15, 0.05, 0.25)}, CANNOT_TELL),  # an effect, but no clear one
        ({"paired": (0.1, -0.3, 0.5)}, CANNOT_TELL),  # the interval is too wide
        ({"paired": (-0.5, -0.6, -0.4)}, CANNOT_TELL),  # it states what is not there
        ({"paired": (0.8, 0.7, 0.9), "n": 4}, CANNOT_TELL),
        ({"paired": (0.8, 0.7, 0.9), "failed": 11}, CANNOT_TELL),
        ({"paired": (0.8, 0.7, 0.9), "failed": 9}, READS),
        # brightness alone: the same change elsewhere explains all of it
        ({"paired": (0.3, 0.2, 0.4), "moved": (0.0, 0.0, 0.0)}, DOES_NOT_READ),
        # the histogram alone: the same values anywhere explain all of it
        ({"paired": (0.3, 0.2, 0.4), "scattered": (0.0, 0.0, 0.0)}, DOES_NOT_READ),
        # what happens elsewhere reaches as high as what is drawn
        ({"paired": (0.3, 0.2, 0.4), "drawn": (0.8, 0.7, 0.9), "elsewhere": (0.6, 0.4, 0.75)}, CANNOT_TELL),
    ],
)
def test_the_verdict_is_only_given_where_the_intervals_are_clear(case, verdict):
    assert decided(**case).verdict == verdict


def test_statements_are_labels_and_the_one_side_of_each():
    report = "There is a nodule in the left upper lobe. No pleural effusion. There is a right-sided pleural effusion."
    assert read_statements(report).labels == {NODULE, EFFUSION}
    assert read_statements(report).sides == {(NODULE, "left"), (EFFUSION, "right")}
    assert read_statements("Pleural effusions are seen on both sides.").sides == frozenset()


def test_the_interval_is_expanded_for_few_phantoms():
    # Hesterberg (2015), section 3.2: of a 95% interval over 20, the nominal level is 0.968.
    assert expanded_level(20, 0.95) == pytest.approx(0.968, abs=0.001)
    assert expanded_level(10**6, 0.95) == pytest.approx(0.95, abs=1e-4)
    assert expanded_level(1) == 1.0
