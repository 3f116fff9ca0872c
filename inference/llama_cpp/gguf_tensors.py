"""Turn the weights of a Llama into tensors of a GGUF file: names, order of rows, factors of the rotary embedding."""

from dataclasses import dataclass
from typing import Any

import torch

LANGUAGE_MODEL, OUTPUT_LAYER = "model.language_model.", "lm_head."
ROPE_TYPES = ("default", "linear", "llama3")  # those whose frequencies are the same for prompts of any length


@dataclass(frozen=True)
class GgufTensor:
    """A tensor of the file.

    Attributes:
        name: its name in llama.cpp.
        source: the weight's name in the model's folder.
        shape: of the weight.
        num_heads: heads whose rows are put into llama.cpp's order; 0 leaves them.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    num_heads: int = 0


def check_llama(config: Any, folder: Any) -> None:
    """Refuse a language model that llama.cpp's Llama does not compute.

    Raises:
        ValueError: naming what differs.
    """
    if config.model_type != "llama":
        raise ValueError(f"{folder}: its language model is a {config.model_type}; only a Llama is written as GGUF")
    if config.hidden_act not in ("silu", "swish"):
        raise ValueError(f"{folder}: its language model has the activation {config.hidden_act}; llama.cpp has silu")
    kind = config.rope_parameters.get("rope_type", "default")
    if kind not in ROPE_TYPES:
        raise ValueError(f"{folder}: its rotary embedding is {kind!r}; GGUF is written for {', '.join(ROPE_TYPES)}")


def list_tensors(config: Any, shapes: dict[str, tuple[int, ...]]) -> list[GgufTensor]:
    """Return the tensors of a language model, in order of their names in the folder.

    Args:
        config: configuration of the language model.
        shapes: name and shape of each weight of the folder's model.

    Raises:
        ValueError: if a weight has no place in llama.cpp's Llama.
    """
    import gguf

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    tensors = []
    for source, shape in shapes.items():
        if not _is_written(source, config):
            continue
        name = names.get_name(source.replace(LANGUAGE_MODEL, "model."), try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ValueError(f"llama.cpp's Llama has no place for the weight {source}")
        tensors.append(GgufTensor(name, source, shape, heads.get(source.split(".")[-2], 0)))
    return tensors


def _is_written(source: str, config: Any) -> bool:
    # Where the output layer is tied, llama.cpp takes the embeddings in its place.
    return source.startswith(LANGUAGE_MODEL) or (source.startswith(OUTPUT_LAYER) and not config.tie_word_embeddings)


def pair_rows(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Reorder the rows of a query or key projection, `(rows, ...)`, from transformers' rotary pairs to llama.cpp's.

    Of a head of d rows, transformers rotates rows i and i + d/2 together, and llama.cpp rows 2i and 2i + 1.
    """
    halves = weight.unflatten(0, (num_heads, 2, -1))
    return halves.transpose(1, 2).flatten(0, 2)


def rope_factors(config: Any) -> torch.Tensor:
    """Return by how much each frequency of the rotary embedding is divided, `(head_dim / 2,)`.

    They are taken from transformers' own frequencies, whichever kind of scaling the configuration names.

    Raises:
        ValueError: if only a part of each head is rotated.
    """
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    size = head_size(config)
    unscaled = 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(0, size, 2).float() / size)
    scaled = LlamaRotaryEmbedding(config).inv_freq
    if scaled.shape != unscaled.shape:
        raise ValueError(
            f"the rotary embedding covers {2 * len(scaled)} of a head's {size} channels; llama.cpp needs all"
        )
    return unscaled / scaled


def head_size(config: Any) -> int:
    """Return the channels of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
