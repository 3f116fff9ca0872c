"""Keep a model's mean scan in its folder as `mean_scan.nii.gz`, with its record in `argus.json`.

Any viewer opens it. A file that is not the recorded one, byte for byte, is neither read nor published.
"""

import gzip
import hashlib
import io
import zlib
from dataclasses import replace
from math import prod
from pathlib import Path

import nibabel as nib
import numpy as np

from ..saved_models.provenance import MeanScanRecord, Provenance, read_provenance, write_provenance
from ..storage.foreign_files import ForeignFileError, check_size
from ..storage.whole_files import write_whole
from .mean_scan import HU_WINDOW, LARGEST_MM, MIN_SCANS, STEP_MM, MeanScan

MEAN_SCAN_FILE = "mean_scan.nii.gz"
MAX_BYTES = 16 << 20
ADVICE = "train the model with this version, which writes one"
_MOST_VOXELS = int(np.prod([side / STEP_MM + 2 for side in LARGEST_MM]))


def save_mean_scan(folder: Path, mean: MeanScan, data_sha256: str) -> None:
    """Write a mean scan into a model's folder and its record into the folder's `argus.json`.

    Raises:
        ValueError: if the folder has no `argus.json`, or the mean is of too few scans.
    """
    provenance = read_provenance(folder)
    if provenance is None:
        raise ValueError(f"{folder}: has no argus.json, which tells of a mean scan")
    if mean.num_scans < MIN_SCANS:
        raise ValueError(f"a mean of {mean.num_scans} scans is not kept: {MIN_SCANS} are needed to hide each of them")
    content = _packed(mean)
    record = MeanScanRecord(mean.num_scans, data_sha256, hashlib.sha256(content).hexdigest())
    write_whole(folder / MEAN_SCAN_FILE, content)
    write_provenance(folder, replace(provenance, mean_scan=record))


def copy_mean_scan(start: Path, folder: Path) -> None:
    """Copy the mean scan of a model to the folder of one that was made of it, with its record, if there is one.

    Raises:
        ForeignFileError: if the file is not the recorded one.
    """
    given, own = read_provenance(start), read_provenance(folder)
    if given is None or own is None or given.mean_scan is None:
        return
    content = _recorded_bytes(start, given)
    write_whole(folder / MEAN_SCAN_FILE, content)
    write_provenance(folder, replace(own, mean_scan=given.mean_scan))


def read_mean_scan(folder: Path) -> MeanScan:
    """Read a model's mean scan.

    Raises:
        FileNotFoundError: if the model has none.
        ForeignFileError: if the file is not the recorded one, or is none that `save_mean_scan` writes.
    """
    folder = Path(folder)
    path, provenance = folder / MEAN_SCAN_FILE, read_provenance(folder)
    if provenance is None or provenance.mean_scan is None or not path.exists():
        raise FileNotFoundError(f"{folder}: has no mean scan ({MEAN_SCAN_FILE}); {ADVICE}")
    content = _inflated(path, _recorded_bytes(folder, provenance))
    try:
        image = nib.Nifti1Image.from_bytes(content)
        if len(image.shape) != 3 or not 0 < prod(image.shape) <= _MOST_VOXELS or image.get_data_dtype() != np.int16:
            raise _not_ours(path)
        stored, affine = np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
    except Exception:  # nibabel's errors on a damaged header are of many kinds
        raise _not_ours(path) from None
    step = abs(affine[2, 2])
    is_upright = np.isfinite(affine).all() and np.allclose(affine[:3, :3], np.diag([-step, -step, step]))
    if not is_upright or not 1.0 <= step <= 20.0 or stored.min() < HU_WINDOW[0] or stored.max() > HU_WINDOW[1]:
        raise _not_ours(path)
    hu = np.ascontiguousarray(stored.transpose(2, 1, 0)).astype(np.int16)
    mean = MeanScan(hu, float(step), provenance.mean_scan.num_scans)
    # A header could hold a text, and bytes could follow the voxels.
    if _nifti_bytes(mean) != content:
        raise _not_ours(path)
    return mean


def is_recorded_mean_scan(folder: Path, path: Path) -> bool:
    """Return whether a file of a model's folder is its mean scan, as recorded, of enough scans to hide each of them."""
    if path != folder / MEAN_SCAN_FILE or path.is_symlink():
        return False
    try:
        provenance = read_provenance(folder)
        record = provenance.mean_scan if provenance else None
        if provenance is None or record is None or record.num_scans < MIN_SCANS:
            return False
        read_mean_scan(folder)
    except (OSError, ForeignFileError):
        return False
    trained = [stage for stage in provenance.stages if stage.data_sha256 == record.data_sha256]
    return any(sum(subset.num_scans for subset in stage.subsets) >= record.num_scans for stage in trained)


def _packed(mean: MeanScan) -> bytes:
    """Return the bytes of a mean scan's file, the same each time."""
    return gzip.compress(_nifti_bytes(mean), compresslevel=9, mtime=0)


def _nifti_bytes(mean: MeanScan) -> bytes:
    """Return a mean scan as a NIfTI file; its middle is at 0 mm."""
    stored = np.ascontiguousarray(mean.hu.transpose(2, 1, 0)).astype(np.int16)
    affine = np.diag([-mean.step_mm, -mean.step_mm, mean.step_mm, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(stored.shape) - 1) / 2)
    image = nib.Nifti1Image(stored, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"argus mean of {mean.num_scans} scans"
    image.set_qform(affine, code=2)
    image.set_sform(affine, code=2)
    return image.to_bytes()


def _recorded_bytes(folder: Path, provenance: Provenance) -> bytes:
    path, record = folder / MEAN_SCAN_FILE, provenance.mean_scan
    if not path.exists():
        raise FileNotFoundError(f"{folder}: has no mean scan ({MEAN_SCAN_FILE}); {ADVICE}")
    check_size(path, MAX_BYTES)
    content = path.read_bytes()
    if record is None or hashlib.sha256(content).hexdigest() != record.sha256:
        raise ForeignFileError(f"{path}: is not the mean scan that argus.json tells of; copy the folder again")
    return content


def _inflated(path: Path, content: bytes) -> bytes:
    """Return the NIfTI file in gzip bytes, of at most the size of the largest mean scan."""
    most = 2 * _MOST_VOXELS + 4096
    if content[3:4] != b"\0":  # gzip's own header may hold a name or a text
        raise _not_ours(path)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            inflated = file.read(most + 1)
    except (OSError, EOFError, zlib.error):
        raise _not_ours(path) from None
    if len(inflated) > most:
        raise _not_ours(path)
    return inflated


def _not_ours(path: Path) -> ForeignFileError:
    return ForeignFileError(f"{path}: is no mean scan of Argus; copy the folder again")
