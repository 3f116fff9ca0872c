import json
from pathlib import Path

import numpy as np
import pytest

from argus_evaluation.metrics.labels import CT_RATE_LABELS
from argus_evaluation.metrics.labels.label_scores import (
    CRG,
    F1,
    LABEL_SCORES,
    MACRO_F1,
    NO_LABEL,
    PRECISION,
    RECALL,
    SCAN_F1,
    WEIGHTED_F1,
    score_labels,
)
from argus_evaluation.metrics.significance import compare_scores, confidence_interval, draw_reports

# What scikit-learn 1.7.2 gave for random labels; its averages by the names here.
RECORDED = json.loads((Path(__file__).parent / "sklearn_recorded.json").read_text())
NODULE, EFFUSION, OPACITY = {"Lung nodule"}, {"Pleural effusion"}, {"Lung opacity"}
TRUE = [NODULE | EFFUSION, NODULE, set(), OPACITY]
TOLD = [NODULE, NODULE | OPACITY, set(), EFFUSION]


def values(told, true):
    return {name: scores.value for name, scores in score_labels(told, true).items()}


def sets_of(rows):
    return [{label for label, mark in zip(CT_RATE_LABELS, row, strict=True) if mark} for row in rows]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{len(case['true'])} scans")
def test_f1_precision_and_recall_are_those_of_scikit_learn(case):
    scores = score_labels(sets_of(case["told"]), sets_of(case["true"]))
    for name, value in case["values"].items():
        assert scores[name].value == pytest.approx(value, abs=1e-12), name
    for name in (F1, PRECISION, RECALL):
        parts = [part.value for part in scores[name].parts.values()]
        assert parts == pytest.approx(case["by_label"][name], abs=1e-12)


def test_scores_are_those_counted_by_hand():
    # 2 hits of 4 told and 4 true; by label: nodule 1, effusion 0 of 1, opacity 0 of 1; scans 2/3, 2/3, 1, 0
    expected = {F1: 0.5, PRECISION: 0.5, RECALL: 0.5, MACRO_F1: 1 / 3, WEIGHTED_F1: 0.5, SCAN_F1: 7 / 12}
    told = values(TOLD, TRUE)
    assert {name: told[name] for name in expected} == pytest.approx(expected)
    assert list(told) == list(LABEL_SCORES)
    assert score_labels(TOLD, TRUE)[SCAN_F1].counts[NO_LABEL] == 1


def test_crg_is_that_counted_by_hand():
    # T = 4 * 18, A = 4: a hit weighs 68/8 = 8.5; s = 2 * 8.5 - 2 * 8.5 - 2 = -2; S_max = 34; CRG = 34 / (68 + 2)
    assert values(TOLD, TRUE)[CRG] == pytest.approx(34 / 70)


def test_crg_of_silent_reports_is_a_third_and_of_perfect_ones_one():
    true = [set(CT_RATE_LABELS[place : place + 3]) for place in range(0, 15, 2)]
    assert values([set()] * len(true), true)[CRG] == pytest.approx(1 / 3)
    assert values(true, true)[CRG] == pytest.approx(1)
    # Everything stated: each hit gains (T-A)/2A, each of T-A inventions costs 1: half of S_max is lost twice.
    assert values([set(CT_RATE_LABELS)] * len(true), true)[CRG] == pytest.approx(1 / 3)


def test_an_invented_label_costs_less_than_a_missed_one_if_labels_are_rare():
    perfect = [NODULE, set(), set()]
    assert values([NODULE, OPACITY, set()], perfect)[CRG] > values([set()] * 3, perfect)[CRG]


def test_without_a_label_in_the_references_crg_is_not_defined():
    assert not score_labels([NODULE], [set()])[CRG].is_defined
    assert score_labels([NODULE], [NODULE])[CRG].is_defined


def test_a_score_that_divides_by_nothing_is_not_defined():
    silent, normal = score_labels([set()], [NODULE]), score_labels([set()], [set()])
    assert [name for name in LABEL_SCORES if not silent[name].is_defined] == [PRECISION]
    assert [name for name in LABEL_SCORES if normal[name].is_defined] == [SCAN_F1]
    assert not score_labels([NODULE], [set()])[RECALL].is_defined


def test_a_normal_scan_alone_scores_by_what_is_invented():
    scores = score_labels([set(), NODULE], [set(), set()])
    assert scores[CRG].per_report.tolist() == pytest.approx([1, 9 / 10])
    assert scores[SCAN_F1].per_report.tolist() == [1, 0]


def test_the_order_of_scans_changes_nothing_and_a_pair_can_be_repeated():
    backwards = values(TOLD[::-1], TRUE[::-1])
    assert backwards == pytest.approx(values(TOLD, TRUE))
    assert values(TOLD * 3, TRUE * 3) == pytest.approx(values(TOLD, TRUE))
    taken = score_labels(TOLD, TRUE)[CRG].take([0, 0, 1])
    assert taken.value == pytest.approx(values([TOLD[0], TOLD[0], TOLD[1]], [TRUE[0], TRUE[0], TRUE[1]])[CRG])


@pytest.mark.parametrize("name", LABEL_SCORES)
def test_intervals_hold_the_value_and_a_worse_system_is_told(name):
    draw = np.random.default_rng(0)
    true = sets_of(draw.random((60, 18)) < 0.2)
    good = sets_of((marks_of(true) > 0) ^ (draw.random((60, 18)) < 0.02))
    bad = sets_of(draw.random((60, 18)) < 0.2)
    ours, theirs = score_labels(good, true)[name], score_labels(bad, true)[name]
    draws = draw_reports(60, resamples=200)
    low, high = confidence_interval(ours, draws)
    assert low < ours.value < high
    test = compare_scores(theirs, ours, draws, rounds=200)
    assert test.p_value < 0.01 and test.low > 0


def marks_of(reports):
    return np.array([[label in labels for label in CT_RATE_LABELS] for labels in reports], dtype=int)


@pytest.mark.parametrize(("told", "true"), [([], []), ([set()], []), ([{"Fracture"}], [set()])])
def test_what_cannot_be_scored_is_refused(told, true):
    with pytest.raises(ValueError, match="need one report|no label of CT-RATE: Fracture"):
        score_labels(told, true)
