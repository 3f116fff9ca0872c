"""Two real CTs, of the TotalSegmentator repository's reference files, read as they always were.

They are not shipped: name the folder that holds `abdomen_small.nii.gz` and `dicom_series/` in ARGUS_REAL_CT.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from argus_processing.read_ct import read_ct

FOLDER = os.environ.get("ARGUS_REAL_CT")
pytestmark = pytest.mark.skipif(not FOLDER, reason="ARGUS_REAL_CT names no folder of real CTs")


@pytest.mark.parametrize(
    ("name", "shape", "orientation", "spacing_mm", "checksum"),
    [
        ("abdomen_small.nii.gz", (30, 101, 122), "RAS", (3.0, 3.0, 3.0), "5587e7bc0ae70541"),
        ("dicom_series", (20, 512, 512), "LPS", (2.0, 0.9765625, 0.9765625), "0d9f62d8433a424e"),
    ],
)
def test_a_real_ct_keeps_its_values_and_its_place(name, shape, orientation, spacing_mm, checksum):
    volume = read_ct(Path(FOLDER) / name)
    assert volume.hu.shape == shape and volume.hu.dtype == np.int16
    assert hashlib.sha256(np.ascontiguousarray(volume.hu).tobytes()).hexdigest().startswith(checksum)
    assert volume.original_orientation == orientation and volume.warnings == ()
    np.testing.assert_allclose(volume.spacing_mm, spacing_mm, rtol=1e-6)
