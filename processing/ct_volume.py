"""Hold one CT scan in Hounsfield units, always in the same orientation: `CTVolume`.

Axes are (D, H, W): D rises toward the patient's Superior, H toward Posterior, W toward the patient's Left.
So a slice `hu[d]` is the radiological picture: row 0 is anterior, column 0 is the patient's right.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np

from .ct_arrays import Affine, HuVolume
from .ct_checks import (
    BRIGHT_BORDER,
    CTReadError,
    check_affine,
    check_dtype,
    check_hu,
    check_memory,
    has_bright_border,
    is_usable,
    read_error,
    rescale_to_hu,
    spatial_shape,
)

__all__ = ["CANONICAL_AXES", "CTReadError", "CTVolume", "affine_with_header", "is_identity", "nifti_affine"]

CANONICAL_AXES = ("S", "P", "L")  # directions in which D, H and W rise
FORM_TOLERANCE_MM = 1.0  # sform and qform may differ by this much without a warning
PIXDIM_TOLERANCE = 0.02  # of the sform's columns
QUATERNION_LIMIT = 1.01  # squared length of its imaginary part: values above 1 by rounding are set to 1
LENGTH_UNITS = {1: (1000.0, "metres"), 3: (0.001, "micrometres")}  # NIfTI's codes
IDENTITY_MEANS = "which often stands for an unknown spacing and orientation"
CONVERT_AGAIN = "convert the scan again from its DICOM series with both forms set"


@dataclass(frozen=True)
class CTVolume:
    """A CT scan in canonical orientation.

    Attributes:
        hu: `(D, H, W)` int16 or float32 Hounsfield units; may be a strided view, because turning copies nothing.
        affine: 4x4 float64, array index `(d, h, w, 1)` to RAS+ mm (nibabel's world).
        original_orientation: directions of the file's own axes, as in `nibabel.aff2axcodes`: "RAS", "LPS", ...
            For DICOM the axes are column index, row index, slice in the order of the table.
        warnings: remarks for the user of the scan; they quote nothing from a patient's header.
    """

    hu: HuVolume
    affine: Affine
    original_orientation: str
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype not in (np.int16, np.float32):
            raise ValueError(f"hu must be a (D, H, W) int16 or float32 array, got {self.hu.shape} {self.hu.dtype}")
        if self.affine.shape != (4, 4) or axis_codes(self.affine) != CANONICAL_AXES:
            raise ValueError(f"affine must be 4x4 with axes {CANONICAL_AXES}; use from_array or from_nibabel")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return the distance between voxel centres along D, H and W in mm."""
        dz, dy, dx = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(dz), float(dy), float(dx)

    @classmethod
    def from_array(cls, hu: np.ndarray, spacing_mm: tuple[float, float, float], name: str = "array") -> "CTVolume":
        """Make a volume from an array that must be canonical (D, H, W) Hounsfield units.

        Args:
            hu: `(D, H, W)` numbers; D rises to Superior, H to Posterior, W to Left.
            spacing_mm: `(dz, dy, dx)`.
            name: name of the scan in errors.

        Raises:
            CTReadError: if shape, spacing or values cannot be those of a CT scan.
        """
        spacing = np.asarray(spacing_mm, dtype=np.float64)
        if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
            raise read_error(name, f"spacing_mm is {spacing_mm}", "give three positive numbers (dz, dy, dx) in mm")
        affine = np.zeros((4, 4))
        affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [spacing[0], -spacing[1], -spacing[2], 1.0]
        data = np.asarray(hu)
        check_dtype(data.dtype, name)
        data = data.reshape(spatial_shape(data.shape, name))
        return cls.from_file_axes(rescale_to_hu(data), affine, name)

    @classmethod
    def from_nibabel(cls, image: Any, name: str = "image") -> "CTVolume":
        """Make a volume from a nibabel spatial image, as `datasets.Nifti` decodes to; its scaling is applied once.

        Raises:
            CTReadError: if it has no usable affine, or shape or values cannot be those of a CT scan.
        """
        shape = spatial_shape(image.shape, name)
        affine, warnings = _image_affine(image, name)
        check_affine(affine, shape, name)
        check_dtype(np.dtype(image.get_data_dtype()), name)
        check_memory(shape, 4, name)
        raw, slope, intercept = _stored_numbers(image, name)
        check_dtype(raw.dtype, name)
        if not np.isfinite([slope, intercept]).all():
            raise read_error(name, "slope or intercept is not a finite number", CONVERT_AGAIN)
        hu = rescale_to_hu(raw.reshape(shape, order="F"), slope, intercept)
        return cls.from_file_axes(hu, affine, name, warnings)

    @classmethod
    def from_file_axes(
        cls,
        hu: HuVolume,
        affine: Affine,
        name: object,
        warnings: tuple[str, ...] = (),
        ends: tuple[float, float] | None = None,
    ) -> "CTVolume":
        """Turn a 3D array in a file's own axes to canonical orientation, by views only.

        Args:
            hu: int16 or float32 Hounsfield units in any axis order.
            affine: 4x4, maps an index of `hu` to RAS+ mm.
            name: name of the scan in errors.
            warnings: warnings that the reader found already.
            ends: the lowest and the highest value, if the reader has found them.

        Raises:
            CTReadError: if affine or values cannot be those of a CT scan.
        """
        warnings = (*warnings, *check_affine(affine, hu.shape, name))
        check_hu(hu, name, ends)
        volume = cls.turned(hu, affine, warnings)
        if has_bright_border(volume.hu):
            raise read_error(name, BRIGHT_BORDER, "fill what lies outside the scan with air (-1000 or -1024)")
        return volume

    @classmethod
    def turned(cls, hu: HuVolume, affine: Affine, warnings: tuple[str, ...] = ()) -> "CTVolume":
        """Turn as `from_file_axes` does, without a look at the values: they may not have been read yet."""
        turn = nib.orientations.ornt_transform(orientation_of(affine), nib.orientations.axcodes2ornt(CANONICAL_AXES))
        turned = nib.orientations.apply_orientation(hu, turn)
        turned_affine = np.asarray(affine, dtype=np.float64) @ nib.orientations.inv_ornt_aff(turn, hu.shape)
        return cls(turned, turned_affine, "".join(axis_codes(affine)), warnings)

    def arrived(self, num_voxels: int) -> range:
        """Return the slices that are whole when only the first `num_voxels`, as they lie in memory, have been read."""
        depth, step = self.hu.shape[0], self.hu.strides[0]
        if num_voxels < self.hu.size and abs(step) < max(map(abs, self.hu.strides)):
            return range(0)  # each slice is spread over the whole file
        num_slices = num_voxels * depth // self.hu.size
        return range(num_slices) if step > 0 else range(depth - num_slices, depth)


def orientation_of(affine: np.ndarray) -> np.ndarray:
    """Return nibabel's orientation of an affine's axes, `(3, 2)`; a scan asks for the same few again and again."""
    return _orientation_of(np.asarray(affine, dtype=np.float64).tobytes())


@lru_cache(maxsize=64)
def _orientation_of(numbers: bytes) -> np.ndarray:
    orientation = nib.io_orientation(np.frombuffer(numbers).reshape(4, 4))
    orientation.flags.writeable = False  # it is shared by all who ask
    return orientation


def axis_codes(affine: np.ndarray) -> tuple[str, ...]:
    """Return the directions in which an affine's axes rise, as `nibabel.aff2axcodes` does."""
    return nib.orientations.ornt2axcodes(orientation_of(affine))


@np.errstate(all="ignore")  # values that are not finite are refused below, without numpy's warnings
def nifti_affine(header: nib.Nifti1Header, name: object) -> tuple[Affine, tuple[str, ...]]:
    """Return a NIfTI header's affine in mm (sform, else qform) and warnings about it.

    Raises:
        CTReadError: if neither form is set, one that is set is not an affine, the two disagree on left, front or head,
            the sform contradicts the voxel sizes, or the affine is the identity that libraries write by default.
    """
    affine, warnings = _stated_affine(header, name)
    if is_identity(affine, header.get_data_shape()):
        cause = f"the affine is the identity, {IDENTITY_MEANS}"
        raise read_error(name, cause, "it is never guessed: " + CONVERT_AGAIN)
    return affine, warnings


def _stated_affine(header: nib.Nifti1Header, name: object) -> tuple[Affine, tuple[str, ...]]:
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        cause = "the orientation is missing (sform_code and qform_code are 0)"
        raise read_error(name, cause, "it is never guessed: " + CONVERT_AGAIN)
    unit, warnings = _length_unit(header, name)
    qform = _qform(header, name) if header["qform_code"] > 0 else None
    if header["sform_code"] <= 0:
        if (header["pixdim"][1:4] < 0).any():
            raise read_error(name, "pixdim is negative, and no sform says what is meant", CONVERT_AGAIN)
        affine = qform
    else:
        affine = header.get_sform()
        _check_pixdim(affine, header, name)
        if qform is not None:
            warnings += _compare_forms(affine, qform, header.get_data_shape()[:3], unit, name)
    return affine * np.array([[unit], [unit], [unit], [1.0]]), warnings


def _length_unit(header: nib.Nifti1Header, name: object) -> tuple[float, tuple[str, ...]]:
    """Return the header's unit of length in mm; a header without a unit counts as mm."""
    code = int(header["xyzt_units"]) & 7
    if code in (0, 2):
        return 1.0, ()
    if code not in LENGTH_UNITS:
        raise read_error(name, "the unit of length is not one that NIfTI knows", CONVERT_AGAIN)
    unit, word = LENGTH_UNITS[code]
    return unit, (f"the header's lengths are in {word}; they were taken as such",)


def _qform(header: nib.Nifti1Header, name: object) -> Affine:
    """Compute the qform by the standard: any pixdim[0] that is not negative means 1; rounding errors are corrected."""
    quaternion = np.array([header[f"quatern_{axis}"] for axis in "bcd"], dtype=np.float64)
    offset = np.array([header[f"qoffset_{axis}"] for axis in "xyz"], dtype=np.float64)
    pixdim = np.asarray(header["pixdim"][:4], dtype=np.float64)
    square = float(quaternion @ quaternion)
    if not is_usable(np.array([square, *offset, *pixdim])) or square > QUATERNION_LIMIT or not pixdim[1:].all():
        raise read_error(name, "the qform is not a valid rotation", CONVERT_AGAIN)
    real = np.sqrt(max(0.0, 1.0 - square))
    rotation = nib.quaternions.quat2mat([real, *(quaternion / max(1.0, np.sqrt(square)))])
    steps = np.abs(pixdim[1:]) * (1, 1, -1 if pixdim[0] < 0 else 1)
    return nib.affines.from_matvec(rotation * steps, offset)


def _check_pixdim(sform: Affine, header: nib.Nifti1Header, name: object) -> None:
    """Check that the sform's columns are as long as the voxels; voxel sizes that are all 1 or all 0 were never set."""
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    if not np.isfinite(pixdim).all():
        raise read_error(name, "pixdim holds NaN or an infinite number", CONVERT_AGAIN)
    if not is_usable(sform) or (pixdim == 1).all() or (pixdim == 0).all():
        return
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    # Sheared columns (gantry tilt) are longer than the distance between planes: files use either as voxel size.
    heights = abs(np.linalg.det(sform[:3, :3])) / np.linalg.norm(np.cross(*_others(sform)), axis=1)
    low, high = np.fmin(lengths, heights) * (1 - PIXDIM_TOLERANCE), lengths * (1 + PIXDIM_TOLERANCE)
    if ((pixdim < low) | (pixdim > high)).any() and lengths.all():
        ours, theirs = (" x ".join(f"{side:.4g}" for side in sides) for sides in (lengths, pixdim))
        cause = f"the sform's voxels measure {ours} and pixdim's {theirs}: the affine is not the scan's own"
        raise read_error(name, cause, CONVERT_AGAIN)


def _others(sform: Affine) -> tuple[np.ndarray, np.ndarray]:
    columns = sform[:3, :3].T
    return columns[[1, 2, 0]], columns[[2, 0, 1]]


def _compare_forms(sform: Affine, qform: Affine, shape: tuple[int, ...], unit: float, name: object) -> tuple[str, ...]:
    """Check that sform and qform name the same sides, and warn if they place the volume differently."""
    if not is_usable(sform):
        return ()  # the check of the affine refuses it
    codes = axis_codes(sform)
    if None not in codes and codes != axis_codes(qform):
        here, there = ("".join(str(code) for code in axis_codes(form)) for form in (sform, qform))
        raise read_error(name, f"sform says {here} and qform says {there}: the orientation is ambiguous", CONVERT_AGAIN)
    corner = np.append(np.asarray(shape[:3], dtype=np.float64) - 1, 1)
    drift = unit * np.abs((sform - qform)[:3] @ corner).max() if len(corner) == 4 else 0.0
    if drift > FORM_TOLERANCE_MM:
        return (f"sform and qform differ by {drift:.1f} mm at the far corner; the sform is used",)
    return ()


def is_identity(affine: Affine, shape: tuple[int, ...]) -> bool:
    """Return whether an affine is the one that libraries write if they have none: 1 mm voxels, a corner at the origin.

    The axes may have been reordered or reversed since.
    """
    axes = np.abs(affine[:3, :3])
    if not (np.isin(axes, (0.0, 1.0)).all() and (axes.sum(axis=0) == 1).all() and (axes.sum(axis=1) == 1).all()):
        return False
    ends = axes @ (np.asarray([*shape, 1, 1, 1][:3], dtype=np.float64) - 1)  # of each patient axis
    return bool(((affine[:3, 3] == 0) | (np.abs(affine[:3, 3]) == ends)).all())


def _image_affine(image: Any, name: object) -> tuple[Affine, tuple[str, ...]]:
    """Return the affine of any nibabel image that has a real one."""
    if image.affine is None or (isinstance(image, nib.AnalyzeImage) and not isinstance(image.header, nib.Nifti1Header)):
        raise read_error(name, "the image format holds no orientation", "give a NIfTI file with its affine set")
    affine = np.asarray(image.affine, dtype=np.float64)
    from_file = nib.is_proxy(image.dataobj)
    unknown: tuple[str, ...] = ()
    if is_identity(affine, image.shape) and not from_file:
        unknown = (f"the affine is the identity, {IDENTITY_MEANS}; it was taken as stated",)
    if not isinstance(image.header, nib.Nifti1Header):
        return affine, unknown
    affine, warnings = affine_with_header(affine, image.header, name, nifti_affine if from_file else _stated_affine)
    return affine, (*warnings, *unknown)


def affine_with_header(
    affine: np.ndarray, header: nib.Nifti1Header, name: object, read: Callable[..., Any] = nifti_affine
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return in mm an affine that came along with a NIfTI header: the header's own, unless the caller has changed it.

    Raises:
        CTReadError: as `nifti_affine` does, for the header.
    """
    stated, warnings = read(header, name)
    unit, _ = _length_unit(header, name)
    affine = affine * np.array([[unit], [unit], [unit], [1.0]])
    return (stated if np.allclose(affine, stated, rtol=0, atol=1e-4) else affine), warnings


def _stored_numbers(image: Any, name: object) -> tuple[np.ndarray, float, float]:
    """Return an image's numbers, and the slope and intercept that are still to be applied.

    The plain proxy is read without nibabel's float64 scaling; other formats (AFNI, MINC, PAR/REC) apply their own
    scaling.
    """
    proxy = image.dataobj
    try:
        if type(proxy) is nib.arrayproxy.ArrayProxy:
            return np.asarray(proxy.get_unscaled()), float(proxy.slope), float(proxy.inter)
        if hasattr(proxy, "get_scaled"):
            return np.asarray(proxy.get_scaled(dtype=np.float32)), 1.0, 0.0
        return np.asarray(proxy), 1.0, 0.0
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise read_error(name, f"the voxels cannot be read ({type(error).__name__})", "check the file") from None
    except MemoryError:
        raise read_error(name, "the volume does not fit into memory", "use a machine with more memory") from None
