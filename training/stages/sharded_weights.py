"""Convert and count trained weights that may be sharded over processes, save all, and check saved ones."""

import os
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import Trainer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from trl import SFTTrainer


def model_of(trainer: Trainer) -> torch.nn.Module:
    """Return the model that a trainer trains, with its adapters.

    Raises:
        ValueError: if there is none.
    """
    if trainer.model is None:
        raise ValueError("the trainer has no model")
    return trainer.model


def upcast_trained(model: torch.nn.Module) -> None:
    """Convert every trained parameter to float32, except under ZeRO-3, which keeps float32 copies itself."""
    if is_deepspeed_zero3_enabled():
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def forget_unused_conversions(model: torch.nn.Module) -> None:
    """Let a model that was loaded under ZeRO-3 be saved with the names of its own weights.

    Transformers renames old names in loading and renames back in saving. Under ZeRO-3 it also remembers the renamings
    that matched nothing, and the language model's weights would get a prefix that they never had.
    """
    conversions = vars(model).get("_weight_conversions")
    if conversions and is_deepspeed_zero3_enabled():
        vars(model)["_weight_conversions"] = [each for each in conversions if each.was_used()]


def count_trained(model: torch.nn.Module) -> int:
    """Count the trained parameters, including those that ZeRO-3 keeps in other processes."""
    return sum(
        getattr(parameter, "ds_numel", parameter.numel()) for parameter in model.parameters() if parameter.requires_grad
    )


def save_model(trainer: SFTTrainer, folder: Path) -> None:
    """Save the model (or the adapters) and the processor, gathered from all processes, without pickle files.

    Raises:
        ValueError: if a saved tensor is empty.
    """
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        (folder / "training_args.bin").unlink(missing_ok=True)
        check_saved_weights(folder)


def check_saved_weights(folder: str | os.PathLike) -> None:
    """Check that no saved tensor of a folder is empty.

    Raises:
        ValueError: if there is no tensor, or one is empty, which happens if a model is saved while it is sharded.
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
