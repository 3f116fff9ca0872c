"""AUC within references and over all, mean drops and their intervals, by hand and against scipy."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from argus_evaluation.stress.ranking import Estimate, Scored, auc_pooled, auc_within, mean_drop, unchanged_share


def scored(values, references) -> Scored:
    return Scored(np.array(values, dtype=float), np.array(references, dtype=int))


def drawn(count: int, num_references: int, seed: int) -> Scored:
    rng = np.random.default_rng(seed)
    return scored(rng.integers(0, 6, count), rng.integers(0, num_references, count))


@pytest.mark.parametrize(("broken", "harmless", "area"), [(0.2, 0.9, 1.0), (0.9, 0.2, 0.0), (0.5, 0.5, 0.5)])
def test_an_oracle_has_one_its_opposite_zero_and_a_constant_half(broken, harmless, area):
    first, second = scored([broken] * 6, range(6)), [scored([harmless] * 6, range(6)) for _ in range(4)]
    expected = Estimate(area, area, area, 6)
    assert auc_within(first, second) == expected
    assert auc_pooled(first, second) == expected


def test_areas_by_hand():
    broken, harmless = scored([1, 3], [0, 1]), [scored([2, 2, 3], [0, 1, 1])]
    assert auc_within(broken, harmless).value == (1 + (0 + 0.5) / 2) / 2
    assert auc_pooled(broken, harmless).value == pytest.approx((3 + 0.5) / 6)


def test_within_a_reference_each_harmless_class_counts_the_same():
    broken = scored([2], [0])
    assert auc_within(broken, [scored([1, 1, 1], [0, 0, 0]), scored([3], [0])]).value == 0.5


def test_a_reference_without_a_harmless_change_is_not_counted_within():
    area = auc_within(scored([1, 5], [0, 1]), [scored([2], [0])])
    assert (area.value, area.n) == (1.0, 1)
    assert auc_within(scored([1], [0]), [scored([2], [1])]) == Estimate()


def test_a_harder_scale_of_another_reference_spoils_the_pooled_area_only():
    broken, harmless = scored([1, 11], [0, 1]), [scored([2, 12], [0, 1])]
    assert auc_within(broken, harmless).value == 1.0
    assert auc_pooled(broken, harmless).value == 0.75


def area_of(broken: np.ndarray, harmless: np.ndarray) -> float:
    """Return the AUC by way of Mann and Whitney's U."""
    return mannwhitneyu(harmless, broken).statistic / (len(broken) * len(harmless))


def test_the_pooled_area_is_that_of_mann_and_whitney():
    broken, harmless = drawn(80, 20, 1), [drawn(50, 20, 2), drawn(70, 20, 3)]
    others = np.concatenate([each.scores for each in harmless])
    assert auc_pooled(broken, harmless).value == pytest.approx(area_of(broken.scores, others))


def test_the_interval_of_a_pooled_area_resamples_whole_references():
    broken, harmless = drawn(60, 12, 4), [drawn(90, 12, 5)]
    area = auc_pooled(broken, harmless)
    values = []
    rng = np.random.default_rng(0)
    for _ in range(400):
        draw = rng.integers(0, 12, 12)
        first = np.concatenate([broken.scores[broken.references == place] for place in draw])
        second = np.concatenate([harmless[0].scores[harmless[0].references == place] for place in draw])
        values.append(area_of(first, second))
    assert (area.low, area.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)


def test_a_drop_is_the_mean_over_references_as_a_share_of_their_own_mean():
    drop = mean_drop(scored([8, 6, 10], [0, 0, 1]), np.array([10.0, 10.0, 99.0]))
    assert drop.value == pytest.approx(((2 + 4) / 2 + 0) / 20)
    assert drop.n == 2 and drop.low <= drop.value <= drop.high


def test_the_unchanged_are_those_that_score_as_their_own_reference():
    assert unchanged_share(scored([3, 4, 4, 1], [0, 0, 1, 1]), np.array([3.0, 4.0])) == 0.5


def test_without_pairs_nothing_is_estimated():
    none = scored([], [])
    assert auc_within(none, [none]) == auc_pooled(none, [none]) == mean_drop(none, np.zeros(0)) == Estimate()
