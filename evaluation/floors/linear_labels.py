"""Learn a linear classifier of labels on features: one logistic regression for each label, all in one minimisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .nearest_report import standardise

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # of the data against the penalty, scikit-learn's C
_HELD_OUT = 5  # every fifth scan chooses strength and thresholds
_FEWEST = 5  # scans with a label, and without it, on which a threshold is chosen
_EVEN = 0.5


@dataclass(frozen=True)
class LinearLabels:
    """A fitted classifier.

    Attributes:
        weights, bias: `(C, L)` and `(L,)`, for standardised features.
        thresholds: `(L,)` probabilities from which a label counts as present.
        strength: the chosen C.
    """

    weights: np.ndarray
    bias: np.ndarray
    thresholds: np.ndarray
    strength: float

    def present(self, features: np.ndarray) -> np.ndarray:
        """Return which labels `(N, L)` the scans with these standardised features `(N, C)` have."""
        return _sigmoid(features @ self.weights + self.bias) >= self.thresholds


def fit_linear_labels(features: np.ndarray, truths: np.ndarray, seed: int = 0) -> LinearLabels:
    """Fit labels `(N, L)` booleans on standardised features `(N, C)`.

    A fifth of the scans, drawn by `seed`, chooses the strength by log loss, and each label's threshold by F1; the
    weights are then fitted to all scans.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    held, rest = order[: len(order) // _HELD_OUT], order[len(order) // _HELD_OUT :]
    if not len(held):
        return LinearLabels(*fit(features, truths, STRENGTHS[0]), np.full(truths.shape[1], _EVEN), STRENGTHS[0])
    tried = {}
    for strength in STRENGTHS:
        weights, bias = fit(features[rest], truths[rest], strength)
        logits = features[held] @ weights + bias
        tried[strength] = (float(_losses(logits, truths[held]).sum()), logits)
    strength = min(tried, key=lambda each: tried[each][0])
    chances = _sigmoid(tried[strength][1])
    thresholds = [best_threshold(chances[:, place], truths[held, place]) for place in range(truths.shape[1])]
    return LinearLabels(*fit(features, truths, strength), np.array(thresholds), strength)


def fit(features: np.ndarray, truths: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Minimise `strength` times the summed log loss plus half the squared weights; the bias is not penalised."""
    from scipy.optimize import minimize

    width, count = features.shape[1], truths.shape[1]
    signs = truths.astype(np.float64)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        table = flat.reshape(width + 1, count)
        logits = features @ table[:-1] + table[-1]
        errors = _sigmoid(logits) - signs
        gradient = np.concatenate(
            [strength * features.T @ errors + table[:-1], strength * errors.sum(0, keepdims=True)]
        )
        return strength * float(_losses(logits, signs).sum()) + 0.5 * float((table[:-1] ** 2).sum()), gradient.ravel()

    start = np.zeros((width + 1) * count)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-5})
    table = found.x.reshape(width + 1, count)
    return table[:-1], table[-1]


def best_threshold(chances: np.ndarray, truths: np.ndarray) -> float:
    """Return the probability `(N,)` from which F1 is highest; 0.5 if there are too few scans with or without a label.

    It lies halfway between two scans, so that a small change of the features changes no decision.
    """
    if min(truths.sum(), (~truths).sum()) < _FEWEST:
        return _EVEN
    order = np.argsort(-chances, kind="stable")
    hits = np.cumsum(truths[order])
    scores = 2 * hits / (np.arange(1, len(order) + 1) + truths.sum())
    last = int(np.argmax(scores))
    below = chances[order[last + 1]] if last + 1 < len(order) else 0.0
    return float((chances[order[last]] + below) / 2)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logits))


def _losses(logits: np.ndarray, truths: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, logits) - truths * logits


def predict_labels(
    train: np.ndarray, known: Sequence[set[str]], test: np.ndarray, labels: Sequence[str], seed: int = 0
) -> tuple[list[set[str]], LinearLabels]:
    """Return the labels of the test scans, and the classifier that was fitted to the training scans.

    Args:
        train, test: features `(N, C)` and `(M, C)`.
        known: labels of the training scans.
        labels: those to tell, each of which some training scan has and some has not.
        seed: of the scans that choose thresholds.
    """
    scaled, others = standardise(train, test)
    truths = np.array([[label in each for label in labels] for each in known], dtype=bool).reshape(len(known), -1)
    classifier = fit_linear_labels(scaled, truths, seed)
    present = classifier.present(others)
    told = [{label for label, is_present in zip(labels, row, strict=True) if is_present} for row in present]
    return told, classifier
