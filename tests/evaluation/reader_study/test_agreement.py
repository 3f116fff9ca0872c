import random

import pytest

from argus_evaluation.reader_study.agreement import ordinal_alpha

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): four observers, twelve units, 0 is missing.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3),
    (0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0),
)


def test_alpha_is_the_published_one_of_krippendorffs_example():
    units = [[score for score in unit if score] for unit in zip(*OBSERVERS, strict=True)]
    assert ordinal_alpha(units) == pytest.approx(0.815, abs=5e-4)


def test_readers_who_agree_reach_one_and_chance_gives_nothing():
    assert ordinal_alpha([[1, 1], [3, 3, 3], [5, 5]]) == 1.0
    rng = random.Random(0)
    assert ordinal_alpha([[rng.randint(1, 5), rng.randint(1, 5)] for _ in range(4000)]) == pytest.approx(0, abs=0.05)
    assert ordinal_alpha([[1, 5], [5, 1], [1, 5], [5, 1]]) < 0


def test_a_near_miss_costs_less_than_a_far_one():
    settled = [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]
    assert ordinal_alpha([*settled, [1, 2]]) > ordinal_alpha([*settled, [1, 5]])


@pytest.mark.parametrize("units", [[], [[3]], [[3], [4]], [[3, 3], [3, 3]]])
def test_without_two_scores_or_two_values_alpha_is_not_defined(units):
    assert ordinal_alpha(units) is None
