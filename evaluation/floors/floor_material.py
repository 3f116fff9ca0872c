"""Hold all that a floor may write its reports from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import datasets
import numpy as np

from argus_inference.generation import Prediction
from argus_processing.storage.progress import progress_bar

from ..metrics.labels import read_labels

NOTHING, SCANS, FLIP = "nothing", "scans", "flip"


@dataclass(frozen=True)
class FloorOptions:
    """Settings of an evaluation's floors.

    Attributes:
        names: floors to compute, of `FLOORS`. Default: those that need no training scans.
        train_scans: rows with `scan_id`, `image` and `report`, for the floors that need scans.
        features: file that keeps features of scans, which evaluations can share. Default: one in the evaluation's
            folder.
        num_train_scans: number of training scans, drawn by a seed. Default: all.
        flip: folder of a run of FLIP, in whose space reports are searched. Default: none.
    """

    names: tuple[str, ...] | None = None
    train_scans: datasets.Dataset | None = None
    features: Path | None = None
    num_train_scans: int | None = None
    flip: Path | None = None


@dataclass(frozen=True)
class ScanFeatures:
    """The vision tower's features of training and test scans.

    Attributes:
        train: `(N, C)` float32, of the training scans that could be read.
        train_reports: their reports, in the same order.
        test: `(M, C)`, of the scans that are scored, in the order of their predictions.
        signature: how they were computed.
    """

    train: np.ndarray
    train_reports: tuple[str, ...]
    test: np.ndarray
    signature: str


@dataclass(frozen=True)
class FLIPMatches:
    """The training report nearest to each test scan in FLIP's space, and all that decided it."""

    reports: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class FloorMaterial:
    """All that floors may use, for the scans that are scored.

    Attributes:
        predictions: the model's reports.
        blank: its reports of a blank image, one for each scan.
        train_reports: reports of the training split.
        features: of training and test scans; None if no floor needs them.
        flip: reports that FLIP finds; None without a run of it.
        seed: of every draw.
    """

    predictions: Sequence[Prediction]
    blank: Sequence[Prediction]
    train_reports: Sequence[str]
    features: ScanFeatures | None = None
    flip: FLIPMatches | None = None
    seed: int = 0
    _labels: dict[str, set[str]] = field(default_factory=dict, repr=False)

    def labels_of(self, reports: Sequence[str]) -> list[set[str]]:
        """Return the labels of training reports, each distinct report read once for all floors."""
        new = [report for report in dict.fromkeys(reports) if report not in self._labels]
        with progress_bar() as progress:
            for report in progress.track(new, description="labels of training reports"):
                self._labels[report] = read_labels(report)
        return [self._labels[report] for report in reports]

    @property
    def known_features(self) -> ScanFeatures:
        """Return the features.

        Raises:
            ValueError: if they were not computed.
        """
        if self.features is None:
            raise ValueError("this floor needs features of the training scans")
        return self.features


@dataclass(frozen=True)
class FloorReports:
    """The reports of a floor, one for each scan, and everything that decided them."""

    reports: list[str]
    signature: str


class Floor(Protocol):
    """A way to write reports.

    Attributes:
        title: its name in tables.
        needs: NOTHING more than reports, SCANS of the training split, or a run of FLIP.
    """

    title: str
    needs: str

    def write(self, material: FloorMaterial) -> FloorReports:
        """Write a report for each scan of `material.predictions`."""
