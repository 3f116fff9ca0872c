"""Read a list of findings with their places in real scans: a table of scan, finding, and a box or a mask.

The columns are `scan` and `finding`, and either `mask`, a NIfTI file that is not zero in the finding, or the box
`i0, i1, j0, j1, k0, k1` in the NIfTI file's own voxel axes; the last index of each axis is left out. Files are named
from the folder of the scans. ReXGroundingCT's masks, one file for each finding, fit this form.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from argus_processing import CTVolume
from argus_processing.ct_checks import binary_mask, reading_nifti
from argus_processing.storage.foreign_files import check_size

from ..metrics.labels import CT_RATE_LABELS

BOX_COLUMNS = ("i0", "i1", "j0", "j1", "k0", "k1")
MAX_TABLE_BYTES = 64 << 20
FARTHEST_MM = 1.0  # that the corners of a mask and of its scan may lie apart


@dataclass(frozen=True)
class ListedFinding:
    """A finding in a scan: `box` in the file's voxel axes, or the file of a mask."""

    scan: Path
    label: str
    box: tuple[int, ...] | None = None
    mask: Path | None = None


def read_boxes(folder: Path, table: Path) -> list[ListedFinding]:
    """Read the table of findings in the scans of a folder.

    Raises:
        FileNotFoundError: if table, a scan or a mask is not there.
        ValueError: if a column is missing or a row cannot be used; the message names it.
    """
    check_size(table, MAX_TABLE_BYTES)
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or ())
        if missing := {"scan", "finding"} - columns or not {"mask"} & columns and set(BOX_COLUMNS) - columns:
            raise ValueError(f"{table}: has no column {', '.join(sorted(missing))}; it needs scan, finding, and a box")
        findings = [_listed(folder, row, f"{table}, row {number}") for number, row in enumerate(reader, start=2)]
    if not findings:
        raise ValueError(f"{table}: lists no finding")
    return findings


def _listed(folder: Path, row: dict[str, str], place: str) -> ListedFinding:
    scan = _file(folder, row["scan"], place)
    if row["finding"] not in CT_RATE_LABELS:
        raise ValueError(f"{place}: no finding {row['finding']!r}; there are {', '.join(CT_RATE_LABELS)}")
    if row.get("mask"):
        return ListedFinding(scan, row["finding"], mask=_file(folder, row["mask"], place))
    try:
        box = tuple(int(row[column]) for column in BOX_COLUMNS)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{place}: a box has whole numbers in {', '.join(BOX_COLUMNS)}") from None
    if any(not 0 <= first < last for first, last in zip(box[::2], box[1::2], strict=True)):
        raise ValueError(f"{place}: a box goes from a lower to a higher index along each axis")
    return ListedFinding(scan, row["finding"], box)


def _file(folder: Path, name: str, place: str) -> Path:
    """Return a file below the folder.

    Raises:
        FileNotFoundError, ValueError: if it is not there, or lies elsewhere.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{place}: a file lies outside of the folder of the scans")
    if not name or not path.is_file():
        raise FileNotFoundError(f"{place}: no such file in the folder of the scans")
    return path


def finding_mask(listed: ListedFinding, volume: CTVolume) -> NDArray[np.bool_]:
    """Return where a finding lies in its scan, turned as the scan is.

    Raises:
        CTReadError: if the mask cannot be read, or is none.
        ValueError: if the box or the mask does not fit the scan, or is empty.
    """
    path = listed.mask or listed.scan
    with reading_nifti(path, "give the file again"):
        image: Any = nib.load(path)
        stored = np.zeros(image.shape[:3], dtype=bool) if listed.box else np.asarray(image.dataobj)
    shape = tuple(image.shape[:3])
    name = f"{listed.scan.name}, {listed.label}"
    if listed.box is not None and any(last > side for last, side in zip(listed.box[1::2], shape, strict=True)):
        raise ValueError(f"{name}: its box ends outside of the file's {' x '.join(map(str, shape))} voxels")
    if stored.ndim != 3:
        raise ValueError(f"{name}: the mask has {stored.ndim} axes; give one of three for each finding")
    if listed.box is not None:
        stored[tuple(slice(*listed.box[axis : axis + 2]) for axis in (0, 2, 4))] = True
    turned = CTVolume.turned((stored != 0).astype(np.int16), image.affine)
    corners = [
        affine @ (*np.multiply(volume.hu.shape, at), 1.0) for affine in (turned.affine, volume.affine) for at in (0, 1)
    ]
    if turned.hu.shape != volume.hu.shape or np.abs(np.subtract(corners[:2], corners[2:])).max() > FARTHEST_MM:
        raise ValueError(f"{name}: the mask lies on another grid than the scan")
    binary_mask(stored, path)
    mask = turned.hu != 0
    if not mask.any():
        raise ValueError(f"{name}: its box or mask holds no voxel of the scan")
    return mask
