"""Small model folders whose language model is built as Llama 3.2 is, and their greedy reports."""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from argus_processing.instructions import INSTRUCTIONS
from argus_training.assembly.create import create_model
from argus_training.assembly.report_tokenizer import train_tokenizer

# How Llama 3 cuts a text, as its tokenizer.json says it.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SCALED = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def make_folder(root: Path, **changes: Any) -> Path:
    """Write a model of random weights with three layers, eight heads in two groups and a scaled rotary embedding."""
    tokenizer = train_tokenizer(
        [*INSTRUCTIONS, "A small pleural effusion on the right. No lung nodule."], vocab_size=400
    )
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 400,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 1024,
        "rope_parameters": SCALED,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    language_model = LlamaForCausalLM(LlamaConfig(**sizes | changes))
    with torch.no_grad():
        for parameter in language_model.parameters():
            # Large enough that what is read matters, and no vector is all ones or zeros.
            parameter.mul_(4) if parameter.ndim == 2 else parameter.add_(0.1 * torch.randn_like(parameter))
    language_model.save_pretrained(root / "llm")
    tokenizer.save_pretrained(root / "llm")
    return create_model("argus-tiny", root / "model", llm=root / "llm", dtype="float32")
