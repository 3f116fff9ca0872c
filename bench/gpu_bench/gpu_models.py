"""Make models with random weights at any preset's size, their inputs, and the loss of a training step."""

import gc
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AutoTokenizer

from argus_inference.generation import inputs_of, prompt_of
from argus_processing.image_processing_argus import ArgusImageProcessor
from argus_processing.instructions import INSTRUCTION
from argus_processing.phantom.scans import make_phantom
from argus_processing.processing_argus import ArgusProcessor
from argus_processing.storage.whole_files import read_json
from argus_training.planning.flops import NUM_PROMPT_TOKENS, study_cost
from modeling_argus import ArgusForConditionalGeneration
from modeling_argus.configuration_argus import ArgusConfig

LORA_RANK, LORA_ALPHA = 128, 64  # paper, section 5.1
FIRST_SEED = 900_000  # of the phantoms for a saved model
TILE_TOKENS = 1024  # labelled tokens whose logits are held at a time
# TRL's fused output layer is what training uses on a GPU; where TRL is absent, the same loss is computed in tiles.
WITH_TRL = find_spec("trl") is not None


def random_model(config: ArgusConfig, device: str, lora: bool | None, dtype: torch.dtype | None = None) -> Any:
    """Make a model with random weights on a device.

    `lora` False: all weights are trained; True: LoRA on a bfloat16 language model; None: the model only generates.
    Default of `dtype`: float32 where all weights are trained, else bfloat16.
    """
    torch.manual_seed(0)
    with torch.device(device):
        model = ArgusForConditionalGeneration._from_config(
            config, dtype=dtype or (torch.float32 if lora is False else torch.bfloat16)
        )
    if lora is None:
        return model.eval()
    if WITH_TRL:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model)
    model.train().gradient_checkpointing_enable({"use_reentrant": False})
    if not lora:
        return model
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    adapters = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear")
    inject_adapter_in_model(adapters, model.model.language_model)
    for part in (model.model.vision_tower, model.model.connector):
        part.float().requires_grad_(True)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.float()
    return model


def make_batch(config: ArgusConfig, batch_size: int, num_report_tokens: int, device: str) -> dict[str, torch.Tensor]:
    """Make random inputs: visual placeholders, a prompt and, for training, a report."""
    num_visual = study_cost(config).visual_tokens
    length = num_visual + NUM_PROMPT_TOKENS + num_report_tokens
    generator = torch.Generator(device).manual_seed(0)
    options: dict[str, Any] = {"generator": generator, "device": device}
    # This range holds neither the placeholder nor an end token of any preset.
    ids = torch.randint(10, 1000, (batch_size, length), **options)
    ids[:, :num_visual] = config.image_token_id
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.rand(batch_size, 1, *config.get_vision_config().image_size, **options),
    }
    if num_report_tokens:
        batch["labels"] = ids.clone()
        batch["labels"][:, :-num_report_tokens] = -100
    return batch


def saved_model(folder: Path, num_scans: int) -> tuple[Any, dict[str, torch.Tensor]]:
    """Load a saved model in float32 on the CPU, with the inputs for so many phantoms that no training draws."""
    # Not `load_model`: where nibabel and datasets are absent, nothing is registered with the Auto classes.
    own = read_json(folder / "processor_config.json")
    processor = ArgusProcessor(
        ArgusImageProcessor.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        own["num_image_tokens"],
        own["image_token"],
        (folder / "chat_template.jinja").read_text(encoding="utf-8"),
    )
    model = ArgusForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    scans = [make_phantom(FIRST_SEED + number) for number in range(num_scans)]
    prompts = [prompt_of(processor, INSTRUCTION)] * num_scans
    return model, dict(inputs_of(processor, prompts, scans))


def loss_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Compute the mean negative log-likelihood of the labelled tokens; the logits of all of them are never held."""
    if WITH_TRL:
        return model(**batch, fused_lm_head=True).loss
    return loss_in_tiles(model, batch)


def loss_in_tiles(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Compute `loss_of` by PyTorch alone: a tile's logits are computed again in its backward pass."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    hidden_states = model.base_model(**inputs, use_cache=False).last_hidden_state[:, :-1]
    labels = batch["labels"][:, 1:]
    is_labelled = labels != -100
    rows, targets = hidden_states[is_labelled], labels[is_labelled]
    tiles = zip(rows.split(TILE_TOKENS), targets.split(TILE_TOKENS), strict=True)
    parts = [checkpoint(_summed_loss, model.get_output_embeddings(), *tile, use_reentrant=False) for tile in tiles]
    return torch.stack(parts).sum() / len(targets)


def _summed_loss(output_layer: Any, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(output_layer(rows).float(), targets, reduction="sum")


def free_memory(device: str) -> None:
    """Give the memory of a GPU that is not used any more back to it, and count its peak from here on."""
    if device.startswith("cuda"):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> int | None:
    """Return the most bytes of a GPU that were allocated since the count began; None on a CPU."""
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else None
