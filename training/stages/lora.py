"""Train low-rank adapters on the language model, with connector and vision tower trained in full beside them.

The paper trains the 70B model this way (section 5.1). TRL trains the adapters with PEFT; at the end they are merged
into plain safetensors.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate.utils import parse_flag_from_env
from torch import nn
from transformers import AutoModelForImageTextToText
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_pretrained, load_processor
from argus_training.stages.recipe import LANGUAGE_LAYERS, TRAINABLE_PARTS, RecipeArguments
from argus_training.stages.sharded_weights import check_saved_weights
from modeling_argus import ArgusForConditionalGeneration

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER_FOLDER = "adapter"


def adapter_config(model: ArgusForConditionalGeneration, recipe: RecipeArguments, stage: str) -> "LoraConfig | None":
    """Return adapters for all linear layers of the language model but the output layer; None if a stage trains none.

    The stage's other parts are trained in full and saved in the adapter's folder along with it.

    Raises:
        ValueError: if PEFT is not installed, or FSDP would have to shard embeddings that are also the output layer.
    """
    if not recipe.has_adapters(stage):
        return None
    try:
        from peft import LoraConfig
    except ImportError:
        raise ValueError("use_peft needs PEFT: pip install '.[lora]'") from None
    (backbone, _) = TRAINABLE_PARTS["llm"]
    layers = {
        name.rpartition(".")[2]
        for name, module in model.get_submodule(backbone).named_modules()
        if isinstance(module, nn.Linear)
    }
    parts = [part for part in recipe.settings_of(stage)["trainable_parts"] if part != "llm"]
    in_full = [name for part in parts for name in (TRAINABLE_PARTS | LANGUAGE_LAYERS)[part]]
    shares = model.config.tie_word_embeddings and not LANGUAGE_LAYERS.keys().isdisjoint(parts)
    if shares and parse_flag_from_env("ACCELERATE_USE_FSDP"):
        raise ValueError(
            f"stage{stage}: FSDP cannot train embeddings that are also the output layer beside adapters; start it with "
            "training/accelerate_configs/zero3_offload.yaml"
        )
    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        # The vision tower's layers have the same names, so the pattern includes the path.
        target_modules=rf"{backbone}\..*\.({'|'.join(sorted(layers))})".replace("model.", r"model\.", 1),
        modules_to_save=in_full or None,
        # Embeddings that are also the output layer stay so.
        ensure_weight_tying=shares,
        task_type="CAUSAL_LM",
    )


def merge_adapter(
    base: str | os.PathLike, adapter: str | os.PathLike, out: str | os.PathLike, trust_remote_code: bool = False
) -> Path:
    """Merge adapters into the base model; write it, with its processor, as a plain model folder.

    The base is loaded whole and in its own precision, even if adapters were trained on 4 bits: this host must have
    enough free memory for it. Runs in one process. `trust_remote_code` runs code that comes with the base.

    Raises:
        ValueError: if a tensor of the adapter or of the result is empty.
    """
    from peft import PeftModel

    check_saved_weights(adapter)
    # A model loaded while ZeRO-3 is active would be sharded again.
    unset_hf_deepspeed_config()
    model = load_pretrained(AutoModelForImageTextToText, base, REPORT_WRITER, trust=trust_remote_code, dtype="auto")
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    merged.save_pretrained(out)
    load_processor(base, trust_remote_code).save_pretrained(out)
    check_saved_weights(out)
    return Path(out)
