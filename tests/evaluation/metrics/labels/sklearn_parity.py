"""Scores of labels, and the floors' classifier, against scikit-learn itself; run by `make test-metric-packages`."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support

from argus_evaluation.floors.linear_labels import fit
from argus_evaluation.metrics.labels import CT_RATE_LABELS
from argus_evaluation.metrics.labels.label_scores import (
    F1,
    MACRO_F1,
    PRECISION,
    RECALL,
    SCAN_F1,
    WEIGHTED_F1,
    score_labels,
)


def sets_of(rows):
    return [{label for label, mark in zip(CT_RATE_LABELS, row, strict=True) if mark} for row in rows]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(100))
def test_scores_are_scikit_learns(seed):
    draw = np.random.default_rng(seed)
    shape = (int(draw.integers(1, 80)), len(CT_RATE_LABELS))
    common = draw.random(len(CT_RATE_LABELS)) ** 2 * 0.6
    true, told = draw.random(shape) < common, draw.random(shape) < draw.random()
    true[:, int(draw.integers(len(CT_RATE_LABELS)))] = seed % 3 == 0
    ours = score_labels(sets_of(told), sets_of(true))

    def theirs(average, zero=0.0):
        return precision_recall_fscore_support(true, told, average=average, zero_division=zero)

    expected = {PRECISION: theirs("micro")[0], RECALL: theirs("micro")[1], F1: theirs("micro")[2]}
    expected |= {WEIGHTED_F1: theirs("weighted")[2], SCAN_F1: theirs("samples", 1.0)[2]}
    expected |= {MACRO_F1: theirs("macro", np.nan)[2]}
    for name, value in expected.items():
        assert ours[name].value == pytest.approx(value, abs=1e-12), name
    for column, name in enumerate((PRECISION, RECALL, F1)):
        parts = [part.value for part in ours[name].parts.values()]
        assert parts == pytest.approx(list(theirs(None)[column]), abs=1e-12)


@pytest.mark.parametrize("strength", [0.001, 0.01, 0.1, 1.0])
def test_the_floors_classifier_is_scikit_learns(strength):
    draw = np.random.default_rng(4)
    features = draw.standard_normal((200, 30))
    truths = features @ draw.standard_normal((30, 4)) + 3 * draw.standard_normal((200, 4)) > 1
    weights, bias = fit(features, truths, strength)
    for label in range(4):
        theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10000).fit(features, truths[:, label])
        np.testing.assert_allclose(weights[:, label], theirs.coef_[0], atol=1e-3)
        assert bias[label] == pytest.approx(theirs.intercept_[0], abs=1e-3)
