"""Count tokens and floating-point operations of a study in each system, without weights and without a scan.

`torch.utils.flop_counter` counts the vision tower on the meta device; connector and language model are counted by
formula, which the tests compare with it. A multiplication with an addition counts as two. Matrix products, convolutions
and attention are counted; attention of the language model counts half, because a token sees only earlier ones. Norms,
activations and pooling are not counted: they are well under 1%.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedConfig

from modeling_argus.configuration_argus import ArgusConfig
from modeling_argus.connector_argus import ArgusConnector
from modeling_argus.vision_towers_argus import tower_of

from .sub_configs import text_of, vision_of

# Tokens of the chat template and the instruction around the visual tokens.
NUM_PROMPT_TOKENS = 60


@dataclass(frozen=True)
class StudyCost:
    """Cost of one study before the first word of its report.

    Attributes:
        tower_tokens: tokens of the vision tower.
        visual_tokens: tokens that the language model sees after compression.
        encoder_flops: operations of the tower.
        connector_flops: operations of compressor and projector.
        prefill_flops: operations of the language model over visual and prompt tokens.
    """

    tower_tokens: int
    visual_tokens: int
    encoder_flops: int
    connector_flops: int
    prefill_flops: int

    @property
    def total_flops(self) -> int:
        """Return the sum of all three."""
        return self.encoder_flops + self.connector_flops + self.prefill_flops


def linear_flops(num_tokens: int, width_in: int, width_out: int) -> int:
    """Return the operations of a linear layer."""
    return 2 * num_tokens * width_in * width_out


def attention_flops(num_queries: int, num_keys: int, width: int) -> int:
    """Return the operations of scores and weighted sums, without projections; all heads together are `width` wide."""
    return 2 * linear_flops(num_queries, num_keys, width)


def encoder_flops(config: PreTrainedConfig) -> int:
    """Return the operations of a vision tower for one scan, as torch counts them on the meta device."""
    with torch.device("meta"):
        tower = tower_of(config.model_type).model_class(config).eval()
        volume = torch.empty(1, 1, *config.image_size)
    # In its plain form attention is two matrix products, whatever kernels a device has.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        tower(volume)
    return counter.get_total_flops()


def perceiver_flops(config: ArgusConfig) -> int:
    """Return the operations of the Perceiver."""
    width, inner = vision_of(config).hidden_size, config.perceiver_num_heads * config.perceiver_head_dim
    num_latents, num_keys = config.num_latents, vision_of(config).num_tokens + config.num_latents
    layer = (
        linear_flops(num_latents, width, inner)
        + linear_flops(num_keys, width, 2 * inner)
        + attention_flops(num_latents, num_keys, inner)
        + linear_flops(num_latents, inner, width)
        + 2 * linear_flops(num_latents, width, 4 * width)
    )
    return config.perceiver_depth * layer


# A compressor that is not named here only moves or averages numbers, which is not counted.
COMPRESSOR_FLOPS: dict[str, Callable[[ArgusConfig], int]] = {"perceiver": perceiver_flops}


def connector_flops(config: ArgusConfig, num_visual_tokens: int, width: int) -> int:
    """Return the operations of compressor and projector; `width` is the compressor's."""
    hidden_size = text_of(config).hidden_size
    projector = linear_flops(num_visual_tokens, width, hidden_size)
    projector += (config.num_projector_layers - 1) * linear_flops(num_visual_tokens, hidden_size, hidden_size)
    return projector + COMPRESSOR_FLOPS.get(config.compressor, lambda _: 0)(config)


def prefill_flops(config: PreTrainedConfig, num_tokens: int) -> int:
    """Return the operations of a Llama over a prompt, with the logits of the last token only."""
    width, heads = config.hidden_size, config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or width // heads
    layer = (
        2 * linear_flops(num_tokens, width, heads * head_dim)
        + 2 * linear_flops(num_tokens, width, config.num_key_value_heads * head_dim)
        + attention_flops(num_tokens, num_tokens, heads * head_dim) // 2
        + 3 * linear_flops(num_tokens, width, config.intermediate_size)
    )
    return config.num_hidden_layers * layer + linear_flops(1, width, config.vocab_size)


def study_cost(config: ArgusConfig, num_prompt_tokens: int = NUM_PROMPT_TOKENS) -> StudyCost:
    """Compute the cost of a study in a system."""
    with torch.device("meta"):
        connector = ArgusConnector(config)
    visual_tokens = connector.num_tokens
    compressor: Any = connector.compressor
    return StudyCost(
        tower_tokens=vision_of(config).num_tokens,
        visual_tokens=visual_tokens,
        encoder_flops=encoder_flops(vision_of(config)),
        connector_flops=connector_flops(config, visual_tokens, compressor.width),
        prefill_flops=prefill_flops(text_of(config), visual_tokens + num_prompt_tokens),
    )


def train_step_flops(
    config: ArgusConfig, num_text_tokens: int, num_labels: int, trained: frozenset[str], with_adapters: bool
) -> int:
    """Return the operations of one scan's forward and backward pass, without recomputation of activations.

    A trained weight costs three times its forward pass; a frozen weight that gradients pass through, two times; a
    frozen weight with no trained one before it, once. With adapters the language model is frozen; the adapters
    themselves are not counted.
    """
    cost = study_cost(config, num_text_tokens)
    text = text_of(config)
    language = cost.prefill_flops + linear_flops(num_labels - 1, text.hidden_size, text.vocab_size)
    llm_factor = 3 if "llm" in trained and not with_adapters else 2
    vision_factor = 3 if "vision" in trained else 1
    return llm_factor * language + 3 * cost.connector_flops + vision_factor * cost.encoder_flops
