"""Make cases of phantoms, whose findings are known to the voxel, also moved in their field of view."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from argus_processing.ct_volume import CTVolume
from argus_processing.phantom.findings import FINDING_KINDS, Finding
from argus_processing.phantom.scans import Phantom, make_phantom

from ..metrics.report_findings import locate_findings
from .evidence_cases import EvidenceCase, Statement, TrueFinding

CHANGED_HU = 50.0  # a voxel that a finding changed by more than noise is its own
WINDOW = (-1000.0, 1000.0)
MOST_MM = 40.0
MOVES = ("shifted", "cropped", "enlarged")
AIR_HU = -1000


def phantom_case(
    seed: int,
    spacing_mm: Sequence[float] | None = None,
    labels: Collection[str] | None = None,
    true_report: bool = False,
) -> EvidenceCase:
    """Make the case of a phantom.

    Args:
        seed, spacing_mm, labels: as of `make_phantom`.
        true_report: whether the phantom's own report is taken in place of the model's.
    """
    phantom = make_phantom(seed, spacing_mm, labels=labels)
    masks = {finding: finding_mask(phantom, spacing_mm, finding) for finding in phantom.findings}
    truths = {finding: TrueFinding(finding.label, mask) for finding, mask in masks.items() if mask.any()}
    return EvidenceCase(
        scan_id=f"phantom {seed}",
        volume=CTVolume.from_array(phantom.hu, phantom.spacing_mm),
        findings=tuple(truths.values()),
        statements_in=lambda report: _statements(report, truths),
        report=phantom.report if true_report else None,
    )


def finding_mask(phantom: Phantom, spacing_mm: Sequence[float] | None, finding: Finding) -> np.ndarray:
    """Return the voxels of a finding, `(D, H, W)` bool: those that it changed when it was painted."""
    order = list(FINDING_KINDS)
    # Those painted later are left out: without this finding they might lie elsewhere.
    earlier = [other for other in phantom.findings if order.index(other.label) < order.index(finding.label)]
    drawn = [make_phantom(phantom.seed, spacing_mm, findings).hu for findings in ([*earlier, finding], earlier)]
    with_it, without = (np.clip(hu.astype(np.float32), *WINDOW) for hu in drawn)
    return np.abs(with_it - without) > CHANGED_HU


def _statements(report: str, truths: dict[Finding, TrueFinding]) -> list[Statement]:
    """Return the mentions of true findings, with their right side where the report names one."""
    found = []
    for mention in locate_findings(report):
        for finding, truth in truths.items():
            if mention.finding.label == finding.label and mention.finding.side in (None, finding.side):
                found.append(Statement(truth, mention.start, mention.end))
    return found


def moved(case: EvidenceCase, seed: int) -> EvidenceCase:
    """Return a case whose scan has another field of view: shifted, cropped or enlarged by up to 40 mm.

    A shift moves the content by up to 40 mm along each axis; a crop takes up to 40 mm off each of the six faces; an
    enlarged field has up to 40 mm of air more beyond each. The seed draws which one, and how far.
    """
    draw = np.random.default_rng([seed, 40])
    kind = MOVES[int(draw.integers(len(MOVES)))]
    spacing = np.array(case.volume.spacing_mm)
    if kind == "shifted":
        steps = np.rint(draw.uniform(-MOST_MM, MOST_MM, 3) / spacing).astype(int)
        before, after = steps, -steps
    else:
        sign = 1 if kind == "enlarged" else -1
        before, after = (sign * np.floor(draw.uniform(0, MOST_MM, 3) / spacing).astype(int) for _ in range(2))
    edges = list(zip(before.tolist(), after.tolist(), strict=True))
    hu = _framed(case.volume.hu, edges, AIR_HU)
    masks = [TrueFinding(finding.name, _framed(finding.mask, edges, False)) for finding in case.findings]
    by_old = {id(old): new for old, new in zip(case.findings, masks, strict=True)}

    def statements(report: str) -> list[Statement]:
        known = [replace(each, finding=by_old[id(each.finding)]) for each in case.statements_in(report)]
        # A finding that lies outside the new field of view cannot be pointed at.
        return [each for each in known if each.finding.mask.any()]

    volume = CTVolume.from_array(hu, case.volume.spacing_mm)
    return replace(
        case,
        scan_id=f"{case.scan_id}, {kind}",
        volume=volume,
        findings=tuple(finding for finding in masks if finding.mask.any()),
        statements_in=statements,
    )


def _framed(array: np.ndarray, edges: Sequence[tuple[int, int]], fill: int | bool) -> np.ndarray:
    """Add so many voxels before and after along each axis; a negative number takes them away."""
    inner = array[
        tuple(
            slice(max(0, -before), size - max(0, -after))
            for (before, after), size in zip(edges, array.shape, strict=True)
        )
    ]
    return np.pad(inner, [(max(0, before), max(0, after)) for before, after in edges], constant_values=fill)
