"""Recognise scans that are not files: addresses, base64, bytes, tensors. Nothing is ever downloaded."""

import base64
import binascii
import os
import re
from urllib.parse import unquote, urlsplit

import numpy as np
import torch

# First letters of base64 of a gzip file and of a NIfTI header (348 or 540 bytes, either byte order); then of formats
# that are sent by mistake: DICOM, ZIP, PNG, JPEG, PDF, NRRD, Zstandard.
_BASE64_STARTS = ("H4sI", "XAEAA", "AAABX", "HAIAA", "AAACH",
                  "AAAAAAAAAAAAAAAA", "UEsDB", "iVBORw0KGgo", "/9j/", "JVBERi0", "TlJSRDAw", "KLUv/")  # fmt: skip
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}|[A-Za-z0-9+/_-]{40,}={1,2}")
_LONGEST_PATH = 4096
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
SENT_SCAN = "the scan sent along"  # name of bytes in errors


def path_or_bytes(text: str) -> str | bytes:
    """Return the path of a scan or, for base64, the bytes of the scan itself.

    Args:
        text: a path, a `file://` address of this machine, a `data:` address, or base64 alone.

    Raises:
        ValueError: if the text is another address, or neither path nor base64; in one line that does not quote it.
    """
    text = text.lstrip("\ufeff")
    if not text.strip():
        # As a path it would be the working directory, with any scan that is there.
        raise ValueError("an empty text names no scan; give a path")
    if text[:5].lower() == "data:":
        header, _, content = text.partition(",")
        if not header.endswith(";base64"):
            raise ValueError("a data: address of a scan holds a .nii or .nii.gz in base64 (data:;base64,...)")
        return _decoded(content)
    if text[:5].lower() == "file:":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise ValueError("a file: address names a scan on this machine, as file:///folder/scan.nii.gz")
        return unquote(parts.path)
    if address := _ADDRESS.match(text):
        raise ValueError(
            f"scans are not fetched from {address.group().lower()} addresses; download the scan and give its path"
        )
    plain = "\0" not in text and os.path.exists(text[:_LONGEST_PATH])
    if text.lstrip().startswith(_BASE64_STARTS) and not plain:
        return _decoded(text)
    if len(text) >= _LONGEST_PATH or "\n" in text or "\0" in text or not plain and _BASE64.fullmatch(text.strip()):
        raise ValueError(f"a text of {len(text)} characters is neither a scan's path nor a NIfTI file in base64")
    return text


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the scan sent as text is not whole base64; send it again") from None


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's numbers as an array, from any device, with or without gradient; bfloat16 becomes float32.

    Raises:
        ValueError: if it does not hold plain numbers (meta, sparse, nested, quantised).
    """
    if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        raise ValueError("a scan given as a tensor is dense and holds its numbers, not a meta, sparse or quantised one")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    # numpy does not know bfloat16 and the 8-bit float types.
    short = tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64)
    return (tensor.float() if short else tensor).numpy()
