"""Define scans with findings whose voxels are known, and find the sentences of a report that state them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from argus_processing.ct_volume import CTVolume


@dataclass(frozen=True)
class TrueFinding:
    """A finding of a scan.

    Attributes:
        name: its label, or the sentence that describes it.
        mask: `(D, H, W)` bool, its voxels in the canonical scan.
    """

    name: str
    mask: np.ndarray


@dataclass(frozen=True)
class Statement:
    """A true finding that a report states, and the place of its name in the text."""

    finding: TrueFinding
    start: int
    end: int


@dataclass(frozen=True)
class EvidenceCase:
    """A scan whose findings are known.

    Attributes:
        scan_id: its name.
        volume: the scan.
        findings: its findings.
        statements_in: finds the statements of these findings in a report.
        report: the report to explain; None stands for the model's own.
        instruction: the instruction that the report answers; None stands for the paper's.
    """

    scan_id: str
    volume: CTVolume
    findings: tuple[TrueFinding, ...]
    statements_in: Callable[[str], list[Statement]]
    report: str | None = None
    instruction: str | None = None
