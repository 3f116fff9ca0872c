"""Name the arrays of a CT; the tensors made of them are named in `scan_types`."""

from typing import TypeAlias

import numpy as np

# (D, H, W), or a file's own three axes: int16 or float32 Hounsfield units.
HuVolume: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.int16 | np.float32]]
# (4, 4) float64: the index of a voxel to RAS+ mm.
Affine: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float64]]
