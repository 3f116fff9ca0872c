"""Load a model for a training stage, in the precision that the stage needs."""

import os

import torch
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig
from trl import SFTConfig

from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_pretrained
from argus_training.stages.recipe import TRAINABLE_PARTS, RecipeArguments
from argus_training.stages.sharded_weights import forget_unused_conversions
from modeling_argus import ArgusForConditionalGeneration


def load_for_training(
    model_path: str | os.PathLike, recipe: RecipeArguments, stage: str, config: SFTConfig
) -> ArgusForConditionalGeneration:
    """Load a model for a stage: in float32, or in bfloat16 if the run uses it and a part is frozen.

    `upcast_trained` converts the trained parameters back to float32: updates as small as 1e-6 are lost in bfloat16.
    """
    adapts = recipe.has_adapters(stage)
    in_full = set(recipe.settings_of(stage)["trainable_parts"]) >= set(TRAINABLE_PARTS) and not adapts
    dtype = torch.bfloat16 if config.bf16 and not in_full else torch.float32
    quantization = four_bit_config() if adapts and recipe.load_in_4bit else None
    model = load_pretrained(
        AutoModelForImageTextToText,
        model_path,
        REPORT_WRITER,
        trust=config.trust_remote_code,
        dtype=dtype,
        quantization_config=quantization,
        attn_implementation=recipe.attn_implementation,
    )
    forget_unused_conversions(model)
    return model


def four_bit_config() -> BitsAndBytesConfig:
    """Return the settings of NF4 with double quantization, for the language model only.

    Source: QLoRA, arXiv 2305.14314, section 3.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        # FSDP2 and ZeRO-3 can shard only floating-point storage.
        bnb_4bit_quant_storage=torch.bfloat16,
        llm_int8_skip_modules=[name for part in ("vision", "connector") for name in TRAINABLE_PARTS[part]]
        + ["lm_head"],
    )
