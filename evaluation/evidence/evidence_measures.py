"""Measure the maps of a model on scans whose findings are known: where each one points, and what its deletion does."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from argus_inference.evidence.evidence import Evidence, EvidenceSettings, SentenceEvidence
from argus_inference.evidence.explain import explain
from argus_inference.evidence.reference_pixels import mean_in_scan
from argus_inference.generation import generate_batch
from argus_processing.ct_volume import CTVolume
from argus_processing.instructions import INSTRUCTION
from argus_processing.mean_scan.mean_scan import HU_WINDOW, MeanScan

from .deletion import elsewhere, keeps_stating, without
from .evidence_cases import EvidenceCase, Statement
from .pointing import body_of, chance_of, distance_mm, is_within_a_voxel, overlap, share_of_body, top_region

DELETED_SHARE = 0.15  # of the peak; voxels above it are deleted
LIES_ON = 0.1  # of a finding; if more of it is within a voxel of another one, its map may peak there too


@dataclass(frozen=True)
class PointedSentence:
    """The measurements of one sentence that states a true finding.

    Attributes:
        scan_id: the scan.
        finding: its name.
        sentence: the sentence.
        support: in nats; None if the mean scan does not fit the scan.
        within_a_voxel: whether the peak is within one voxel of the finding; None if the sentence has no map, as below.
        distance_mm: of the peak to the finding.
        overlap: intersection over union of the map's region and the finding.
        other_sentence: whether the peak of another sentence's map is within one voxel; None if no other sentence has a
            map, but for those about findings that lie on this one, as calcified coronary arteries on the heart.
        no_model: whether the largest difference of scan and mean is within one voxel.
        share_of_body: share of the body that the finding takes up.
        chance: share of the body that is within one voxel.
        deletion: whether the model no longer states the finding once the map's top is deleted; None if that was not
            tried, because the report is not the model's own.
        deletion_elsewhere: the same for a region of that shape at another place.
    """

    scan_id: str
    finding: str
    sentence: str
    support: float | None
    within_a_voxel: bool | None
    distance_mm: float | None
    overlap: float | None
    other_sentence: bool | None
    no_model: bool
    share_of_body: float
    chance: float
    deletion: bool | None = None
    deletion_elsewhere: bool | None = None


@dataclass(frozen=True)
class MeasuredCase:
    """The measurements of one scan; `seconds` is the time of its maps, `num_maps` their number."""

    scan_id: str
    correlation: float
    seconds: float
    num_maps: int
    sentences: tuple[PointedSentence, ...]


@dataclass(frozen=True)
class EvidenceMeasure:
    """Everything that a scan is measured with; `deletes` also tries deletion, which takes two reports a sentence."""

    model: Any
    processor: Any
    mean: MeanScan
    settings: EvidenceSettings
    deletes: bool = True

    def measure_all(self, cases: Iterable[EvidenceCase]) -> Iterator[MeasuredCase]:
        """Yield what was measured of each case."""
        for case in cases:
            yield self.measure(case)

    def measure(self, case: EvidenceCase) -> MeasuredCase:
        """Write the case's report, unless it has one, explain it and compare its maps with the truth."""
        instruction = case.instruction or INSTRUCTION
        report = self.report_of(case)
        started = time.monotonic()
        found = explain(
            self.model,
            self.processor,
            case.volume,
            report,
            self.mean,
            instruction=instruction,
            settings=self.settings,
        )
        seconds = time.monotonic() - started
        mean_hu = mean_in_scan(case.volume, self.mean, found.shift)
        statements = tuple(case.statements_in(report))
        scene = _Scene(case, found, statements, mean_hu, body_of(case.volume.hu), self.settings.smoothing_mm)
        sentences = tuple(self._pointed(scene, statement) for statement in first_statements(statements))
        num_maps = sum(each.density is not None for each in found.sentences)
        return MeasuredCase(case.scan_id, found.shift.correlation, seconds, num_maps, sentences)

    def report_of(self, case: EvidenceCase) -> str:
        """Return a case's report; where it has none, the model writes it."""
        if case.report is not None:
            return case.report
        instruction = case.instruction or INSTRUCTION
        return generate_batch(self.model, self.processor, [case.volume], [instruction])[0].text

    def _pointed(self, scene: "_Scene", statement: Statement) -> PointedSentence:
        mask, sentence = statement.finding.mask, scene.sentence_of(statement)
        told = {
            "scan_id": scene.case.scan_id,
            "finding": statement.finding.name,
            "sentence": sentence.text,
            "support": sentence.support,
            "no_model": is_within_a_voxel(scene.most_changed, mask),
            "share_of_body": share_of_body(mask, scene.body),
            "chance": chance_of(mask, scene.body),
        }
        values = scene.found.map_of(sentence)
        if values is None or sentence.peak is None:
            return PointedSentence(**told, within_a_voxel=None, distance_mm=None, overlap=None, other_sentence=None)
        removed: tuple[bool | None, bool | None] = (None, None)
        if self.deletes and scene.case.report is None:
            removed = self._deleted(scene, statement, values)
        other = scene.other_than(sentence, statement)
        return PointedSentence(
            **told,
            within_a_voxel=is_within_a_voxel(sentence.peak.index, mask),
            distance_mm=distance_mm(sentence.peak.index, mask, scene.case.volume.spacing_mm),
            overlap=overlap(top_region(values), mask),
            other_sentence=None if other is None or other.peak is None else is_within_a_voxel(other.peak.index, mask),
            deletion=removed[0],
            deletion_elsewhere=removed[1],
        )

    def _deleted(self, scene: "_Scene", statement: Statement, values: np.ndarray) -> tuple[bool | None, bool | None]:
        """Return whether deleting the map's top removes the statement, and whether deleting elsewhere does."""
        region = top_region(values, DELETED_SHARE)
        other = elsewhere(region, statement.finding.mask, scene.body, seed=statement.start)
        volumes = [without(scene.case.volume, each, scene.mean_hu) for each in (region, other) if each is not None]
        kept = keeps_stating(self.model, self.processor, scene.case, statement.finding, volumes)
        return not kept[0], None if other is None else not kept[1]


