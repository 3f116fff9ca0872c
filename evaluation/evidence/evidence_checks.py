"""Check that maps come from scan and model: with another tower, or without the finding, they must not point there."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch

from argus_inference.evidence.explain import explain
from argus_processing.instructions import INSTRUCTION

from .evidence_cases import EvidenceCase
from .evidence_measures import EvidenceMeasure, MeasuredCase, first_statements


def with_random_tower(model: Any, seed: int = 0) -> Any:
    """Return a copy of a model whose vision tower has random weights."""
    other = copy.deepcopy(model)
    tower = other.model.vision_tower
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(tower)(tower.config)
    tower.load_state_dict({name: weight.to(model.dtype) for name, weight in fresh.state_dict().items()})
    return other


def measure_random_tower(measure: EvidenceMeasure, cases: Iterable[EvidenceCase]) -> Iterator[MeasuredCase]:
    """Yield what the same model with a random tower gives for reports of the whole model; see `MeasuredCase`.

    A sentence without a map points nowhere.
    """
    random = replace(measure, model=with_random_tower(measure.model), deletes=False)
    for case in cases:
        measured = random.measure(replace(case, report=measure.report_of(case)))
        told = (replace(each, within_a_voxel=bool(each.within_a_voxel)) for each in measured.sentences)
        yield replace(measured, sentences=tuple(told))


def share_with_map(measure: EvidenceMeasure, case: EvidenceCase, other: EvidenceCase) -> tuple[int, int]:
    """Count the sentences about findings that a scan does not have, and those of them that get a map there.

    Args:
        measure: the model and its settings.
        case: the scan.
        other: the case whose report states its own findings; those that the scan has too are left out.

    Returns:
        The number of maps and the number of sentences.
    """
    report = measure.report_of(other)
    present = {finding.name for finding in case.findings}
    absent = [each for each in first_statements(other.statements_in(report)) if each.finding.name not in present]
    instruction = case.instruction or INSTRUCTION
    found = explain(
        measure.model,
        measure.processor,
        case.volume,
        report,
        measure.mean,
        instruction=instruction,
        settings=measure.settings,
    )
    mapped = [any(s.start <= each.start < s.end and s.peak is not None for s in found.sentences) for each in absent]
    return sum(mapped), len(mapped)
