"""Weights that may be spread over processes: their precision in training, their number, whether all were saved."""

import os
from pathlib import Path

import torch
from safetensors import safe_open
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled


def upcast_trained(model: torch.nn.Module) -> None:
    """Bring every trained parameter to float32; under ZeRO-3, which holds float32 masters itself, leave them."""
    if is_deepspeed_zero3_enabled():
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def count_trained(model: torch.nn.Module) -> int:
    """Count trained parameters, also those that ZeRO-3 holds elsewhere."""
    return sum(
        getattr(parameter, "ds_numel", parameter.numel()) for parameter in model.parameters() if parameter.requires_grad
    )


def check_saved_weights(folder: str | os.PathLike) -> None:
    """Look at the shape of every saved tensor of a folder.

    Raises:
        ValueError: if there is none, or one is empty: the mark of a model that was saved while it was spread out.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder}: no weights were saved")
    for file in files:
        with safe_open(file, "pt") as weights:
            empty = [name for name in weights.keys() if 0 in weights.get_slice(name).get_shape()]
        if empty:
            raise ValueError(
                f"{file}: {len(empty)} tensors are empty, the first is {empty[0]}; they were saved while spread over "
                "processes"
            )
