"""Scans that come as something else than a file: addresses, base64, bytes, tensors. Nothing is ever fetched."""

import base64
import binascii
import os
import re
from urllib.parse import unquote, urlsplit

import numpy as np
import torch

# How base64 of a gzip file and of a NIfTI header (348 or 540 bytes, either byte order) begins.
_BASE64_STARTS = ("H4sI", "XAEAA", "AAABX", "HAIAA", "AAACH")
_LONGEST_PATH = 4096
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
SENT_SCAN = "the scan sent along"  # what errors call bytes


def path_or_bytes(text: str) -> str | bytes:
    """Tell what a text names: the path of a scan, or the scan itself in base64.

    Args:
        text: a path, a `file://` address of this machine, a `data:` address, or base64 alone.

    Raises:
        ValueError: in one line without any of the text, if it is another address or neither path nor base64.
    """
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
    if text.startswith(_BASE64_STARTS) and not os.path.exists(text[:_LONGEST_PATH]):
        return _decoded(text)
    if len(text) >= _LONGEST_PATH or "\n" in text or "\0" in text:
        raise ValueError(f"a text of {len(text)} characters is neither a scan's path nor a NIfTI file in base64")
    return text


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the scan sent as text is not whole base64; send it again") from None


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """Give a tensor's numbers wherever it lies, with or without gradient; bfloat16, which numpy lacks, as float32.

    Raises:
        ValueError: if it holds no plain numbers (meta, sparse, quantised).
    """
    if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
        raise ValueError("a scan given as a tensor is dense and holds its numbers, not a meta, sparse or quantised one")
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
