"""Score maps of evidence against masks: the peak's distance to the finding, and the overlap."""

import numpy as np
from scipy import ndimage

NEAR_MM = 8.0
TOP_SHARE = 0.5  # of the peak; voxels above it are the map's region
BODY_HU = -500.0


def is_within_a_voxel(index: tuple[int, int, int], mask: np.ndarray) -> bool:
    """Return whether a voxel of `(D, H, W)` bool is in a mask or touches a voxel of it, also at a corner."""
    around = tuple(slice(max(0, at - 1), at + 2) for at in index)
    return bool(mask[around].any())


def distance_mm(index: tuple[int, int, int], mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Return the distance of a voxel to the nearest one of a mask, centre to centre; infinite if the mask is empty."""
    voxels = np.argwhere(mask)
    if not len(voxels):
        return float("inf")
    return float(np.sqrt((((voxels - np.array(index)) * np.array(spacing_mm)) ** 2).sum(axis=1).min()))


def top_region(values: np.ndarray, share: float = TOP_SHARE) -> np.ndarray:
    """Return the voxels of a map that have at least a share of its peak; none where the map is all 0."""
    peak = values.max()
    return values >= share * peak if peak > 0 else np.zeros(values.shape, dtype=bool)


def overlap(region: np.ndarray, mask: np.ndarray) -> float:
    """Return intersection over union of two masks; 0 if both are empty."""
    union = np.count_nonzero(region | mask)
    return np.count_nonzero(region & mask) / union if union else 0.0


def body_of(hu: np.ndarray) -> np.ndarray:
    """Return the voxels of the body `(D, H, W)`: denser than -500 HU, and what that encloses in a slice, as lungs."""
    dense = hu > BODY_HU
    # A table is thinner than the body.
    opened = ndimage.binary_opening(dense, np.ones((1, 5, 5), dtype=bool))
    return np.stack([ndimage.binary_fill_holes(plane) for plane in opened])


def share_of_body(mask: np.ndarray, body: np.ndarray) -> float:
    """Return the size of a mask as a share of that of the body."""
    inside = np.count_nonzero(body)
    return np.count_nonzero(mask) / inside if inside else 0.0


def chance_of(mask: np.ndarray, body: np.ndarray) -> float:
    """Return the share of the body's voxels that are within a voxel of a mask: the hits of a point drawn there."""
    near = ndimage.binary_dilation(mask, np.ones((3, 3, 3), dtype=bool))
    inside = np.count_nonzero(body)
    return np.count_nonzero(near & body) / inside if inside else 0.0
