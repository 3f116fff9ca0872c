"""List the allowed values of single settings of a model folder: generation, preprocessing of scans, quantisation.

Wrong values would change every report, or fail only at the first scan, when a user waits for the result.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig

from ..normalization import CROPS, NORMALIZATIONS
from ..resampling import RESAMPLINGS
from .setting_forms import (
    FLAG,
    LEFT_OUT,
    MAPPING,
    OFF,
    Form,
    either,
    list_of,
    number,
    rising,
    text,
    tuple_of,
    whole,
    word,
)

MAX_SIZE = 1 << 24
MAX_VISUAL_TOKENS = 1 << 18
MAX_BEAMS = 64
MAX_LENGTH = 1e31  # transformers writes 1e30 for a tokenizer without one
MAX_REPORT_TOKENS = 1024  # a report that may not end before this many tokens is never complete
MAX_WORDS = 4096  # in lists of words or tokens; the longest published one has under a hundred
QUANTIZERS = ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit")
CONFIG_DTYPES = ("float32", "float16", "bfloat16", "float64", "auto")

_SHARE = number(0, 1)
_TOKEN = whole(0, MAX_SIZE)
_TOKENS = list_of(_TOKEN, 0, MAX_WORDS)
_LENGTH = whole(1, MAX_SIZE)
_PENALTY = number(0.01, 100)
_SEQUENCE = list_of(_TOKEN, 1, 64)
_ENDLESS = Form("infinite", lambda value: value == math.inf)

# Null means not set, and transformers writes it.
GENERATION: dict[str, Form] = {
    **dict.fromkeys(("max_length", "max_new_tokens"), _LENGTH),
    **dict.fromkeys(("min_length", "min_new_tokens"), whole(0, MAX_REPORT_TOKENS)),
    "max_time": number(1, 1e6),
    "early_stopping": either(FLAG, word("never")),
    **dict.fromkeys(
        ("do_sample", "use_cache", "renormalize_logits", "remove_invalid_values", "disable_compile", "low_memory"), FLAG
    ),
    **dict.fromkeys(
        ("output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"), FLAG
    ),
    "num_beams": whole(1, MAX_BEAMS),
    **dict.fromkeys(("num_return_sequences", "num_beam_groups"), whole(1, 1)),
    "temperature": number(0, 100),
    "top_k": whole(-1, MAX_SIZE),
    **dict.fromkeys(("top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"), _SHARE),
    **dict.fromkeys(("repetition_penalty", "encoder_repetition_penalty"), _PENALTY),
    "length_penalty": number(-100, 100),
    **dict.fromkeys(("diversity_penalty", "penalty_alpha"), number(0, 0)),
    "guidance_scale": number(1, 1),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), whole(0, 1024)),
    "bad_words_ids": list_of(_SEQUENCE, 1, MAX_WORDS),
    "sequence_bias": list_of(tuple_of(_SEQUENCE, number(-1e6, 1e6)), 1, MAX_WORDS),
    "exponential_decay_length_penalty": tuple_of(whole(0, MAX_SIZE), _PENALTY),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"), _TOKENS),
    **dict.fromkeys(("bos_token_id", "decoder_start_token_id", "forced_bos_token_id"), _TOKEN),
    "pad_token_id": whole(-1, MAX_SIZE),  # Llama 1 says -1
    **dict.fromkeys(("eos_token_id", "forced_eos_token_id"), either(_TOKEN, _TOKENS)),
    # Without those that need another device or package.
    "cache_implementation": word("dynamic", "static", "sliding_window", "hybrid", "hybrid_chunked"),
    # For a second model that proposes tokens; without one they are not read.
    **dict.fromkeys(("num_assistant_tokens", "assistant_lookbehind", "target_lookbehind"), whole(0, 1024)),
    "max_matching_ngram_size": whole(0, 1024),
    "num_assistant_tokens_schedule": text(64),
    "assistant_confidence_threshold": _SHARE,
    # Other methods of generation: they need a tokenizer, a second model or the Hub's code, or watermark the text.
    **dict.fromkeys(("token_healing", "use_mtp", "is_assistant"), OFF),
    **dict.fromkeys(("stop_strings", "constraints", "force_words_ids", "dola_layers", "watermarking_config"), LEFT_OUT),
    **dict.fromkeys(
        ("prompt_lookup_num_tokens", "assistant_early_exit", "assistant_ensemble_weight", "speculation_type"), LEFT_OUT
    ),
    **dict.fromkeys(("cache_config", "max_cache_len", "compile_config", "continuous_batching_config"), LEFT_OUT),
    "_from_model_config": FLAG,
    "transformers_version": text(64),
}
IMAGE_PROCESSOR: dict[str, Form] = {
    "image_size": list_of(whole(1, 4096), 3, 3),
    # Range of a 16-bit scan, and least width of the window, by which values are divided.
    "hu_window": rising(-100_000, 100_000, 1),
    "value_range": rising(-1000, 1000, 0.001),
    "target_spacing_mm": list_of(number(0.1, 100), 3, 3),
    "resampling": word(*RESAMPLINGS),
    "normalization": word(*NORMALIZATIONS),
    "crop": word(*CROPS),
}
PROCESSOR: dict[str, Form] = {
    "num_image_tokens": whole(1, MAX_VISUAL_TOKENS),
    "image_token": text(200),
}
TOKENIZER: dict[str, Form] = {
    "model_max_length": either(number(1, MAX_LENGTH), _ENDLESS).or_none(),
    **dict.fromkeys(("padding_side", "truncation_side"), word("left", "right").or_none()),
    **dict.fromkeys(
        ("split_special_tokens", "add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces"),
        FLAG.or_none(),
    ),
    **dict.fromkeys(
        ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"),
        Form("a text or a mapping", lambda value: isinstance(value, str | dict)).or_none(),
    ),
    "model_input_names": list_of(text(64), 1, 64).or_none(),
    "added_tokens_decoder": MAPPING.or_none(),
    "tokenizer_object": LEFT_OUT,
}
# For any model, and for Argus's towers and connector.
MODEL: dict[str, Form] = {
    "id2label": Form(
        "a mapping to names",
        lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value.values()),
    ).or_none(),
    "voxel_mean": number(-1000, 1000),
    "voxel_std": number(0.0001, 10_000),
    "attention_scale": number(0.001, 1000),
    "codebook_decay": _SHARE,
    "compression_factor": whole(1, 64),
    "num_projector_layers": whole(1, 2),
    "image_token_id": _TOKEN.or_none(),
}
QUANTIZATION: dict[str, Form] = {
    **dict.fromkeys(("load_in_8bit", "load_in_4bit", "_load_in_8bit", "_load_in_4bit"), FLAG),
    **dict.fromkeys(
        ("bnb_4bit_use_double_quant", "llm_int8_has_fp16_weight", "llm_int8_enable_fp32_cpu_offload"), FLAG
    ),
    "bnb_4bit_quant_type": word("nf4", "fp4"),
    "bnb_4bit_compute_dtype": word(*CONFIG_DTYPES[:-1]),
    "bnb_4bit_quant_storage": word(*CONFIG_DTYPES[:-1], "uint8", "int8"),
    "llm_int8_threshold": number(0, 1e6),
    "llm_int8_skip_modules": list_of(text(256), 0, MAX_WORDS),
}
_QUANTIZER = word(*QUANTIZERS)
_METHODS = {name for name in dir(PreTrainedConfig) if callable(getattr(PreTrainedConfig, name))}


def refused_settings(file: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Return the settings of one file with invalid values: dotted name, value, expected form.

    Args:
        file: its name, such as "generation_config.json"; other files than the known ones have no such settings.
        content: of it.
    """
    if file == "generation_config.json":
        yield from _generation(content)
    elif file == "tokenizer_config.json":
        yield from _odd("", content, TOKENIZER)
    elif file in ("processor_config.json", "preprocessor_config.json"):
        yield from _processor(content)
    elif file == "config.json":
        yield from _model(content)


