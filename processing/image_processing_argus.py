"""Preprocess a CT, on disk or in memory, to the model's `pixel_values`: `ArgusImageProcessor`."""

import difflib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ImagesKwargs

from .ct_arrays import HuVolume
from .ct_volume import CTVolume
from .meta_tensor import is_meta_tensor, volume_of_meta_tensor
from .normalization import CROPS, NORMALIZATIONS, Box, centred
from .read_ct import read_ct, read_ct_row
from .read_nifti import Follower, read_nifti_bytes
from .resampling import (
    RESAMPLINGS,
    GridOperators,
    PlaneFiller,
    fill_grid,
    grid_operators,
    one_thread,
    planes_in,
    scale_hu,
)
from .scan_types import GridVolume, PixelValues
from .sent_scan import SENT_SCAN, array_of, path_or_bytes

# Settings that decide the pixels of a scan; saved with the model.
SETTINGS = ("image_size", "hu_window", "target_spacing_mm", "resampling", "normalization", "crop", "value_range")
# Options that transformers may pass and that do not change the pixels.
_WITHOUT_EFFECT = ("disable_grouping", "data_format", "input_data_format", "image_seq_length")
# Entries of a saved configuration beside the settings.
_SAVED_BESIDE = ("image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "_name_or_path")


@dataclass
class ScanToGrid:
    """Everything that is needed to make a model's grid from one scan.

    Attributes:
        hu: the part of the scan that is resampled, `(D, H, W)`.
        box: where that part is in the scan.
        window: lowest and highest HU that are kept.
        operators: the resampling from those voxels to the grid.
    """

    hu: HuVolume
    box: Box
    window: tuple[float, float]
    operators: GridOperators


class ArgusImagesKwargs(ImagesKwargs, total=False):
    """Options of a call for its images, beside those of transformers."""

    # transformers checks types strictly: it would refuse whole numbers of millimetres, or a list.
    spacing_mm: Any


class ArgusImageProcessor(BaseImageProcessor):
    """Clip to a HU window, resample to the model's grid, scale to [0, 1] (Argus paper, section 3.2).

    It is saved with the model, so that inference uses the same preprocessing as training.

    Args:
        image_size: grid as (depth, height, width); normal resolution is (64, 256, 256), high is (256, 512, 512).
        hu_window: lowest and highest HU kept.
        target_spacing_mm: spacing of the paper's first step as (depth, height, width): 4 x 1 x 1 mm.
        resampling: "paper" resamples to `target_spacing_mm` and then to the grid; "direct" straight to the grid;
            "crop_or_pad" to `target_spacing_mm`, and then crops or pads to the grid.
        normalization: "hu_window", or "min_max" for the scan's own lowest and highest HU.
        crop: "none", "foreground" for the box around all voxels above the scan's lowest HU, or "body" for the box
            around the body, `normalization.body_box`.
        value_range: values of the lowest and the highest HU after scaling.

    The last three are for the baselines: their defaults are those of Argus.

    Raises:
        ValueError: if a setting has an invalid value.
    """

    model_input_names = ["pixel_values"]
    valid_kwargs = ArgusImagesKwargs

    def __init__(
        self,
        image_size: Sequence[int] = (64, 256, 256),
        hu_window: Sequence[float] = (-1000.0, 1000.0),
        target_spacing_mm: Sequence[float] = (4.0, 1.0, 1.0),
        resampling: str = "paper",
        normalization: str = "hu_window",
        crop: str = "none",
        value_range: Sequence[float] = (0.0, 1.0),
        **kwargs,
    ):
        known = (*SETTINGS, *_SAVED_BESIDE, *ImagesKwargs.__annotations__)
        refuse_unknown("setting", [name for name in kwargs if not name.startswith("_")], known)
        super().__init__(**kwargs)
        if len(image_size) != 3 or len(target_spacing_mm) != 3 or min(*image_size, *target_spacing_mm) <= 0:
            raise ValueError(
                f"image_size and target_spacing_mm are three positive numbers (depth, height, width), "
                f"got {image_size} and {target_spacing_mm}"
            )
        for name, pair in (("hu_window", hu_window), ("value_range", value_range)):
            if len(pair) != 2 or not pair[0] < pair[1]:
                raise ValueError(f"{name} must rise from low to high, got {pair}")
        check_known("resampling", resampling, RESAMPLINGS)
        check_known("normalization", normalization, NORMALIZATIONS)
        check_known("crop", crop, CROPS)
        self.image_size = [int(side) for side in image_size]
        self.hu_window = [float(edge) for edge in hu_window]
        self.target_spacing_mm = [float(side) for side in target_spacing_mm]
        self.resampling = resampling
        self.normalization = normalization
        self.crop = crop
        self.value_range = [float(edge) for edge in value_range]

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs):
        """Make an image processor from saved settings and those of a call of `from_pretrained`; both are checked.

        Raises:
            ValueError: if a setting has an invalid value, or an option's name is nearly that of a setting.
        """
        for name in kwargs:
            # Options of models and tokenizers arrive here too, so only names close to a setting's are surely wrong.
            if name not in SETTINGS and difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.8):
                refuse_unknown("setting", [name], SETTINGS)
        changed = {name: kwargs.pop(name) for name in SETTINGS if name in kwargs}
        return super().from_dict(image_processor_dict | changed, **kwargs)

    def fetch_images(self, images: Any) -> Any:
        """Return images unchanged: a path is a CT to read, never a picture for PIL."""
        return images

    def load_volume(
        self, image: Any, spacing_mm: tuple[float, float, float] | None = None, follow: Follower | None = None
    ) -> CTVolume:
        """Make a `CTVolume` from a path, a nibabel image, a `datasets.Nifti` row, a MetaTensor of MONAI or an array.

        Args:
            image: the scan; an array or plain tensor is canonical (D, H, W) Hounsfield units. A text may be a path, a
                `file://` or `data:` address, or a NIfTI file in base64.
            spacing_mm: spacing of an array; every other kind of image has its own.
            follow: called while a NIfTI file is read, see `read_nifti`.

        Raises:
            CTReadError: if the scan cannot be read as a CT.
            ValueError: if an array comes without spacing, or the kind of image is unknown.
        """
        if isinstance(image, str):
            image = path_or_bytes(image)
        if isinstance(image, dict) and (image.get("bytes") is not None or image.get("path")):
            return read_ct_row(image, follow)
        if isinstance(image, bytes | bytearray | memoryview):
            return read_nifti_bytes(bytes(image), SENT_SCAN, follow)
        if isinstance(image, str | os.PathLike):
            return read_ct(image, follow)
        if hasattr(image, "hu") and hasattr(image, "spacing_mm"):
            return image
        if hasattr(image, "get_data_dtype") and hasattr(image, "affine"):
            return CTVolume.from_nibabel(image)
        if is_meta_tensor(image):
            return volume_of_meta_tensor(image)
        if isinstance(image, torch.Tensor):
            image = array_of(image)
        if isinstance(image, np.ndarray):
            if spacing_mm is None:
                raise ValueError("an array holds no spacing: give spacing_mm=(dz, dy, dx), or CTVolume.from_array")
            return CTVolume.from_array(image, spacing_mm)
        raise ValueError(
            f"an image is a path, a CTVolume, a nibabel image or a (D, H, W) array, got {type(image).__name__}"
        )

    def to_grid(self, volume: CTVolume) -> ScanToGrid:
        """Return the cropped scan, the HU window and the operators that make the grid of a scan."""
        box = CROPS[self.crop](volume.hu)
        hu = volume.hu[box]
        window = NORMALIZATIONS[self.normalization](volume.hu, (self.hu_window[0], self.hu_window[1]))
        operators = grid_operators(
            hu.shape, volume.spacing_mm, self.image_size, self.target_spacing_mm, self.resampling
        )
        return ScanToGrid(hu, box, window, operators)

    def scale(self, hu: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
        """Scale clipped HU to `value_range` in place."""
        return scale_hu(hu, window, (self.value_range[0], self.value_range[1]))

    def preprocess_image(self, image: Any, spacing_mm: tuple[float, float, float] | None, out: GridVolume) -> None:
        """Preprocess one image of the kinds that `load_volume` takes into `out` `(D, H, W)`, in `value_range`."""

        def start(scan: ScanToGrid) -> PlaneFiller:
            # The filler does not hold the scan: its memory is free before the grid, which is larger, is written.
            operators, window = scan.operators, scan.window
            filled = centred(out, operators.size, fill=self.value_range[0])
            return PlaneFiller(
                operators, window, planes_in(filled, operators.num_planes), lambda hu: self.scale(hu, window)
            )

        fill_grid(out, self.fill_planes(image, spacing_mm, start).operators.to_grid)

    @one_thread()
    def fill_planes(
        self,
        image: Any,
        spacing_mm: tuple[float, float, float] | None,
        start: Callable[[ScanToGrid], PlaneFiller],
    ) -> PlaneFiller:
        """Read one image and resample it to its planes; where the settings allow it, while it is being read.

        Args:
            image: of the kinds that `load_volume` takes.
            spacing_mm: spacing of an array.
            start: makes the filler of the planes; called once, when the scan's geometry is known.
        """
        if self.normalization != "hu_window" or self.crop != "none":  # they depend on all voxels
            scan = self.to_grid(self.load_volume(image, spacing_mm))
            filler = start(scan)
            filler.add(scan.hu, range(scan.hu.shape[0]))
            return filler
        fillers: list[PlaneFiller] = []

        def follow(volume: CTVolume, arrived: range) -> None:
            if not fillers:
                fillers.append(start(self.to_grid(volume)))
            fillers[0].add(volume.hu, arrived)

        volume = self.load_volume(image, spacing_mm, follow)
        follow(volume, range(volume.hu.shape[0]))
        return fillers[0]

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """Read and preprocess one scan or several, as `preprocess` does."""
        return self.preprocess(images, *args, **kwargs)

    def preprocess(
        self,
        images: Any,
        return_tensors: str | None = "pt",
        spacing_mm: tuple[float, float, float] | None = None,
        device: str | torch.device | None = None,
        **kwargs,
    ) -> BatchFeature:
        """Read and preprocess one scan or several.

        Args:
            images: one image of the kinds that `load_volume` takes, or (nested) lists of them.
            return_tensors: "pt" or "np"; None is taken as "pt".
            spacing_mm: spacing of the images given as arrays.
            device: device of `pixel_values`.
            **kwargs: refused, so that no setting differs from the model's training, except options of transformers that
                have no effect here.

        Returns:
            `pixel_values` `(B, 1, D, H, W)` float32 in `value_range`.

        Raises:
            CTReadError: if a scan cannot be read as a CT.
            ValueError: if an image's kind or an option is unknown, or a setting is passed.
        """
        check_options(kwargs)
        scans = flatten_images(images)
        # Allocated by numpy, which asks for large pages: a grid of millions of voxels is written faster to them.
        pixel_values: PixelValues = torch.from_numpy(np.empty((len(scans), 1, *self.image_size), np.float32))
        for image, out in zip(scans, pixel_values, strict=True):
            self.preprocess_image(image, spacing_mm, out[0])
        return BatchFeature({"pixel_values": pixel_values.to(device)}, tensor_type=return_tensors or "pt")


def check_known(setting: str, name: str, known: dict[str, Any]) -> None:
    """Check that a setting is in its table.

    Raises:
        ValueError: naming the known ones.
    """
    if name not in known:
        raise ValueError(f"unknown {setting} {name!r}; known: {', '.join(known)}")


def refuse_unknown(kind: str, names: Collection[str], known: Collection[str]) -> None:
    """Check that all names are known; the error suggests the nearest known one.

    Raises:
        ValueError: naming them.
    """
    unknown = sorted(set(names) - set(known))
    if unknown:
        close = difflib.get_close_matches(unknown[0], list(known), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"no such {kind}: {', '.join(unknown)}{hint}")


def check_options(options: dict[str, Any]) -> None:
    """Check a call's options: none may be unknown or change the preprocessing that the model was trained with.

    Raises:
        ValueError: naming them.
    """
    trained = {*SETTINGS, *ImagesKwargs.__annotations__} - {"return_tensors", "device", *_WITHOUT_EFFECT}
    changed = [name for name in options if name in trained and options[name] is not None]
    if changed:
        raise ValueError(f"preprocessing is part of the model: set {', '.join(changed)} when it is created")
    known = (*SETTINGS, *ArgusImagesKwargs.__annotations__)
    refuse_unknown("option of images", list(options), known)


def list_of_images(images: Any) -> list | None:
    """Return the images of a sequence (a list, a data set's column, an array of objects), None for one image."""
    if isinstance(images, np.ndarray) and images.dtype == object:
        return images.tolist()
    if isinstance(images, Sequence) and not isinstance(images, str | bytes | bytearray | memoryview):
        return list(images)
    return None


def flatten_images(images: Any) -> list:
    """Return a flat list from one image, a list of images or nested lists of images."""
    items = list_of_images(images)
    return [images] if items is None else [scan for item in items for scan in flatten_images(item)]


ArgusImageProcessor.register_for_auto_class("AutoImageProcessor")
