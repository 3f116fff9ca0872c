"""Define writers that do not read the image, as models under audit: each must get an effect of about 0.

Blind, template, sampled and hash writers are the usual ones; the others use what a scan gives without being read: its
mean, or whether it was seen before.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from argus_evaluation.audit.audited_models import AuditedModel, MakeScan, Written
from argus_evaluation.audit.redrawn_scans import Spacing
from argus_evaluation.benchmark.controls import blank_image
from argus_processing import CTVolume
from argus_processing.phantom.findings import FINDING_KINDS, Finding
from argus_processing.phantom.scans import make_phantom, report_of, truth_of
from argus_processing.phantom.wording import write_report

NUM_TRAIN = 200  # reports that are sampled
NUM_FITTED, NUM_REMEMBERED = 80, 20  # phantoms
COARSE_MM = (8.0, 5.0, 5.0)


class Writer(ABC):
    """A writer of reports that needs no model."""

    name = "writer"
    chunk = 64

    def __init__(self, spacing_mm: Spacing | None = COARSE_MM) -> None:
        self.spacing_mm = spacing_mm
        self.identity = f"{self.name} v1"

    @abstractmethod
    def report(self, hu: np.ndarray) -> str:
        """Return the report of a scan with these values."""

    def write(self, scans: Sequence[MakeScan]) -> Iterator[tuple[int, Written]]:
        """Yield the report of each scan."""
        for index, make in enumerate(scans):
            yield index, Written(self.report(make().hu))


class TemplateWriter(Writer):
    """Write the same report for every scan."""

    name = "template writer"

    def report(self, hu: np.ndarray) -> str:
        """Return the report of a patient with the commonest findings."""
        return report_of_findings(("Pleural effusion", "Lung nodule", "Consolidation"), np.random.default_rng(0))


class EverythingWriter(Writer):
    """Write that every finding is there."""

    name = "writer of everything"

    def report(self, hu: np.ndarray) -> str:
        """Return a report with all findings, worded by the image."""
        return report_of_findings(tuple(FINDING_KINDS), by_image(hu))


class SampledWriter(Writer):
    """Write a training report that the image's hash draws."""

    name = "sampled writer"

    def report(self, hu: np.ndarray) -> str:
        """Return one of the training reports."""
        return report_of(int(by_image(hu).integers(NUM_TRAIN)))


class HashWriter(Writer):
    """State each finding as often as it occurs, by the image's hash."""

    name = "hash writer"

    def report(self, hu: np.ndarray) -> str:
        """Return a report of findings that change with every voxel."""
        draw = by_image(hu)
        drawn = [label for label, kind in FINDING_KINDS.items() if draw.random() < 2 * kind.prevalence]
        return report_of_findings(drawn, draw)


class MeanWriter(Writer):
    """State each finding by the scan's mean brightness alone, at the threshold that fits training phantoms best."""

    name = "mean-intensity writer"

    def report(self, hu: np.ndarray) -> str:
        """Return a report of the findings whose threshold the mean passes."""
        mean = float(np.clip(hu, -1000, 1000).mean())
        stated = [label for label, (limit, above) in mean_thresholds().items() if (mean > limit) == above]
        return report_of_findings(stated, np.random.default_rng(0))


class MemoryWriter(Writer):
    """Write the report of a training scan that is the same voxel by voxel, else a template."""

    name = "memorising writer"

    def report(self, hu: np.ndarray) -> str:
        """Return the remembered report."""
        known = remembered_reports()
        return known.get(hash_of(hu), next(iter(known.values())))


class BlindModel:
    """A model that is shown a blank image instead of every scan."""

    def __init__(self, model: AuditedModel) -> None:
        self._model = model
        self.name, self.identity = f"{model.name}, blind", f"blind|{model.identity}"
        self.chunk, self.spacing_mm = model.chunk, model.spacing_mm

    def write(self, scans: Sequence[MakeScan]) -> Iterator[tuple[int, Written]]:
        """Yield the reports that the model writes for blank images."""
        yield from self._model.write([_blank] * len(scans))


WRITERS: tuple[type[Writer], ...] = (
    TemplateWriter,
    SampledWriter,
    HashWriter,
    EverythingWriter,
    MeanWriter,
    MemoryWriter,
)


def _blank() -> CTVolume:
    return blank_image({})


def report_of_findings(labels: Sequence[str], draw: np.random.Generator) -> str:
    """Return a report of findings at drawn places."""
    places = {label: FINDING_KINDS[label].locations for label in labels}
    findings = [Finding(label, *known[int(draw.integers(len(known)))]) for label, known in places.items()]
    return write_report(findings, draw)


def hash_of(hu: np.ndarray) -> bytes:
    """Return a hash of a scan's values."""
    return hashlib.sha256(np.ascontiguousarray(hu, dtype=np.int16).tobytes()).digest()


def by_image(hu: np.ndarray) -> np.random.Generator:
    """Return draws that the image's hash decides."""
    return np.random.default_rng(list(hash_of(hu)))


@lru_cache(maxsize=1)
def remembered_reports() -> dict[bytes, str]:
    """Return the reports of training phantoms by their hash."""
    phantoms = [make_phantom(seed, COARSE_MM) for seed in range(NUM_REMEMBERED)]
    return {hash_of(phantom.hu): phantom.report for phantom in phantoms}


@lru_cache(maxsize=1)
def mean_thresholds() -> dict[str, tuple[float, bool]]:
    """Return for each label the threshold of the mean, and the side of it, with the best F1 on training phantoms."""
    means = np.array(
        [np.clip(make_phantom(seed, COARSE_MM).hu, -1000, 1000).mean(dtype=np.float64) for seed in range(NUM_FITTED)]
    )
    truths = [{finding.label for finding in truth_of(seed)} for seed in range(NUM_FITTED)]
    return {label: _best_threshold(means, np.array([label in truth for truth in truths])) for label in FINDING_KINDS}


def _best_threshold(means: np.ndarray, true: np.ndarray) -> tuple[float, bool]:
    def f1(limit: float, above: bool) -> float:
        told = (means > limit) == above
        return 2 * float((told & true).sum()) / max(1, int(told.sum() + true.sum()))

    return max(((float(limit), above) for limit in means for above in (True, False)), key=lambda each: f1(*each))
