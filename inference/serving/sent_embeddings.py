"""Read the visual tokens of a scan that came with a request, for a client that has encoded the scan itself."""

import binascii

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from ..scan_files import ScanNotReadError

MEDIA_TYPE = "application/x-safetensors"  # never pickle, which could run code
TENSOR_NAME = "image_embeds"


def holds_embeddings(url: str) -> bool:
    """Return whether a `data:` address says that it holds embeddings."""
    return url[: len("data:;base64,") + len(MEDIA_TYPE)].lower() == f"data:{MEDIA_TYPE};base64,"


def read_embeddings(url: str) -> torch.Tensor:
    """Return the visual tokens `(num_tokens, hidden_size)` in a `data:` address: safetensors with one tensor.

    Raises:
        ScanNotReadError: if it holds anything else, or numbers that are not finite.
    """
    try:
        tensors = load(binascii.a2b_base64(url.partition(",")[2], strict_mode=True))
    except (ValueError, SafetensorError):
        raise ScanNotReadError("the embeddings are no safetensors file in base64") from None
    if set(tensors) != {TENSOR_NAME}:
        raise ScanNotReadError(f"embeddings are one tensor named {TENSOR_NAME}")
    embeddings = tensors[TENSOR_NAME]
    if embeddings.ndim != 2 or not embeddings.is_floating_point() or not torch.isfinite(embeddings).all():
        raise ScanNotReadError("embeddings are (num_tokens, hidden_size) finite floating-point numbers")
    return embeddings


def check_embeddings(embeddings: torch.Tensor, num_tokens: int, hidden_size: int) -> torch.Tensor:
    """Return embeddings that fit a model.

    Raises:
        ScanNotReadError: if they are of another shape.
    """
    if embeddings.shape != (num_tokens, hidden_size):
        shape = tuple(embeddings.shape)
        raise ScanNotReadError(f"embeddings for this model are {(num_tokens, hidden_size)}, got {shape}")
    return embeddings
