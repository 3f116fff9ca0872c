"""The questions of an audit: one thing changed at a time, seeds of its own, sides swapped and never mirrored."""

from collections import Counter

import numpy as np
import pytest

from argus_evaluation.audit import audit_plan
from argus_evaluation.audit.audit_plan import (
    FIRST_SEED,
    MOVED,
    OTHER,
    SCATTERED,
    is_seen,
    plan_audit,
    plan_first_look,
    swapped,
)
from argus_processing.phantom.findings import FINDING_KINDS, Finding

THORAX = ["Lung nodule", "Pleural effusion", "Consolidation", "Hiatal hernia", "Cardiomegaly"]


@pytest.fixture(scope="module")
def plan():
    return plan_audit(4)


def findings_at(plan, place):
    return set(plan.drawings[place].findings)


def test_scans_of_a_question_differ_in_its_finding_alone(plan):
    assert plan.questions
    for question in plan.questions:
        (extra,) = findings_at(plan, question.drawn) - findings_at(plan, question.bare)
        assert extra.label == question.label and findings_at(plan, question.bare) < findings_at(plan, question.drawn)


def test_scans_that_differ_elsewhere_differ_in_another_finding(plan):
    for question in plan.questions:
        for more, less in question.elsewhere[OTHER]:
            (extra,) = findings_at(plan, more) - findings_at(plan, less)
            assert extra.label != question.label
        for kind in (MOVED, SCATTERED):
            ((more, less),) = question.elsewhere[kind]
            assert less == question.bare and findings_at(plan, more) == findings_at(plan, less)
            instead = plan.drawings[more].moved if kind is MOVED else plan.drawings[more].scattered
            assert instead.label == question.label
            assert plan.drawings[less].moved is plan.drawings[less].scattered is None


def test_findings_are_asked_about_almost_equally_often():
    counts = Counter(question.label for question in plan_audit(12).questions)
    assert set(counts) == set(FINDING_KINDS) and max(counts.values()) - min(counts.values()) <= 3


def test_a_plan_is_the_same_again_and_another_seed_gives_other_patients(plan):
    assert plan_audit(4) == plan
    seeds = [{drawing.seed for drawing in each.drawings} for each in (plan, plan_audit(4, seed=1))]
    assert not seeds[0] & seeds[1]


def test_fewer_phantoms_are_the_first_ones(plan):
    assert plan_audit(2).drawings == plan.drawings[: len(plan_audit(2).drawings)]


def test_no_seed_is_one_of_a_data_set_or_a_layout(plan):
    looks = plan_first_look()
    assert min(drawing.seed for drawing in (*plan.drawings, *looks)) >= FIRST_SEED > 10**17
    assert not {look.seed for look in looks} & {drawing.seed for drawing in plan.drawings}


def test_the_first_look_draws_every_finding_equally_often():
    counts = Counter(finding.label for look in plan_first_look() for finding in look.findings)
    assert set(counts) == set(FINDING_KINDS) and len(set(counts.values())) == 1


def test_swapped_sides_are_drawn_on_the_other_side(plan):
    for swap in plan.swaps:
        assert findings_at(plan, swap.swapped) == {swapped(one) for one in findings_at(plan, swap.original)}
        own = {finding.label: finding.side for finding in plan.drawings[swap.original].findings}
        assert len(swap.sides) >= 2 and all(own[label] == side for label, side in swap.sides)


@pytest.mark.parametrize(
    ("finding", "other"),
    [
        (Finding("Lung nodule", "left", "lower lobe"), Finding("Lung nodule", "right", "lower lobe")),
        (Finding("Lung nodule", "right", "middle lobe"), Finding("Lung nodule", "left", "upper lobe")),
        (Finding("Pleural effusion", "bilateral"), Finding("Pleural effusion", "bilateral")),
        (Finding("Cardiomegaly"), Finding("Cardiomegaly")),
    ],
)
def test_a_finding_is_swapped_to_a_place_of_the_other_side(finding, other):
    assert swapped(finding) == other


def test_only_the_wanted_findings_are_drawn():
    chosen = plan_audit(3, labels=THORAX)
    assert {finding.label for drawing in chosen.drawings for finding in drawing.findings} <= set(THORAX)


def test_a_finding_that_changes_nothing_is_not_seen(monkeypatch):
    effusion = Finding("Pleural effusion", "left")
    assert is_seen(1, (), effusion)
    hidden = np.zeros((37, 66, 79), dtype=np.float32)
    monkeypatch.setattr(audit_plan, "_coarse", lambda seed, findings: hidden)
    assert not is_seen(1, (), effusion)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"num_phantoms": 0}, "1 to 1000 phantoms"),
        ({"num_phantoms": 2, "seed": -1}, "seed of 0 or more"),
        ({"num_phantoms": 2, "labels": ["Gallstone"]}, "no finding of phantoms: Gallstone"),
        ({"num_phantoms": 2, "labels": THORAX[:3]}, "4 findings or more"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        plan_audit(**arguments)
