import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test

from argus_evaluation.metrics.metric import mean_of_reports, ratio_of_sums, score_of_sums
from argus_evaluation.metrics.significance import PairedTest, compare_scores, confidence_interval, draw_reports


def test_every_draw_holds_as_many_reports_and_the_seed_fixes_it():
    draws = draw_reports(7, resamples=50)
    assert draws.shape == (50, 7) and set(draws.sum(axis=1)) == {7}
    np.testing.assert_array_equal(draws, draw_reports(7, resamples=50))
    assert (draws != draw_reports(7, resamples=50, seed=1)).any()


def test_reports_that_score_alike_leave_no_doubt():
    assert confidence_interval(mean_of_reports([3.0] * 10), draw_reports(10)) == pytest.approx((3.0, 3.0))


def test_interval_equals_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).gamma(2.0, size=60)
    expected = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    found = confidence_interval(mean_of_reports(values), draw_reports(60, resamples=20_000))
    assert found == pytest.approx(tuple(expected), abs=0.02)


def test_interval_of_a_ratio_of_sums_draws_reports_not_words():
    rows = np.random.default_rng(0).integers(1, 9, size=(40, 2)).astype(float)
    draws = draw_reports(40)
    by_hand = [np.repeat(rows, draw.astype(int), axis=0).sum(axis=0) for draw in draws]
    expected = np.quantile([first / second for first, second in by_hand], [0.025, 0.975])
    assert confidence_interval(score_of_sums(rows, ratio_of_sums), draws) == pytest.approx(tuple(expected))


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100():
    random, draws = np.random.default_rng(1), draw_reports(50, resamples=500)
    intervals = [confidence_interval(mean_of_reports(random.normal(2.0, size=50)), draws) for _ in range(400)]
    assert 0.91 <= np.mean([low <= 2.0 <= high for low, high in intervals]) <= 0.97


def test_equal_systems_have_p_1_and_no_difference():
    scores = mean_of_reports(np.random.default_rng(0).random(30) / 3)
    compared = compare_scores(scores, scores, draw_reports(30), rounds=200)
    assert compared == PairedTest(difference=0.0, low=0.0, high=0.0, p_value=1.0)


def test_systems_apart_have_a_small_p_and_swapping_them_turns_the_sign():
    random = np.random.default_rng(0)
    worse = random.random(40)
    first, second = mean_of_reports(worse), mean_of_reports(worse + 0.1 + 0.05 * random.random(40))
    draws = draw_reports(40)
    compared, turned = compare_scores(first, second, draws, 2000), compare_scores(second, first, draws, 2000)
    assert compared.p_value == pytest.approx(1 / 2001) and 0.1 < compared.low < compared.high < 0.15
    assert turned.difference == pytest.approx(-compared.difference)
    assert turned.low == pytest.approx(-compared.high)


def test_p_value_equals_the_exact_one_of_all_exchanges():
    first, second = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 2.5, 3, 6, 4.5])
    exact = permutation_test(
        (second, first), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", vectorized=True
    )
    found = compare_scores(mean_of_reports(first), mean_of_reports(second), draw_reports(5), rounds=20_000)
    assert found.p_value == pytest.approx(exact.pvalue, abs=0.015)


def test_systems_without_a_difference_reach_5_percent_about_5_times_in_100():
    random, draws = np.random.default_rng(2), draw_reports(30, resamples=10)
    pairs = [(mean_of_reports(random.random(30)), mean_of_reports(random.random(30))) for _ in range(300)]
    assert np.mean([compare_scores(*pair, draws, rounds=199).p_value <= 0.05 for pair in pairs]) < 0.09


def test_other_numbers_of_reports_are_refused():
    with pytest.raises(ValueError, match="same reports, got 2 and 3"):
        compare_scores(mean_of_reports([1, 2]), mean_of_reports([1, 2, 3]), draw_reports(2))
