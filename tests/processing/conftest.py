"""Makers of small CT scans, in memory and as NIfTI and DICOM files written on the spot."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_series import ORIGIN, SPACING, body_hu, write_series
from dicom_series import write_enhanced as write_one_file

from argus_processing.ct_volume import CTReadError
from argus_processing.read_ct import read_ct


def canonical_affine() -> np.ndarray:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = SPACING[0], -SPACING[1], -SPACING[2]
    affine[:3, 3], affine[3, 3] = ORIGIN, 1
    return affine


@pytest.fixture
def hu() -> np.ndarray:
    return body_hu()


@pytest.fixture
def affine() -> np.ndarray:
    return canonical_affine()


@pytest.fixture
def refusal():
    """Read what must be refused; give the message, found to be one line that tells nothing of the patient."""

    def read(path) -> str:
        with pytest.raises(CTReadError) as caught:
            read_ct(path)
        message = str(caught.value)
        assert message.startswith(f"{path}")
        assert "\n" not in message and "; " in message
        assert "SECRET" not in message and "1.2.3.4.5" not in message and "1961" not in message
        # A traceback must not show the library's own error either: it quotes the header.
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return message

    return read


@pytest.fixture
def write_nifti(tmp_path):
    """Write raw numbers under a header made by hand, so that nothing rescales them on the way."""

    def write(
        raw,
        affine=None,
        name="scan.nii.gz",
        slope=np.nan,
        intercept=np.nan,
        qform=None,
        order="<",
        dtype=None,
        **fields,
    ) -> Path:
        raw = np.asarray(raw)
        header = nib.Nifti1Header(endianness=order)
        header.set_data_shape(raw.shape)
        header.set_data_dtype(dtype or raw.dtype)
        header.set_sform(affine, code=1 if affine is not None else 0)
        if qform is not None:
            header.set_qform(qform, code=1)
        header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, intercept, 352
        for field, value in fields.items():
            header[field] = value
        content = header.binaryblock + bytes(4) + raw.astype(header.get_data_dtype()).tobytes("F")
        path = tmp_path / name
        path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
        return path

    return write


@pytest.fixture
def write_dicom(tmp_path):
    """Write `hu` as a series; `edit(index, header)` may change a slice, and drops it by returning False."""

    def write(hu, folder="series", **options) -> Path:
        return write_series(tmp_path / folder, hu, **options)

    return write


@pytest.fixture
def write_enhanced(tmp_path):
    """Write `hu` as one enhanced CT file, its frames in a shuffled order; `edit(header)` may change it."""

    def write(hu, **options) -> Path:
        return write_one_file(tmp_path / "enhanced", hu, **options)

    return write
