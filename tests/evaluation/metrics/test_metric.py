import numpy as np
import pytest

from argus_evaluation.metrics.metric import Metric, average, mean_of_reports, ratio_of_sums, score_of_sums, score_rows


def count_words(calls: list):
    def score(predictions, references):
        calls.append(len(predictions))
        return mean_of_reports(
            [len(text.split()) for text in predictions], {"short": [len(t) < 2 for t in predictions]}
        )

    return score


def test_a_mean_and_a_ratio_of_sums_differ_as_they_should():
    rows = np.array([[1, 2], [3, 3], [0, 5]], dtype=float)
    assert score_of_sums(rows, ratio_of_sums).value == pytest.approx(4 / 10)
    assert mean_of_reports([0.5, 1, 0]).value == pytest.approx(0.5)
    assert score_of_sums(rows, ratio_of_sums).per_report.tolist() == [0.5, 1, 0]


def test_taking_reports_gives_the_score_of_those_reports():
    scores = mean_of_reports([1, 2, 6], {"odd": [True, False, False]}).take([0, 2, 0])
    assert scores.value == pytest.approx(8 / 3)
    assert scores.per_report.tolist() == [1, 6, 1] and scores.counts == {"odd": 2}


def test_an_average_is_the_mean_of_values_in_every_draw():
    parts = [mean_of_reports([1, 2, 6]), score_of_sums(np.array([[1, 2], [3, 3], [0, 5]]), ratio_of_sums)]
    both = average(parts)
    assert both.value == pytest.approx((3 + 0.4) / 2)
    assert both.take([2, 2]).value == pytest.approx((6 + 0) / 2)
    assert both.per_report == pytest.approx([0.75, 1.5, 3])


def test_a_pairwise_metric_sees_each_pair_once_and_every_row_gets_its_own():
    calls = []
    rows = {"model": ["a b", "c", "a b"], "most_frequent": ["c", "c", "c"]}
    scored = score_rows(Metric(count_words(calls), "s"), rows, ["r", "s", "r"])
    assert calls == [3]
    assert scored["model"].per_report.tolist() == [2, 1, 2] and scored["most_frequent"].value == 1
    assert scored["model"].counts == {"short": 1} and scored["most_frequent"].counts == {"short": 3}


def test_a_metric_of_the_whole_set_sees_every_row_whole():
    calls = []
    score_rows(Metric(count_words(calls), "s", pairwise=False), {"a": ["x", "x"], "b": ["y", "x"]}, ["r", "r"])
    assert calls == [2, 2]


def test_a_row_with_too_few_reports_is_refused_by_name():
    with pytest.raises(ValueError, match=r"got 1 and 2 \(blank\)"):
        score_rows(Metric(count_words([]), "s"), {"model": ["a", "b"], "blank": ["a"]}, ["r", "s"])
