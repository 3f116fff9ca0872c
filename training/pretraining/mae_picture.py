"""Draw the picture of masked reconstruction: the masked input, the reconstruction and the true volume."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from argus_training.pretraining.curves import save_figure


def save_reconstructions(volumes: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Draw one column of slices for each kind of volume and, for each scan, a transverse and a coronal slice.

    Args:
        volumes: name of a column -> `(scans, D, H, W)` in [0, 1]; hidden voxels are NaN.
        path: the PNG to write.
    """
    columns = [(name, plane) for plane in ("transverse", "coronal") for name in volumes]
    num_scans = len(next(iter(volumes.values())))
    figure = Figure(figsize=(2.2 * len(columns), 2.3 * num_scans), layout="constrained")
    axes = figure.subplots(num_scans, len(columns), squeeze=False)
    for column, (name, plane) in enumerate(columns):
        axes[0][column].set_title(f"{name}\n{plane}", fontsize=9)
        for scan in range(num_scans):
            axis = axes[scan][column]
            axis.imshow(middle_slice(volumes[name][scan], plane), cmap=_grey(), vmin=0, vmax=0.7, aspect="auto")
            axis.set_axis_off()
    save_figure(figure, path)


def middle_slice(volume: NDArray[np.float32], plane: str) -> NDArray[np.float32]:
    """Return the middle slice of a `(D, H, W)` volume; in a coronal slice the head is up."""
    depth, height, _ = volume.shape
    return volume[depth // 2] if plane == "transverse" else volume[::-1, height // 2]


def _grey():
    from matplotlib import colormaps

    return colormaps["gray"].with_extremes(bad="#2f5d8a")