def _odd(prefix: str, content: Mapping[str, Any], forms: Mapping[str, Form]) -> Iterator[tuple[str, Any, str]]:
    for name, form in forms.items():
        if name in content and not form.accepts(content[name]):
            yield f"{prefix}{name}", content[name], form.expected


def _generation(content: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    yield from _odd("", content, {name: form.or_none() for name, form in GENERATION.items()})
    known = GenerationConfig()
    for name in content.keys() - GENERATION.keys():
        # A setting unknown to transformers becomes an attribute, which must not replace one of its own.
        own = name.startswith("_") or callable(getattr(known, name, None))
        if own or hasattr(known, name) and content[name] is not None:
            yield name, content[name], LEFT_OUT.expected


def _processor(content: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Check the settings of Argus's own preprocessing; other preprocessing is refused elsewhere, before its use."""
    inner = content.get("image_processor", content)
    if not isinstance(inner, dict):
        yield "image_processor", inner, MAPPING.expected
    elif inner.get("image_processor_type") == "ArgusImageProcessor":
        yield from _odd("" if inner is content else "image_processor.", inner, IMAGE_PROCESSOR)
        yield from _odd("", content, PROCESSOR)


def _model(content: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Check a model's configuration and, one level down, those of its parts."""
    parts = {"": content} | {f"{name}.": value for name, value in content.items() if isinstance(value, dict)}
    for prefix, part in parts.items():
        yield from _odd(prefix, part, MODEL)
        # Any name becomes an attribute, which must not replace a method.
        yield from ((f"{prefix}{name}", part[name], LEFT_OUT.expected) for name in part if name in _METHODS)
        packed = part.get("quantization_config")
        if packed is not None:
            yield from _quantization(f"{prefix}quantization_config", packed)


def _quantization(name: str, packed: Any) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(packed, dict):
        yield name, packed, MAPPING.expected
        return
    method = packed.get("quant_method")
    if not _QUANTIZER.accepts(method):
        yield f"{name}.quant_method", method, f"{_QUANTIZER.expected}; other quantized weights are not read"
    yield from _odd(f"{name}.", packed, {name: form.or_none() for name, form in QUANTIZATION.items()})