def first_statements(statements: Sequence[Statement]) -> list[Statement]:
    """Return the first statement of each true finding; an impression often says it again."""
    first: dict[int, Statement] = {}
    for statement in sorted(statements, key=lambda each: each.start):
        first.setdefault(id(statement.finding), statement)
    return list(first.values())


@dataclass(frozen=True)
class _Scene:
    """One case with its evidence, all statements of its report, the mean scan at its voxels, and its body."""

    case: EvidenceCase
    found: Evidence
    statements: tuple[Statement, ...]
    mean_hu: np.ndarray
    body: np.ndarray
    smoothing_mm: float

    @property
    def most_changed(self) -> tuple[int, int, int]:
        """Return the voxel where the scan differs most from the mean, smoothed as a map is: it knows no model."""
        volume: CTVolume = self.case.volume
        changed = np.abs(np.clip(volume.hu.astype(np.float32), *HU_WINDOW) - self.mean_hu)
        smooth = ndimage.gaussian_filter(changed, [self.smoothing_mm / step for step in volume.spacing_mm])
        depth, row, column = np.unravel_index(int(smooth.argmax()), smooth.shape)
        return int(depth), int(row), int(column)

    def sentence_of(self, statement: Statement) -> SentenceEvidence:
        """Return the sentence that a statement is in."""
        return next(each for each in self.found.sentences if each.start <= statement.start < each.end)

    def other_than(self, sentence: SentenceEvidence, statement: Statement) -> SentenceEvidence | None:
        """Return the next sentence that has a map, or the first one; none about a finding that lies on this one."""
        near = ndimage.binary_dilation(statement.finding.mask, np.ones((3, 3, 3), dtype=bool))
        about = [
            each.start for each in self.statements if each.finding.mask[near].sum() > LIES_ON * each.finding.mask.sum()
        ]
        others = [
            each
            for each in self.found.sentences
            if each.peak is not None and not any(each.start <= start < each.end for start in about)
        ]
        return next((each for each in others if each.start > sentence.start), others[0] if others else None)
