import pytest

from argus_evaluation.ablations.ablation_statistics import Summary, order_of, summarize


def test_mean_deviation_and_interval_of_known_numbers():
    # 1, 2, 3: deviation 1 (n - 1), Student's t at 2 degrees of freedom 4.30265, so 4.30265 / sqrt(3) = 2.48414.
    summary = summarize([1.0, 2.0, 3.0])
    assert (summary.n, summary.mean, summary.std) == (3, 2.0, 1.0)
    assert summary.low == pytest.approx(2 - 2.48414, abs=1e-5)
    assert summary.high == pytest.approx(2 + 2.48414, abs=1e-5)


def test_one_seed_has_no_deviation_and_none_no_mean():
    assert summarize([0.5, None]) == Summary(n=1, mean=0.5, std=None, low=None, high=None)
    assert summarize([None]) == Summary(n=0, mean=None, std=None, low=None, high=None)


def test_order_follows_means_and_is_clear_only_where_seeds_agree():
    scores = {
        "a": {0: 0.1, 1: 0.2, 2: 0.3},
        "b": {0: 0.31, 1: 0.40, 2: 0.49},  # 0.2 above a in every seed, give or take 0.01
        "c": {0: 0.9, 1: 0.0, 2: 0.36},  # above b on average, by one seed alone
    }
    found = order_of(scores)
    assert found.order == ("c", "b", "a")
    pairs = {(pair.better, pair.worse): pair for pair in found.pairs}
    assert pairs["b", "a"].difference == pytest.approx(0.2) and pairs["b", "a"].clear
    assert pairs["b", "a"].low == pytest.approx(0.2 - 4.30265 * 0.01 / 3**0.5, abs=1e-6)
    assert not pairs["c", "b"].clear
    assert order_of(scores, higher_is_better=False).order == ("a", "b", "c")


def test_seeds_are_compared_only_where_both_ran():
    (pair,) = order_of({"a": {0: 1.0, 1: 5.0}, "b": {1: 2.0}}).pairs
    assert (pair.n, pair.difference, pair.low, pair.clear) == (1, 3.0, None, False)
