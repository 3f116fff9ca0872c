"""Define writers that take a shortcut through the image, as models under audit.

They use voxels, and some of them learned from phantoms, but none looks where a finding is: the histogram of the whole
scan, the mean brightness of its two sides, the training scan that looks most alike, the field of view.
"""

from functools import lru_cache

import numpy as np
from dishonest_writers import COARSE_MM, Writer, report_of_findings

from argus_evaluation.floors.linear_labels import LinearLabels, fit_linear_labels
from argus_evaluation.floors.nearest_report import standardise
from argus_processing.phantom.findings import FINDING_KINDS
from argus_processing.phantom.scans import make_phantom, report_of, truth_of

NUM_FITTED = 300  # training phantoms
BINS = np.arange(-1000, 1001, 50)
BLOCKS = 8  # of a small picture of the scan, along each axis


class HistogramWriter(Writer):
    """State the findings that a linear classifier tells from the histogram of the scan's values."""

    name = "histogram writer"

    def report(self, hu: np.ndarray) -> str:
        """Return a report of findings without a look at where any value lies."""
        return _told(_fitted_histograms(), _histogram(hu))


class SideWriter(Writer):
    """State the findings that a linear classifier tells from the mean brightness of the left and the right half."""

    name = "side-mean writer"

    def report(self, hu: np.ndarray) -> str:
        """Return a report of findings by two numbers."""
        return _told(_fitted_sides(), _side_means(hu))


class LookalikeWriter(Writer):
    """Copy the report of the training scan whose small picture is most alike."""

    name = "look-alike writer"

    def report(self, hu: np.ndarray) -> str:
        """Return the report of the nearest training phantom by voxels."""
        pictures = np.stack([_features(seed)[2] for seed in range(NUM_FITTED)])
        return report_of(int(np.square(pictures - _picture(hu)).sum(axis=1).argmin()))


class FieldWriter(Writer):
    """Write a training report that the number of voxels decides."""

    name = "field-of-view writer"

    def report(self, hu: np.ndarray) -> str:
        """Return one of the training reports."""
        return report_of(int(np.random.default_rng(hu.shape).integers(NUM_FITTED)))


SHORTCUTS: tuple[type[Writer], ...] = (HistogramWriter, SideWriter, LookalikeWriter, FieldWriter)
Fitted = tuple[LinearLabels, np.ndarray]  # and the features that it was fitted to


def _histogram(hu: np.ndarray) -> np.ndarray:
    return np.sqrt(np.histogram(np.clip(hu, -1000, 1000), BINS)[0] / hu.size)


def _side_means(hu: np.ndarray) -> np.ndarray:
    clipped, half = np.clip(hu, -1000, 1000).astype(np.float64), hu.shape[2] // 2
    return np.array([clipped[..., :half].mean(), clipped[..., half:].mean()])


def _picture(hu: np.ndarray) -> np.ndarray:
    picture = np.clip(hu, -1000, 1000).astype(np.float32)
    for axis, side in enumerate(hu.shape):
        starts = np.linspace(0, side, BLOCKS, endpoint=False).astype(int)
        sizes = np.diff([*starts, side]).reshape([-1 if each == axis else 1 for each in range(3)])
        picture = np.add.reduceat(picture, starts, axis=axis) / sizes
    return picture.ravel()


@lru_cache(maxsize=NUM_FITTED)
def _features(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hu = make_phantom(seed, COARSE_MM).hu
    return _histogram(hu), _side_means(hu), _picture(hu)


@lru_cache(maxsize=1)
def _fitted_histograms() -> Fitted:
    return _fit(np.stack([_features(seed)[0] for seed in range(NUM_FITTED)]))


@lru_cache(maxsize=1)
def _fitted_sides() -> Fitted:
    return _fit(np.stack([_features(seed)[1] for seed in range(NUM_FITTED)]))


def _fit(features: np.ndarray) -> Fitted:
    known = [{finding.label for finding in truth_of(seed)} for seed in range(NUM_FITTED)]
    truths = np.array([[label in each for label in FINDING_KINDS] for each in known])
    return fit_linear_labels(standardise(features, features)[0], truths), features


def _told(fitted: Fitted, own: np.ndarray) -> str:
    classifier, features = fitted
    present = classifier.present(standardise(features, own[None])[1])[0]
    stated = [label for label, is_present in zip(FINDING_KINDS, present, strict=True) if is_present]
    return report_of_findings(stated, np.random.default_rng(0))
