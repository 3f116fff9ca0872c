"""CT-RATE's first version recognised: raw scanner values under a header that claims to need no rescale.

Version 1 keeps slope, intercept and voxel spacing in its metadata table alone, so that a volume's values, sizes and
orientation cannot be read from the file. Version 2 ("train_fixed", "valid_fixed") has them in the header.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

NUM_LOOKED_AT = 6  # volumes, spread over the list
USUAL_INTERCEPTS = (-1024.0, -8192.0)
_LARGEST_SLICE = 1 << 26  # bytes
_LARGEST_VOLUME = 1 << 32  # bytes
_LUNG_OR_AIR, _AIR, _TISSUE = (-1100.0, -200.0), (-1100.0, -850.0), (-150.0, 250.0)
_ENOUGH = 0.03  # share of a slice
_NEXT_TO_NONE = 0.01


@dataclass(frozen=True)
class Rescale:
    """What a metadata table says that a volume's raw values must be multiplied by, and what must be added."""

    slope: float
    intercept: float


def check_version(root: Path, folder: str, volumes: Sequence[str], rescales: Mapping[str, Rescale]) -> None:
    """Refuse a folder whose volumes hold raw values; a few are looked at, one slice of each.

    Args:
        root: of the download.
        folder: which part of it, for the error.
        volumes: paths below the root.
        rescales: volume -> what the metadata table says of it, where it says something.

    Raises:
        ValueError: if at least half of the volumes looked at hold raw values.
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
    """Whether a volume holds raw values: no lung as it is, but air and tissue once rescaled; None if unreadable."""
    try:
        picture = _middle_slice(path)
    except Exception:  # whatever a damaged file raises: reading it in full will tell
        return None
    if picture is None:
        return None
    if _share(picture, _LUNG_OR_AIR) >= _NEXT_TO_NONE:
        return False
    known = [rescale] if rescale else [Rescale(1.0, intercept) for intercept in USUAL_INTERCEPTS]
    rescaled = [picture * how.slope + how.intercept for how in known if (how.slope, how.intercept) != (1.0, 0.0)]
    return any(_share(hu, _AIR) >= _ENOUGH and _share(hu, _TISSUE) >= _ENOUGH for hu in rescaled)


def _middle_slice(path: Path) -> np.ndarray | None:
    """The middle slice as it is stored, or None where the header itself rescales or promises too much."""
    image = nib.load(path)
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    width = image.get_data_dtype().itemsize
    if (slope, intercept) != (1.0, 0.0) or len(image.shape) != 3:
        return None
    if np.prod(image.shape[:2]) * width > _LARGEST_SLICE or np.prod(image.shape) * width > _LARGEST_VOLUME:
        return None
    return np.asarray(image.dataobj[..., image.shape[2] // 2], dtype=np.float32)


def _share(values: np.ndarray, limits: tuple[float, float]) -> float:
    return float(np.mean((values >= limits[0]) & (values <= limits[1])))
