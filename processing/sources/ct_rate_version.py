"""Recognise version 1 of CT-RATE: raw scanner values under a header that states no rescale.

Version 1 has slope, intercept and voxel spacing only in its metadata table, so a volume's values, sizes and orientation
cannot be read from the file. Version 2 ("train_fixed", "valid_fixed") has them in the header.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

NUM_LOOKED_AT = 6  # volumes that are checked, spread over the list
USUAL_INTERCEPTS = (-1024.0, -8192.0)
_LARGEST_SLICE = 1 << 26  # bytes
_LARGEST_VOLUME = 1 << 32  # bytes
_LUNG_OR_AIR, _AIR, _TISSUE = (-1100.0, -200.0), (-1100.0, -850.0), (-150.0, 250.0)
_ENOUGH = 0.03  # share of a slice
_NEXT_TO_NONE = 0.01


@dataclass(frozen=True)
class Rescale:
    """The factor (slope) and the summand (intercept) for a volume's raw values, from a metadata table."""

    slope: float
    intercept: float


def check_version(root: Path, folder: str, volumes: Sequence[str], rescales: Mapping[str, Rescale]) -> None:
    """Refuse a folder whose volumes hold raw values; one slice of a few volumes is checked.

    Args:
        root: folder of the download.
        folder: part of the download, for the error.
        volumes: paths below the root.
        rescales: volume -> its rescale in the metadata table, if it has one.

    Raises:
        ValueError: if at least half of the checked volumes hold raw values.
    """
    step = max(1, len(volumes) // NUM_LOOKED_AT)
    verdicts = [is_raw(root / volume, rescales.get(volume)) for volume in volumes[::step][:NUM_LOOKED_AT]]
    readable = [verdict for verdict in verdicts if verdict is not None]
    if readable and 2 * sum(readable) >= len(readable):
        raise ValueError(
            f"{root / folder}: {sum(readable)} of {len(readable)} volumes looked at hold raw values, not Hounsfield "
            "units: this is CT-RATE's version 1, whose intercept and spacing stand in its metadata table only; "
            "download version 2 (dataset/train_fixed, dataset/valid_fixed)"
        )


def is_raw(path: Path, rescale: Rescale | None) -> bool | None:
    """Return whether a volume is raw: no lung as stored, but air and tissue if rescaled; None if it is unreadable."""
    try:
        picture = _middle_slice(path)
    except Exception:  # a damaged file may raise anything; reading it in full will report it
        return None
    if picture is None:
        return None
    if _share(picture, _LUNG_OR_AIR) >= _NEXT_TO_NONE:
        return False
    known = [rescale] if rescale else [Rescale(1.0, intercept) for intercept in USUAL_INTERCEPTS]
    rescaled = [picture * how.slope + how.intercept for how in known if (how.slope, how.intercept) != (1.0, 0.0)]
    return any(_share(hu, _AIR) >= _ENOUGH and _share(hu, _TISSUE) >= _ENOUGH for hu in rescaled)


def _middle_slice(path: Path) -> np.ndarray | None:
    """Return the middle slice as it is stored, or None if the header itself rescales or states an absurd size."""
    image: Any = nib.load(path)  # nibabel states only a class without voxels
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    width = image.get_data_dtype().itemsize
    if (slope, intercept) != (1.0, 0.0) or len(image.shape) != 3:
        return None
    if np.prod(image.shape[:2]) * width > _LARGEST_SLICE or np.prod(image.shape) * width > _LARGEST_VOLUME:
        return None
    return np.asarray(image.dataobj[..., image.shape[2] // 2], dtype=np.float32)


def _share(values: np.ndarray, limits: tuple[float, float]) -> float:
    return float(np.mean((values >= limits[0]) & (values <= limits[1])))
