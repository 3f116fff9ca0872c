"""Convert the stored numbers of a DICOM series to Hounsfield units: rescale once, set padding to air, never wrap."""

from itertools import groupby
from pathlib import Path

import numpy as np

from .ct_arrays import HuVolume
from .ct_checks import BRIGHT_BORDER, check_memory, has_bright_border, read_error, rescale_to_hu, spatial_shape
from .dicom_pixels import DEFLATED, read_frames, stored_values
from .dicom_slices import DicomSlice

PADDING_HU = -1000  # air
ORDINARY_HU = 3071.0  # the highest of 12 bits: a padding value up to this may also be that of a tissue or a metal
MIN_PADDED = 16  # voxels at the border; fewer may be tissue with the same value
SHIFT = 16  # 12 bits stored in the upper part of 16
SHIFTED_HU = 8000.0  # water stored this way becomes 16,000
JUMP_HU = 25.0  # of the median over tissue, which changes little from slice to slice
TISSUE_HU = -500.0


def series_hu(slices: list[DicomSlice], folder: Path) -> tuple[HuVolume, tuple[str, ...]]:
    """Decode slices, given in order, to a `(slice, row, column)` array of HU; also return warnings about them.

    The array is int16 if every rescale is whole and every value fits, else float32.

    Raises:
        CTReadError: if a slice cannot be decoded, or the values contradict the header.
    """
    rows, columns = slices[0].shape
    spatial_shape((columns, rows, len(slices)), folder)
    whole = all(float(number or 0).is_integer() for item in slices for number in (item.slope, item.intercept))
    dtype = np.dtype(np.int16 if whole else np.float32)
    inflated = 2 * any(item.pixels.encoding.syntax == DEFLATED and item.pixels.frames > 1 for item in slices)
    check_memory((columns, rows, len(slices)), dtype.itemsize + inflated, folder)
    try:
        return _decode(slices, folder, np.empty((len(slices), rows, columns), dtype))
    except MemoryError:
        raise read_error(folder, "the memory does not suffice for it", "use a machine with more memory") from None


def _decode(slices: list[DicomSlice], folder: Path, hu: HuVolume) -> tuple[HuVolume, tuple[str, ...]]:
    low_bits, notes = 0, set()
    by_file = sorted(range(len(slices)), key=lambda index: (slices[index].path, slices[index].frame))
    for path, group in groupby(by_file, key=lambda index: slices[index].path):
        places = list(group)
        form = slices[places[0]].pixels
        frames = read_frames(path, form, [slices[place].frame for place in places])
        for place, bits in zip(places, frames, strict=True):
            low_bits |= int(np.bitwise_or.reduce(bits, axis=None)) % SHIFT
            values, padding = stored_values(bits, form, path)
            picture = _slice_hu(values, padding, slices[place])
            if picture.dtype == np.float32 and hu.dtype == np.int16:  # metal on an extended scale
                check_memory(hu.shape[::-1], 4, folder)
                hu = hu.astype(np.float32)
            hu[place] = picture
        if form.high_bit >= form.stored:
            notes.add("the numbers are stored left-justified, as HighBit says")
    steps = [SHIFT * (item.slope or 1.0) for item in slices]
    if not low_bits and min(steps) >= SHIFT and float(hu.max()) > SHIFTED_HU and "left" not in "".join(notes):
        cause = "every stored number is a multiple of 16: 12 bits are stored left-justified, which the header denies"
        raise read_error(folder, cause, "export the series again")
    if has_bright_border(hu):
        raise read_error(folder, BRIGHT_BORDER, "export the series again with its PixelPaddingValue")
    _check_blank(hu, slices)
    _check_rescales(hu, slices, folder)
    return hu, tuple(sorted(notes))


def _check_blank(hu: HuVolume, slices: list[DicomSlice]) -> None:
    """Refuse a slice of a single value between slices with a picture: its pixels were lost."""
    blank = np.array([picture.min() == picture.max() for picture in hu])
    shown = np.flatnonzero(~blank)
    lost = np.flatnonzero(blank[shown[0] : shown[-1]]) + shown[0] if shown.size else shown
    if lost.size:
        cause = "every pixel has one value, and slices on both sides show a body: the pixels were lost"
        raise read_error(slices[lost[0]].path, cause, "copy or export the file again")


def _slice_hu(values: np.ndarray, padding: np.ndarray | None, item: DicomSlice) -> np.ndarray:
    slope = 1.0 if item.slope is None else item.slope
    intercept = item.intercept or 0.0
    if padding is None or item.pixels.padding is None or not padding.any():
        return rescale_to_hu(values, slope, intercept)
    ends = [slope * end + intercept for end in item.pixels.padding]
    if max(ends) <= PADDING_HU:  # below air, which is usual, and kept in NIfTI files too
        return rescale_to_hu(values, slope, intercept)
    if min(ends) <= ORDINARY_HU:
        padding = _at_border(padding)
    # The padding is set to a value that the picture has, so that it does not widen the range of values.
    values = np.where(padding, values[~padding].min() if not padding.all() else 0, values)
    hu = rescale_to_hu(values, slope, intercept)
    hu = hu if hu.flags.writeable else hu.copy()
    hu[padding] = PADDING_HU
    return hu


def _at_border(padding: np.ndarray) -> np.ndarray:
    """Keep only padding that reaches the picture's border in a straight line, outside a round field of view."""
    kept = np.zeros_like(padding)
    for axis in (0, 1):
        kept |= np.logical_and.accumulate(padding, axis=axis)
        kept |= np.flip(np.logical_and.accumulate(np.flip(padding, axis), axis=axis), axis)
    return kept if np.count_nonzero(kept) >= MIN_PADDED else np.zeros_like(padding)


def _check_rescales(hu: HuVolume, slices: list[DicomSlice], folder: Path) -> None:
    """Refuse neighbouring slices with different rescales if their pictures show that the rescale should be the same."""
    for place, (one, other) in enumerate(zip(slices, slices[1:], strict=False)):
        if (one.slope, one.intercept) == (other.slope, other.intercept) or not one.slope or not other.slope:
            continue
        here, there = hu[place].astype(np.float32), hu[place + 1].astype(np.float32)
        alike = (there - (other.intercept or 0.0)) / other.slope * one.slope + (one.intercept or 0.0)
        # Air and padding may be cut at the lowest number, so tissue is compared if there is any.
        tissue = (here > TISSUE_HU) & ((there > TISSUE_HU) | (alike > TISSUE_HU))
        tissue = tissue if tissue.mean() > 0.02 else np.ones_like(tissue)
        jump, without = (abs(float(np.median((picture - here)[tissue]))) for picture in (there, alike))
        if jump > without + JUMP_HU:
            between = f"{one.path.name} and {other.path.name}"
            cause = f"the values jump by {jump:.0f} HU between {between}, where the rescale changes"
            raise read_error(folder, cause, "export the series again with one rescale")
