"""Compute by formula the memory that maps of evidence take, and choose the number of steps at once that fits.

Weights are frozen, so linear layers keep nothing for their backward pass. The formulas follow the code that runs:
transformers' Llama, this project's ViT. The tests compare them with the tensors that autograd keeps, and with the peaks
of a GPU.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from argus_processing.ct_checks import free_memory

from ..generation import device_of
from .evidence import EvidenceSettings

# The rest is for fragments in the allocator, and for what other programs take meanwhile.
USABLE_SHARE = 0.85


@dataclass(frozen=True)
class EvidencePlan:
    """The way in which maps are computed.

    Attributes:
        steps_at_once: points of the path in one forward pass.
        recompute: whether layers are computed again in each backward pass.
        num_bytes: memory that it takes beside the weights.
    """

    steps_at_once: int
    recompute: bool
    num_bytes: int


def llama_layer_bytes(text: Any, size: int) -> int:
    """Return the bytes that one layer of a Llama with frozen weights keeps for one token; `size` is of one number."""
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head_dim, text.num_key_value_heads * head_dim
    norms = 2 * 4 * (text.hidden_size + 1)  # in float32, each with the size of its token
    # Queries and attention output, keys and values; gate, its activation, and up. Attention keeps a float32 a head.
    return norms + size * (2 * queries + 2 * keys + 3 * text.intermediate_size) + 4 * text.num_attention_heads


def unfused_attention_bytes(text: Any, size: int, num_tokens: int) -> int:
    """Return the bytes that a layer of a Llama keeps more for one token where PyTorch has no fused attention.

    So it is on a GPU in float32 (PyTorch 2.11) where several heads share keys: the weights of attention are kept, and
    keys and values for every head, in place of the output.
    """
    heads, groups = text.num_attention_heads, text.num_key_value_heads
    if size != 4 or heads == groups:
        return 0
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    return size * (heads * num_tokens + 2 * (heads - groups) * head_dim - heads * head_dim - heads)


def tower_layer_bytes(vision: Any, size: int) -> int:
    """Return the bytes that one layer of a vision tower with frozen weights keeps for one token."""
    width, heads = vision.hidden_size, vision.num_attention_heads
    inner = heads * (getattr(vision, "head_dim", None) or width // heads)
    widened = getattr(vision, "intermediate_size", None) or 3 * vision.feed_forward_size
    # Inputs of two norms; queries, keys, values and output; what the activation is applied to.
    return size * (2 * width + 4 * inner + widened) + 4 * heads + 16


def num_tower_layers(vision: Any) -> int:
    """Return the number of a tower's layers."""
    if hasattr(vision, "num_spatial_layers"):
        return vision.num_spatial_layers + vision.num_temporal_layers
    return vision.num_hidden_layers


def language_bytes(config: Any, num_tokens: int, num_targets: int, size: int, recompute: bool = False) -> int:
    """Return the bytes that the language model takes for one point of the path, at the peak of its backward pass.

    Args:
        config: the model's `ArgusConfig`.
        num_tokens: of visual tokens, prompt and report.
        num_targets: tokens of the report.
        size: bytes of a number in the model's layers.
        recompute: whether layers keep only their input.
    """
    text = config.get_text_config()
    layer = llama_layer_bytes(text, size) + unfused_attention_bytes(text, size, num_tokens)
    kept = num_tokens * text.num_hidden_layers * (size * text.hidden_size if recompute else layer)
    # A layer that is computed again holds its gradients too; else those of its widest part.
    work = num_tokens * (2 * layer if recompute else 2 * size * text.intermediate_size)
    # Logits; in float32, their logarithms and the gradients of both.
    return kept + work + num_targets * text.vocab_size * (size + 4 * 4)


def tower_bytes(config: Any, size: int, recompute: bool = False) -> int:
    """Return the bytes that tower and connector take for one point of the path; see `language_bytes`."""
    vision = config.get_vision_config()
    layer, tokens = tower_layer_bytes(vision, size), vision.num_tokens
    kept = tokens * num_tower_layers(vision) * (size * vision.hidden_size if recompute else layer)
    # The volume and its gradient, both also in the model's type.
    return kept + tokens * 2 * layer + prod(vision.image_size) * (8 + 2 * size)


def evidence_bytes(
    config: Any,
    num_tokens: int,
    num_targets: int,
    num_sentences: int,
    steps_at_once: int,
    size: int,
    recompute: bool = False,
) -> int:
    """Return the bytes that maps of a report take beside the model's weights, at the peak.

    Tower and language model are passed through one after the other; the tower's part is kept meanwhile.

    Args:
        config: the model's `ArgusConfig`.
        num_tokens: of visual tokens, prompt and report.
        num_targets: tokens of the report.
        num_sentences: sentences with a map.
        steps_at_once: points of the path in one forward pass.
        size: bytes of a number in the model's layers: 2 in half precision, 4 in float32.
        recompute: whether layers keep only their input.
    """
    of_point = language_bytes(config, num_tokens, num_targets, size, recompute) + tower_bytes(config, size, recompute)
    # Of each sentence the gradient by the visual tokens.
    of_point += num_sentences * 4 * num_tokens * config.get_text_config().hidden_size
    # Scan, reference, their difference, the sum of each sentence, and twice what is added to one.
    return steps_at_once * of_point + prod(config.get_vision_config().image_size) * 4 * (5 + num_sentences)


def plan_evidence(
    model: Any, num_tokens: int, num_targets: int, num_sentences: int, settings: EvidenceSettings
) -> EvidencePlan:
    """Choose the most steps at once that fit into the free memory, with layers computed again only if one needs it."""
    size = max(2, torch.empty((), dtype=model.dtype).element_size())
    free = USABLE_SHARE * _free_bytes(device_of(model))
    kinds = (False, True) if settings.recompute is None else (settings.recompute,)
    numbers = range(settings.num_steps, 0, -1) if settings.steps_at_once is None else (settings.steps_at_once,)
    plans = [
        EvidencePlan(
            steps,
            recompute,
            evidence_bytes(model.config, num_tokens, num_targets, num_sentences, steps, size, recompute),
        )
        for recompute in kinds
        for steps in numbers
    ]
    return next((plan for plan in plans if plan.num_bytes <= free), plans[-1])


def _free_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return free_memory()
    free, _ = torch.cuda.mem_get_info(device)
    # What the allocator holds without use is free for it too.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
