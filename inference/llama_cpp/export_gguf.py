"""Write the language model of a model folder as a GGUF file, which llama.cpp runs; `argus export-gguf` calls it.

Vision tower and connector stay in the folder: their visual tokens are handed to llama.cpp as embeddings.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_config, load_processor, shapes_of_weights
from argus_processing.storage.part_files import private_folder
from argus_processing.storage.whole_files import check_can_write, destination_of, whole_file

from ..model_folder import check_model_folder
from .gguf_tensors import GgufTensor, check_llama, head_size, list_tensors, pair_rows, rope_factors
from .gguf_vocabulary import add_vocabulary, read_vocabulary
from .sight import FolderWeights, hash_sight

SIGHT_KEY = "argus.sight_sha256"  # of the tower and connector that the language model was trained with
WHOLE_TYPES = ("f32", "f16", "bf16")
QUANTIZED_TYPES = ("q8_0", "q4_0", "q4_k_m")
TYPES = WHOLE_TYPES + QUANTIZED_TYPES
NEEDED = "GGUF files need the package {}: pip install '.[llama-cpp]' (docs/speed.md)"


def export_gguf(model_dir: Path, out: Path, file_type: str = "bf16") -> bool:
    """Write a model's language model to `out`, whole or not at all; return whether its vocabulary is in it.

    A vocabulary that llama.cpp cannot read texts with is left out. Argus does not need it: it reads and writes texts
    with the folder's tokenizer.

    Args:
        model_dir: folder of a saved model whose language model is a Llama.
        out: file to write.
        file_type: one of `TYPES`. Matrices get this type, vectors are float32. llama.cpp quantizes, and keeps some
            matrices in more bits.

    Raises:
        FileNotFoundError, ValueError: if the folder is no such model, a package is missing, or a weight does not fit.
        OSError: if the file cannot be written.
    """
    if file_type not in TYPES:
        raise ValueError(f"a GGUF file's type is one of {', '.join(TYPES)}, got {file_type!r}")
    for package, is_needed in (("gguf", True), ("llama_cpp", file_type in QUANTIZED_TYPES)):
        if is_needed and find_spec(package) is None:
            raise ValueError(NEEDED.format(package.replace("llama_cpp", "llama-cpp-python")))
    folder = check_model_folder(model_dir)
    check_can_write(out)
    if file_type in WHOLE_TYPES:
        with whole_file(out) as part:
            return _write(folder, part, file_type)
    from .llama_library import quantize_gguf

    with private_folder(destination_of(out).path.parent) as between, whole_file(out) as part:
        source = between / "whole.gguf"
        has_vocabulary = _write(folder, source, _lossless_type(folder))
        quantize_gguf(source, part, file_type)
    return has_vocabulary


def _lossless_type(folder: Path) -> str:
    """Return the file type that holds a folder's weights without loss."""
    saved = load_config(folder, REPORT_WRITER).dtype
    return {torch.bfloat16: "bf16", torch.float16: "f16"}.get(saved, "f32")


def _write(folder: Path, path: Path, file_type: str) -> bool:
    """Write the file with one weight in memory at a time."""
    import gguf

    config = load_config(folder, REPORT_WRITER).get_text_config()
    check_llama(config, folder)
    shapes = shapes_of_weights(folder)
    if shapes is None:
        raise ValueError(f"{folder}: its weights are quantized already; export the model that it was made from")
    weights, tensors = FolderWeights(folder), list_tensors(config, shapes)
    tokenizer = load_processor(folder).tokenizer
    vocabulary = read_vocabulary(tokenizer, config.vocab_size)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    try:
        writer.add_name(folder.resolve().name)
        writer.add_description("Language model of Argus; llama.cpp alone cannot make the visual tokens that it reads")
        writer.add_string(SIGHT_KEY, hash_sight(weights))
        _add_sizes(writer, config, file_type)
        add_vocabulary(writer, tokenizer, vocabulary)
        factors = rope_factors(config)
        is_scaled = bool((factors - 1).abs().max() > 1e-6)
        for tensor in tensors:
            _announce(writer, tensor, file_type)
        if is_scaled:
            writer.add_tensor_info("rope_freqs.weight", factors.shape, np.dtype(np.float32), 4 * factors.numel())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            writer.write_tensor_data(_content(weights, tensor, file_type))
        if is_scaled:
            writer.write_tensor_data(factors.numpy())
    finally:
        writer.close()
    return vocabulary is not None


def _add_sizes(writer: Any, config: Any, file_type: str) -> None:
    """Add the configuration of a Llama."""
    from gguf import LlamaFileType

    types = {"f32": LlamaFileType.ALL_F32, "f16": LlamaFileType.MOSTLY_F16, "bf16": LlamaFileType.MOSTLY_BF16}
    writer.add_file_type(types[file_type])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_size(config))
    writer.add_value_length(head_size(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(head_size(config))
    writer.add_vocab_size(config.vocab_size)


def _announce(writer: Any, tensor: GgufTensor, file_type: str) -> None:
    from gguf import GGMLQuantizationType

    kind = GGMLQuantizationType[_type_of(tensor, file_type).upper()]
    size = 4 if kind == GGMLQuantizationType.F32 else 2
    elements = int(np.prod(tensor.shape))
    writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size * elements, raw_dtype=kind)


def _type_of(tensor: GgufTensor, file_type: str) -> str:
    return file_type if len(tensor.shape) > 1 else "f32"


def _content(weights: FolderWeights, tensor: GgufTensor, file_type: str) -> np.ndarray:
    """Return a weight as the file holds it."""
    weight = weights.read(tensor.source)
    if tuple(weight.shape) != tensor.shape:
        raise ValueError(
            f"{tensor.source} has the shape {tuple(weight.shape)}, not {tensor.shape}; copy the model again"
        )
    if tensor.num_heads:
        weight = pair_rows(weight, tensor.num_heads)
    kind = _type_of(tensor, file_type)
    if kind == "bf16":
        return weight.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
    content = weight.to({"f32": torch.float32, "f16": torch.float16}[kind]).contiguous()
    if kind == "f16" and not content.isfinite().all():
        raise ValueError(f"{tensor.source} has values that 16-bit floats (f16) cannot hold; choose bf16")
    return content.numpy()
