"""Take the report of the training scan that looks most alike to the vision tower."""

import numpy as np

from .floor_material import FLIP, SCANS, FloorMaterial, FloorReports

_CHUNK = 256  # test scans compared with all training scans at a time


class NearestReport:
    """Retrieval: the report of the nearest training scan, by the cosine of standardised features."""

    title = "nearest training report"
    needs = SCANS

    def write(self, material: FloorMaterial) -> FloorReports:
        """Return the nearest scan's report for each test scan."""
        features = material.known_features
        places = nearest(features.train, features.test)
        reports = [features.train_reports[place] for place in places]
        return FloorReports(reports, f"nearest by cosine|{features.signature}")


class NearestInFLIPSpace:
    """Retrieval: the training report that FLIP puts nearest to the scan, by the cosine of scan and report."""

    title = "nearest report by FLIP"
    needs = FLIP

    def write(self, material: FloorMaterial) -> FloorReports:
        """Return the nearest report for each test scan.

        Raises:
            ValueError: if there is no run of FLIP.
        """
        if material.flip is None:
            raise ValueError("this floor needs a run of FLIP")
        return FloorReports(list(material.flip.reports), material.flip.signature)


def nearest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the place `(M,)` in `train` `(N, C)` of the nearest row to each of `test` `(M, C)`; the first of equals.

    Raises:
        ValueError: if there are no training scans.
    """
    if not len(train):
        raise ValueError("retrieval needs at least one training scan that can be read")
    scaled, others = (_directions(rows) for rows in standardise(train, test))
    chunks = [others[start : start + _CHUNK] for start in range(0, len(others), _CHUNK)]
    return np.concatenate([np.argmax(chunk @ scaled.T, axis=1) for chunk in chunks] or [np.zeros(0, dtype=int)])


def standardise(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return each array `(N, C)` as float64, less the training mean and divided by the training deviation."""
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    # A feature that never changes tells nothing; its noise must not be blown up.
    kept = deviation > 1e-6 * max(float(deviation.max(initial=0)), 1e-12)
    scale = np.where(kept, deviation, 1.0)
    return tuple((rows.astype(np.float64) - mean) / scale * kept for rows in (train, *others))


def _directions(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
