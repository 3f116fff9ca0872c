"""`ArgusImageProcessor`: from a CT on disk, or in memory, to the model's `pixel_values`."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ImagesKwargs

from .ct_volume import CTVolume
from .read_ct import read_ct
from .resampling import RESAMPLINGS, GridOperators, grid_operators, resample_into, resample_planes, scale_hu


class ArgusImagesKwargs(ImagesKwargs, total=False):
    """What a call may say of its images, beside what transformers knows."""

    spacing_mm: tuple[float, float, float] | None


class ArgusImageProcessor(BaseImageProcessor):
    """Clip to a HU window, resample to the model's grid, scale to [0, 1] (Argus paper, section 3.2).

    It is saved with the model: what the model was trained with is what inference applies.

    Args:
        image_size: grid as (depth, height, width); normal resolution is (64, 256, 256), high is (256, 512, 512).
        hu_window: lowest and highest HU kept.
        target_spacing_mm: spacing of the paper's first step as (depth, height, width): 4 x 1 x 1 mm.
        resampling: "paper" goes by `target_spacing_mm` and then to the grid; "direct" straight to the grid.

    Raises:
        ValueError: if a setting is not of its form.
    """

    model_input_names = ["pixel_values"]
    valid_kwargs = ArgusImagesKwargs

    def __init__(
        self,
        image_size: Sequence[int] = (64, 256, 256),
        hu_window: Sequence[float] = (-1000.0, 1000.0),
        target_spacing_mm: Sequence[float] = (4.0, 1.0, 1.0),
        resampling: str = "paper",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if len(image_size) != 3 or len(target_spacing_mm) != 3 or min(*image_size, *target_spacing_mm) <= 0:
            raise ValueError(
                f"image_size and target_spacing_mm are three positive numbers (depth, height, width), "
                f"got {image_size} and {target_spacing_mm}"
            )
        if len(hu_window) != 2 or not hu_window[0] < hu_window[1]:
            raise ValueError(f"hu_window must rise from low to high, got {hu_window}")
        if resampling not in RESAMPLINGS:
            raise ValueError(f"unknown resampling {resampling!r}; known: {', '.join(RESAMPLINGS)}")
        self.image_size = [int(side) for side in image_size]
        self.hu_window = [float(edge) for edge in hu_window]
        self.target_spacing_mm = [float(side) for side in target_spacing_mm]
        self.resampling = resampling

    def fetch_images(self, images: Any) -> Any:
        """Leave images as they are: a path is a CT to read, never a picture for PIL."""
        return images

    def load_volume(self, image: Any, spacing_mm: tuple[float, float, float] | None = None) -> CTVolume:
        """Make a `CTVolume` of a path, a nibabel image, a `datasets.Nifti` row (decoded or not) or an array.

        Args:
            image: the scan; an array is canonical (D, H, W) Hounsfield units.
            spacing_mm: spacing of an array; every other kind of image holds its own.

        Raises:
            CTReadError: if the scan cannot be read as a CT.
            ValueError: if an array comes without spacing, or the kind of image is unknown.
        """
        if isinstance(image, dict) and image.get("path"):
            image = image["path"]
        if isinstance(image, str | os.PathLike):
            return read_ct(image)
        if hasattr(image, "hu") and hasattr(image, "spacing_mm"):
            return image
        if hasattr(image, "get_data_dtype") and hasattr(image, "affine"):
            return CTVolume.from_nibabel(image)
        if isinstance(image, torch.Tensor):
            image = image.numpy()
        if isinstance(image, np.ndarray):
            if spacing_mm is None:
                raise ValueError("an array holds no spacing: give spacing_mm=(dz, dy, dx), or CTVolume.from_array")
            return CTVolume.from_array(image, spacing_mm)
        raise ValueError(
            f"an image is a path, a CTVolume, a nibabel image or a (D, H, W) array, got {type(image).__name__}"
        )

    def operators_for(self, volume: CTVolume) -> GridOperators:
        """Make the operators from a scan's voxels to the grid."""
        return grid_operators(
            volume.hu.shape, volume.spacing_mm, self.image_size, self.target_spacing_mm, self.resampling
        )

    def preprocess_image(self, image: Any, spacing_mm: tuple[float, float, float] | None, out: torch.Tensor) -> None:
        """Read one image of the kinds that `load_volume` takes and fill `out` `(D, H, W)` with [0, 1]."""
        window = (self.hu_window[0], self.hu_window[1])
        scan = [self.load_volume(image, spacing_mm)]
        operators = self.operators_for(scan[0])
        # `pop`: a scan read from disk is let go as soon as its planes are made.
        resample_into(out, lambda planes: resample_planes(scan.pop().hu, operators, window, planes), operators)
        scale_hu(out, window)

    def preprocess(
        self,
        images: Any,
        return_tensors: str | None = "pt",
        spacing_mm: tuple[float, float, float] | None = None,
        **kwargs,
    ) -> BatchFeature:
        """Read and preprocess one scan or several.

        Args:
            images: one image of the kinds that `load_volume` takes, or (nested) lists of them.
            return_tensors: "pt" or "np"; None is taken as "pt".
            spacing_mm: spacing of the images given as arrays.
            **kwargs: refused, so that no setting is changed away from what the model was trained with.

        Returns:
            `pixel_values` `(B, 1, D, H, W)` float32 in [0, 1].

        Raises:
            CTReadError: if a scan cannot be read as a CT.
            ValueError: if an image's kind is unknown or a setting is passed.
        """
        changed = [name for name in ("image_size", "hu_window", "target_spacing_mm", "resampling") if name in kwargs]
        if changed:
            raise ValueError(f"preprocessing is part of the model: set {', '.join(changed)} when it is created")
        scans = flatten_images(images)
        pixel_values = torch.empty(len(scans), 1, *self.image_size)
        for image, out in zip(scans, pixel_values, strict=True):
            self.preprocess_image(image, spacing_mm, out[0])
        return BatchFeature({"pixel_values": pixel_values}, tensor_type=return_tensors or "pt")


def flatten_images(images: Any) -> list:
    """Make a flat list of one image, a list of images or nested lists of images."""
    if isinstance(images, list | tuple):
        return [scan for item in images for scan in flatten_images(item)]
    return [images]


ArgusImageProcessor.register_for_auto_class("AutoImageProcessor")
