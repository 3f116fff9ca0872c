"""The evidence for a report of a phantom, with maps whose peaks are known, in files with axes of their own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from argus_inference.evidence.evidence import Evidence, SentenceEvidence
from argus_inference.evidence.evidence_files import write_evidence
from argus_inference.evidence.evidence_maps import MapMaker
from argus_inference.evidence.scan_placement import GridPlacement, file_axes_of
from argus_processing.ct_volume import CTVolume
from argus_processing.mean_scan.body_shift import Shift
from argus_processing.phantom.files import FileStyle, write_nifti
from argus_processing.phantom.scans import make_phantom
from argus_processing.read_ct import read_ct
from argus_processing.report_text import sentence_spans

SPACING = (6.0, 4.0, 4.0)
REPORT = "A nodule in the right lung, 8 mm. <b>An effusion</b> on the left. The heart is of normal size."
PEAKS = ((30, 40, 30), (12, 60, 70))  # in the canonical scan


@dataclass(frozen=True)
class Written:
    """A scan, its report, the evidence for it, that in a folder, and the peaks in mm."""

    report: str
    evidence: Evidence
    scan: Path
    folder: Path
    volume: CTVolume
    peaks_mm: tuple[tuple[float, float, float], ...]


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Written:
    root = tmp_path_factory.mktemp("viewed")
    write_nifti(make_phantom(11, SPACING), root / "scan.nii.gz", FileStyle(("R", "A", "S"), "int16", 1.0, 0.0))
    volume = read_ct(root / "scan.nii.gz")
    shape = volume.hu.shape
    placement = GridPlacement(shape, shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), volume.spacing_mm)
    axes = file_axes_of(volume)
    maps = MapMaker(volume, placement, axes, 0.0)
    at = np.stack(
        np.meshgrid(*(np.arange(size) * step for size, step in zip(shape, SPACING, strict=True)), indexing="ij")
    )
    sentences = []
    for (start, end), peak in zip(sentence_spans(REPORT), (*PEAKS, None), strict=True):
        text = REPORT[start:end]
        if peak is None:
            sentences.append(SentenceEvidence(text, start, end, 0.2, "not carried by the image"))
            continue
        centre = np.array(peak).reshape(3, 1, 1, 1) * np.array(SPACING).reshape(3, 1, 1, 1)
        density = torch.from_numpy(np.exp(-((at - centre) ** 2).sum(axis=0) / (2 * 15.0**2)).astype(np.float32))
        sentences.append(SentenceEvidence(text, start, end, 5.25, "", density, maps.peak_of(density)))
    evidence = Evidence(tuple(sentences), Shift((0.0, 0.0, 0.0), 0.9), placement, axes)
    write_evidence(
        root / "evidence", volume, REPORT, evidence, {"scan": str(root / "scan.nii.gz"), "warnings": ["a phantom"]}
    )
    assert tuple(sentence.peak.index for sentence in sentences[:2]) == PEAKS
    peaks = tuple(sentence.peak.patient_mm for sentence in sentences[:2])
    return Written(REPORT, evidence, root / "scan.nii.gz", root / "evidence", volume, peaks)
