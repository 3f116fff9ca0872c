"""Make procedural chest CTs whose findings are known: the built-in data set for trying and testing Argus."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .anatomy import add_noise, draw_anatomy, paint_anatomy
from .canvas import Canvas, VoxelGrid, as_point
from .findings import FINDING_KINDS, Finding, check_findings, draw_findings
from .wording import write_report

# Every draw has its own random stream, so that a scan's findings are independent of its file format.
_STREAMS = ("findings", "anatomy", "vessels", "noise", "grid", "report", "file")


@dataclass(frozen=True)
class Phantom:
    """One synthetic scan.

    Attributes:
        hu: `(D, H, W)` int16 volume in Hounsfield units: D toward the head, H toward the back, W toward the
            patient's left (column 0 is the patient's right).
        spacing_mm: voxel spacing along (D, H, W).
        findings: the true findings.
        report: the report of these findings, worded by the seed.
    """

    seed: int
    hu: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    findings: tuple[Finding, ...]
    report: str


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of one part of one phantom, the same on every machine.

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"a phantom's seed must be 0 or more, got {seed}")
    return np.random.Generator(np.random.PCG64([seed, _STREAMS.index(name)]))


def truth_of(seed: int, labels: Collection[str] | None = None) -> tuple[Finding, ...]:
    """Return the findings of a phantom, without painting it; arguments as of `make_phantom`."""
    return tuple(draw_findings(stream(seed, "findings"), labels))


def report_of(seed: int, labels: Collection[str] | None = None) -> str:
    """Return the report of a phantom, without painting it; arguments as of `make_phantom`."""
    return write_report(truth_of(seed, labels), stream(seed, "report"), labels)


def draw_grid(rng: np.random.Generator, spacing_mm: Sequence[float] | None = None) -> VoxelGrid:
    """Draw a field of view of about 300 x 340 x 400 mm and make its voxel grid.

    Args:
        rng: source of the draw.
        spacing_mm: voxel spacing along (D, H, W). Default: about (5, 3, 3) mm, drawn.

    Raises:
        ValueError: if the spacing is not three numbers above 0 and at most 40 mm.
    """
    if spacing_mm is not None and (len(spacing_mm) != 3 or not all(0 < step <= 40 for step in spacing_mm)):
        raise ValueError(f"spacing_mm must be three numbers above 0 and at most 40 mm, got {spacing_mm}")
    extent = rng.uniform((285, 325, 385), (305, 345, 405))
    drawn = rng.uniform((4.6, 2.9, 2.9), (5.4, 3.2, 3.2))
    # Pixels are square in the plane, as a scanner's are.
    spacing = spacing_mm or (round(float(drawn[0]), 2), round(float(drawn[1]), 3), round(float(drawn[1]), 3))
    depth, rows, columns = (max(8, round(float(size) / step)) for size, step in zip(extent, spacing, strict=True))
    return VoxelGrid((depth, rows, columns), as_point(spacing))


def make_phantom(
    seed: int,
    spacing_mm: Sequence[float] | None = None,
    findings: Sequence[Finding] | None = None,
    labels: Collection[str] | None = None,
) -> Phantom:
    """Make the synthetic chest CT of a seed: deterministic, on any grid.

    Args:
        seed: integer from 0 up; it decides patient, findings, report and noise.
        spacing_mm: voxel spacing along (D, H, W) in mm. Default: about (5, 3, 3), drawn.
        findings: findings of the patient. Default: drawn by the seed.
        labels: those that may be drawn, and that the report calls absent where they are. Default: all 18.

    Raises:
        ValueError: if the seed is negative, the spacing is unusable or a finding is not one the phantom can paint.
    """
    truth = truth_of(seed, labels) if findings is None else tuple(findings)
    check_findings(truth)
    # In the table's order, not the caller's: later kinds are painted on top.
    truth = tuple(sorted(truth, key=lambda finding: list(FINDING_KINDS).index(finding.label)))
    grid = draw_grid(stream(seed, "grid"), spacing_mm)
    canvas = Canvas(grid)
    anatomy = draw_anatomy(stream(seed, "anatomy"))
    own = {label: np.random.Generator(np.random.PCG64([seed, 100 + n])) for n, label in enumerate(FINDING_KINDS)}
    for finding in truth:
        if change := FINDING_KINDS[finding.label].change:
            change(anatomy, own[finding.label])
    paint_anatomy(canvas, anatomy, stream(seed, "vessels"))
    for finding in truth:
        if paint := FINDING_KINDS[finding.label].paint:
            paint(canvas, anatomy, finding, own[finding.label])
    add_noise(canvas, anatomy, stream(seed, "noise"))
    hu = np.clip(np.rint(canvas.hu), -1024, 3071).astype(np.int16)
    return Phantom(seed, hu, grid.spacing_mm, truth, write_report(truth, stream(seed, "report"), labels))
