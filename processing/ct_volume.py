"""`CTVolume`: one CT scan in Hounsfield units, the same way up whatever its file looked like.

Axes are (D, H, W): D rises toward the patient's Superior, H toward Posterior, W toward the patient's Left.
A slice `hu[d]` is thus the radiological picture: row 0 is anterior, column 0 is the patient's right.
"""

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from .ct_checks import CTReadError, check_affine, check_dtype, check_hu, read_error, rescale_to_hu, spatial_shape

__all__ = ["CANONICAL_AXES", "CTReadError", "CTVolume", "nifti_affine"]

CANONICAL_AXES = ("S", "P", "L")  # where D, H and W rise to
FORM_TOLERANCE_MM = 1.0  # sform and qform may differ by this before a warning


@dataclass(frozen=True)
class CTVolume:
    """A CT scan in canonical orientation.

    Attributes:
        hu: `(D, H, W)` int16 or float32 Hounsfield units; may be a strided view, so nothing was copied to turn it.
        affine: 4x4 float64, array index `(d, h, w, 1)` to RAS+ mm (nibabel's world).
        original_orientation: where the file's own axes rise to, as in `nibabel.aff2axcodes`: "RAS", "LPS", ...
            For DICOM the axes are column index, row index, slice in the order of the table.
        warnings: what a reader of the scan should know, without anything from a patient's header.
    """

    hu: np.ndarray
    affine: np.ndarray
    original_orientation: str
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype not in (np.int16, np.float32):
            raise ValueError(f"hu must be a (D, H, W) int16 or float32 array, got {self.hu.shape} {self.hu.dtype}")
        if self.affine.shape != (4, 4) or nib.aff2axcodes(self.affine) != CANONICAL_AXES:
            raise ValueError(f"affine must be 4x4 with axes {CANONICAL_AXES}; use from_array or from_nibabel")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along D, H and W in mm."""
        dz, dy, dx = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(dz), float(dy), float(dx)

    @classmethod
    def from_array(cls, hu: np.ndarray, spacing_mm: tuple[float, float, float], name: str = "array") -> "CTVolume":
        """Take an array that the caller states to be canonical (D, H, W) Hounsfield units.

        Args:
            hu: `(D, H, W)` numbers; D rises to Superior, H to Posterior, W to Left.
            spacing_mm: `(dz, dy, dx)`.
            name: what errors call it.

        Raises:
            CTReadError: if shape, spacing or values cannot be a CT scan's.
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
        """Take a nibabel spatial image, also what `datasets.Nifti` decodes to; its scaling is applied once.

        Raises:
            CTReadError: if it has no usable affine, or shape or values cannot be a CT scan's.
        """
        shape = spatial_shape(image.shape, name)
        affine, warnings = _image_affine(image, name)
        check_affine(affine, shape, name)
        check_dtype(np.dtype(image.get_data_dtype()), name)
        if nib.is_proxy(image.dataobj):
            slope, intercept = getattr(image.dataobj, "slope", 1.0), getattr(image.dataobj, "inter", 0.0)
            raw = _unscaled(image.dataobj, name)
        else:
            slope, intercept, raw = 1.0, 0.0, np.asarray(image.dataobj)
            check_dtype(raw.dtype, name)
        hu = rescale_to_hu(raw.reshape(shape, order="F"), slope, intercept)
        return cls.from_file_axes(hu, affine, name, warnings)

    @classmethod
    def from_file_axes(
        cls, hu: np.ndarray, affine: np.ndarray, name: object, warnings: tuple[str, ...] = ()
    ) -> "CTVolume":
        """Turn a 3D array in a file's own axes to canonical orientation, by views alone.

        Args:
            hu: int16 or float32 Hounsfield units in any axis order.
            affine: 4x4, index of `hu` to RAS+ mm.
            name: what errors call the scan.
            warnings: what the reader already found.

        Raises:
            CTReadError: if affine or values cannot be a CT scan's.
        """
        warnings = (*warnings, *check_affine(affine, hu.shape, name))
        check_hu(hu, name)
        start = nib.io_orientation(affine)
        turn = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(CANONICAL_AXES))
        turned = nib.orientations.apply_orientation(hu, turn)
        turned_affine = np.asarray(affine, dtype=np.float64) @ nib.orientations.inv_ornt_aff(turn, hu.shape)
        return cls(turned, turned_affine, "".join(nib.aff2axcodes(affine)), warnings)


def nifti_affine(header: nib.Nifti1Header, name: object) -> tuple[np.ndarray, tuple[str, ...]]:
    """Give a NIfTI header's affine (sform, else qform) and what is odd about it.

    Raises:
        CTReadError: if neither form is set, or the two place left, front or head differently.
    """
    advice = "convert the scan again from its DICOM series with both forms set"
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        cause = "the orientation is missing (sform_code and qform_code are 0)"
        raise read_error(name, cause, "it is never guessed: " + advice)
    if header["sform_code"] <= 0:
        try:
            return header.get_qform(), ()
        except (HeaderDataError, ValueError):
            raise read_error(name, "the qform is not a valid rotation", advice) from None
    sform = header.get_sform()
    qform = _second_opinion(header)
    if qform is None or not np.isfinite(sform).all() or not np.isfinite(qform).all():
        return sform, ()
    if nib.aff2axcodes(sform) != nib.aff2axcodes(qform):
        here, there = ("".join(str(code) for code in nib.aff2axcodes(form)) for form in (sform, qform))
        raise read_error(name, f"sform says {here} and qform says {there}: the orientation is ambiguous", advice)
    corners = np.array(header.get_data_shape()[:3]) - 1
    drift = np.abs((sform - qform)[:3] @ np.append(corners, 1)).max()
    if drift > FORM_TOLERANCE_MM:
        return sform, (f"sform and qform differ by {drift:.1f} mm at the far corner; the sform is used",)
    return sform, ()


def _second_opinion(header: nib.Nifti1Header) -> np.ndarray | None:
    try:
        return header.get_qform() if header["qform_code"] > 0 else None
    except (HeaderDataError, ValueError):
        return None


def _image_affine(image: Any, name: object) -> tuple[np.ndarray, tuple[str, ...]]:
    """Give the affine of any nibabel image that has a real one."""
    if isinstance(image.header, nib.Nifti1Header):
        affine, warnings = nifti_affine(image.header, name)
        # A caller may have given the image another affine than its header's.
        return (affine, warnings) if image.affine is None else (np.asarray(image.affine, dtype=np.float64), warnings)
    if image.affine is None or isinstance(image, nib.AnalyzeImage):
        raise read_error(name, "the image format holds no orientation", "give a NIfTI file with its affine set")
    return np.asarray(image.affine, dtype=np.float64), ()


def _unscaled(dataobj: Any, name: object) -> np.ndarray:
    """Read a proxy's stored numbers without nibabel's float64 scaling."""
    try:
        return np.asarray(dataobj.get_unscaled() if hasattr(dataobj, "get_unscaled") else dataobj)
    except (OSError, EOFError, ValueError) as error:
        raise read_error(name, f"the voxels cannot be read ({type(error).__name__})", "check the file") from None
