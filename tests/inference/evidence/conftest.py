"""A phantom in a file with axes of its own, and the mean of some others."""

from pathlib import Path

import numpy as np
import pytest

from argus_processing.ct_volume import CTVolume
from argus_processing.mean_scan.mean_scan import MeanScan, coarse_scan
from argus_processing.phantom.files import FileStyle, write_nifti
from argus_processing.phantom.scans import make_phantom

SPACING = (12.0, 8.0, 8.0)


@pytest.fixture(scope="session")
def mean() -> MeanScan:
    scans = [coarse_scan(CTVolume.from_array(make_phantom(seed, SPACING).hu, SPACING)) for seed in range(4)]
    size = [min(scan.shape[axis] for scan in scans) for axis in range(3)]
    total = sum(scan[tuple(slice(side) for side in size)].astype(float) for scan in scans)
    return MeanScan(np.rint(total / len(scans)).astype(np.int16), 5.0, 40)


@pytest.fixture(scope="session")
def scan(tmp_path_factory) -> Path:
    """Stored from left to right, front to back, feet to head: turned in two axes."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_nifti(make_phantom(11, SPACING), path, FileStyle(("R", "A", "S"), "int16", 1.0, 0.0))
    return path
