import numpy as np
import pytest

from argus_evaluation.floors.linear_labels import best_threshold, fit, fit_linear_labels, predict_labels
from argus_evaluation.floors.nearest_report import nearest, standardise


def newton(features: np.ndarray, truth: np.ndarray, strength: float) -> np.ndarray:
    """Fit one label by Newton's method: a second implementation, with the bias as last weight."""
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    penalty = np.diag([1.0] * features.shape[1] + [0.0])
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        chances = 1 / (1 + np.exp(-rows @ weights))
        gradient = strength * rows.T @ (chances - truth) + penalty @ weights
        curvature = strength * (rows * (chances * (1 - chances))[:, None]).T @ rows + penalty
        weights -= np.linalg.solve(curvature, gradient)
    return weights


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_weights_equal_those_of_newtons_method(strength):
    draw = np.random.default_rng(1)
    features = draw.standard_normal((80, 5))
    truths = features @ draw.standard_normal((5, 3)) + draw.standard_normal((80, 3)) > [0.0, 1.0, -1.0]
    weights, bias = fit(features, truths, strength)
    for label in range(3):
        expected = newton(features, truths[:, label], strength)
        assert [*weights[:, label], bias[label]] == pytest.approx(list(expected), abs=1e-4)


def test_a_threshold_gives_the_best_f1_that_any_threshold_gives():
    draw = np.random.default_rng(2)
    chances, truths = draw.random(40), draw.random(40) < 0.3
    found = chances >= best_threshold(chances, truths)

    def f1(told: np.ndarray) -> float:
        return 2 * (told & truths).sum() / max(1, told.sum() + truths.sum())

    assert f1(found) == max(f1(chances >= cut) for cut in [0, *chances])
    # By hand: telling the first three of these four finds both, 2 * 2 / (3 + 2); it cuts halfway to the fourth.
    few = np.array([0.9, 0.8, 0.7, 0.1] + [0.05] * 8)
    many = np.array([True, True, False, False] + [False] * 8)
    assert best_threshold(few, many) == 0.5  # only two have the label
    truths = np.array([True] * 5 + [False] * 5)
    assert best_threshold(np.linspace(1, 0.1, 10), truths) == pytest.approx((0.6 + 0.5) / 2)


def test_labels_that_the_features_hold_are_told_and_a_seed_decides_all():
    draw = np.random.default_rng(3)
    train, test = draw.standard_normal((200, 4)), draw.standard_normal((50, 4))
    known = [{name for name, value in zip("ab", row, strict=False) if value > 0.5} for row in train]
    told, classifier = predict_labels(train, known, test, ["a", "b"], seed=1)
    true = [{name for name, value in zip("ab", row, strict=False) if value > 0.5} for row in test]
    assert sum(own == expected for own, expected in zip(told, true, strict=True)) >= 45
    again, _ = predict_labels(train, known, test, ["a", "b"], seed=1)
    assert again == told and classifier.weights.shape == (4, 2)


def test_a_scale_of_the_features_changes_nothing():
    draw = np.random.default_rng(4)
    train, test = draw.standard_normal((60, 3)), draw.standard_normal((20, 3))
    known = [{"a"} if row[0] > 0 else set() for row in train]
    other = [rows * [100.0, 0.01, 1.0] + 7 for rows in (train, test)]
    assert predict_labels(train, known, test, ["a"])[0] == predict_labels(other[0], known, other[1], ["a"])[0]


def test_few_scans_are_fitted_without_a_part_that_is_held_out():
    fitted = fit_linear_labels(np.eye(3), np.array([[True], [False], [True]]))
    assert fitted.thresholds.tolist() == [0.5]


def test_the_nearest_scan_has_the_largest_cosine_after_standardising():
    draw = np.random.default_rng(5)
    train, test = draw.standard_normal((300, 6)) * [1, 10, 1, 1, 1, 0] + 5, draw.standard_normal((270, 6)) * 3
    mean, deviation = train.mean(0)[:5], train.std(0)[:5]
    scaled, others = (train[:, :5] - mean) / deviation, (test[:, :5] - mean) / deviation  # the sixth never changes
    slow = [int(np.argmax([own @ row / np.linalg.norm(own) / np.linalg.norm(row) for row in scaled])) for own in others]
    assert nearest(train, test).tolist() == slow
    assert nearest(train, train).tolist() == list(range(300))
    assert np.abs(standardise(train, test)[0].mean(0)).max() < 1e-9


def test_retrieval_needs_a_training_scan():
    with pytest.raises(ValueError, match="at least one training scan"):
        nearest(np.zeros((0, 3)), np.zeros((2, 3)))
