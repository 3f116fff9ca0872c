"""Draw damaged NIfTI files: header fields set to values at the edge of their type, bytes changed, ends cut."""

import gzip
import itertools
from dataclasses import dataclass
from functools import cache

import nibabel as nib
import numpy as np
from byte_edits import Edit, apply_edits, byte_edits
from hypothesis import strategies as st

SHAPE = (12, 10, 8)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, -1e30, 352.0, 1e9, np.nan, np.inf, -np.inf)
WHOLE = (0, 1, 2, -1, 3, 4, 7, 8, 16, 64, 127, 255, 348, 352, 540, 544, 1024, 32767, -32768, 65535, 2**31 - 1, -(2**31))
NIFTI_DTYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8")


@dataclass(frozen=True)
class NiftiSeed:
    """A whole file to start from.

    Attributes:
        name: in tables and of the saved case.
        header: the file's header, from which the places of its fields are known.
        content: the uncompressed bytes.
        packed: stored as .nii.gz.
    """

    name: str
    header: nib.Nifti1Header
    content: bytes
    packed: bool

    @property
    def files(self) -> dict[str, bytes]:
        """The file as it is stored."""
        return {"scan.nii.gz": gzip.compress(self.content, 1, mtime=0)} if self.packed else {"scan.nii": self.content}


@cache
def nifti_seeds() -> tuple[NiftiSeed, ...]:
    """Make one file of each version, byte order, data type and packing."""
    kinds = itertools.product((nib.Nifti1Header, nib.Nifti2Header), "<>", NIFTI_DTYPES, (False, True))
    return tuple(_seed(*kind) for kind in kinds)


def _seed(kind: type[nib.Nifti1Header], order: str, dtype: str, packed: bool) -> NiftiSeed:
    header = kind(endianness=order)
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    hu = np.full(SHAPE, -1000)
    hu[2:10, 2:8] = 40
    slope, intercept = (1.0, 0.0) if np.iinfo("i2").bits <= 8 * np.dtype(dtype).itemsize else (10.0, 0.0)
    if dtype[0] == "u":
        intercept = -1000.0
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["vox_offset"] = header.sizeof_hdr + 4
    stored = np.round((hu - intercept) / slope).clip(-100 if dtype == "i1" else None, None)
    content = header.binaryblock + bytes(4) + stored.astype(header.get_data_dtype()).tobytes("F")
    version, suffix = 1 + (kind is nib.Nifti2Header), ".nii.gz" if packed else ".nii"
    name = f"NIfTI-{version} {suffix}/{'little' if order == '<' else 'big'}-{dtype}"
    return NiftiSeed(name, header, content, packed)


@st.composite
def nifti_case(draw: st.DrawFn) -> tuple[str, dict[str, bytes]]:
    """Draw a damaged file: its seed's name, and `{file name: content}`."""
    seed = nifti_seeds()[draw(st.integers(0, len(nifti_seeds()) - 1))]
    damage = st.one_of(_field_edit(seed), _field_edit(seed), byte_edits(seed.header.sizeof_hdr))
    content = apply_edits(seed.content, draw(st.lists(damage, min_size=1, max_size=4)))
    if not seed.packed:
        return seed.name, {"scan.nii": content}
    packed = gzip.compress(content, 1, mtime=0)
    outer = draw(st.lists(byte_edits(len(packed)), max_size=2)) if draw(st.booleans()) else []
    return seed.name, {"scan.nii.gz": apply_edits(packed, outer)}


@st.composite
def _field_edit(draw: st.DrawFn, seed: NiftiSeed) -> Edit:
    """Draw one element of one header field, and a value at the edge of its type."""
    fields = seed.header.template_dtype.newbyteorder(seed.header.endianness).fields
    dtype, offset = fields[draw(st.sampled_from(sorted(fields)))][:2]
    base = dtype.base
    index = draw(st.integers(0, dtype.itemsize // base.itemsize - 1))
    if base.kind == "S":
        value = draw(st.binary(min_size=base.itemsize, max_size=base.itemsize))
    elif base.kind == "f":
        with np.errstate(over="ignore"):
            value = np.array(draw(st.sampled_from(FLOATS) | st.floats(width=32)), base).tobytes()
    else:
        whole = draw(
            st.sampled_from(WHOLE) | st.integers(-(2 ** (8 * base.itemsize - 1)), 2 ** (8 * base.itemsize) - 1)
        )
        value = np.array(whole % 2 ** (8 * base.itemsize), base.str.replace("i", "u")).tobytes()
    return Edit("set", offset + index * base.itemsize, value)
