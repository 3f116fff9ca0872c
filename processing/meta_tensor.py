"""Take a `MetaTensor` of MONAI as a scan. It is known by what it holds, so MONAI need not be installed."""

from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch

from .ct_checks import check_dtype, read_error, rescale_to_hu, spatial_shape
from .ct_volume import IDENTITY_MEANS, CTVolume, affine_with_header, is_identity
from .sent_scan import array_of

# Fields of a NIfTI header that place the volume; MONAI's reader keeps them among the metadata.
PLACING = ("dim", "xyzt_units", "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
           "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")  # fmt: skip
NEVER_GUESSED = "it is never guessed: load the scan from a file that has one, or make a MetaTensor with its own affine"


def is_meta_tensor(image: Any) -> bool:
    """Return whether an image is a tensor with an affine and metadata."""
    return isinstance(image, torch.Tensor) and hasattr(image, "affine") and hasattr(image, "meta")


def volume_of_meta_tensor(image: Any) -> CTVolume:
    """Make a volume from a MetaTensor of Hounsfield units, with or without a first axis for its one channel.

    Its axes are those of its affine, in any order: nothing of it is taken to be (D, H, W). Reading the file that it was
    loaded from gives the same volume.

    Raises:
        CTReadError: if it is a batch, has pending operations or no orientation, or cannot be a CT scan.
    """
    meta = image.meta
    name = meta.get("filename_or_obj")
    name = name if isinstance(name, str) and name else type(image).__name__
    if getattr(image, "is_batch", False):
        raise read_error(name, "a batch, not one scan", "take it apart with monai.data.decollate_batch")
    if getattr(image, "pending_operations", None):
        cause = "lazy operations are pending, so that voxels and affine do not belong together"
        raise read_error(name, cause, "apply them first, as monai.transforms.Compose does")
    voxels = array_of(image.as_subclass(torch.Tensor))
    if voxels.ndim > 3 and voxels.shape[0] == 1:
        voxels = voxels[0]
    shape = spatial_shape(voxels.shape, name)
    affine, warnings = _affine_in_mm(image.affine, meta, shape, name)
    check_dtype(voxels.dtype, name)
    return CTVolume.from_file_axes(rescale_to_hu(voxels.reshape(shape)), affine, name, warnings)


def _affine_in_mm(
    affine: Any, meta: Mapping[str, Any], shape: tuple[int, int, int], name: object
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the affine to RAS+ mm and warnings; where the file's NIfTI header came along, it is checked as well."""
    if affine is None:
        raise read_error(name, "the tensor has no affine", NEVER_GUESSED)
    # Transforms change the affine, but not the original one; MONAI makes either the identity where it knows none.
    known = [np.asarray(one, dtype=np.float64) for one in (affine, meta.get("original_affine")) if one is not None]
    if any(one.shape != (4, 4) for one in known):
        raise read_error(name, "the affine is not a 4x4 matrix", "give one 3D scan")
    if any(is_identity(one, shape) for one in known):
        raise read_error(name, f"the affine is the identity, {IDENTITY_MEANS}", NEVER_GUESSED)
    in_ras, header = _to_ras(meta.get("space", "RAS"), name) @ known[0], _header_of(meta)
    if header is None:
        if meta.get("sform_code") == meta.get("qform_code") == "0":  # ITK's reader keeps them as text
            raise read_error(name, "the orientation is missing (sform_code and qform_code are 0)", NEVER_GUESSED)
        return in_ras, ()
    if _holds_only_sizes(header):
        cause = "the affine holds the voxel sizes alone, as MONAI writes it over one that does not fit them"
        raise read_error(name, cause, "give Argus the file's path")
    return affine_with_header(in_ras, header, name)


def _holds_only_sizes(header: nib.Nifti1Header) -> bool:
    """Return whether the sform may be a qform that was never set, put there by MONAI: left could be right."""
    placed = header["qform_code"] > 0 or any(header[f"quatern_{axis}"] for axis in "bcd")
    return not placed and np.array_equal(np.abs(header.get_sform()), np.diag([*header["pixdim"][1:4], 1.0]))


def _to_ras(space: Any, name: object) -> np.ndarray:
    """Return the 4x4 matrix from a space ("RAS", "LPS", "left-posterior-superior") to RAS."""
    text = str(getattr(space, "value", space))
    letters = "".join(word[:1] for word in text.split("-")).upper() if "-" in text else text
    if len(letters) != 3 or any(letter not in pair for letter, pair in zip(letters, ("RL", "AP", "SI"), strict=True)):
        raise read_error(name, 'the metadata\'s "space" is neither RAS nor LPS', "set it to the affine's space")
    return np.diag([*(1.0 if letter in "RAS" else -1.0 for letter in letters), 1.0])


def _header_of(meta: Mapping[str, Any]) -> nib.Nifti1Header | None:
    """Return the header of the NIfTI file that the tensor was read from, as far as it places the volume."""
    fields = {field: meta.get(field) for field in PLACING}
    fields["pixdim"] = meta.get("original_pixdim", fields["pixdim"])
    header = nib.Nifti1Header()
    try:
        for field, value in fields.items():
            header[field] = np.asarray(value, dtype=header[field].dtype)
    except (TypeError, ValueError):  # one is missing, or another reader's text
        return None
    return header
