"""Compute the memory of a training step by formula: parameters, and activations that autograd keeps of each layer.

The formulas for activations follow the code that runs: transformers' Llama, this project's ViT, and TRL's loss in
tiles. The tests compare them with what `torch.distributed._tools.mem_tracker` measures in a real step of argus-tiny.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from argus_training.stages.recipe import TRAINABLE_PARTS
from modeling_argus import ArgusForConditionalGeneration, preset_config
from modeling_argus.configuration_argus import ArgusConfig

from .sub_configs import text_of, vision_of

# TRL's tile of logits: its most tokens, and its columns, which are all allocated even if the vocabulary is smaller.
TILE_TOKENS = 4096
TILE_COLUMNS = 32768


@dataclass(frozen=True)
class ModelSizes:
    """Number of parameters of the parts of a model.

    Attributes:
        vision: of the vision tower.
        connector: of compressor and projector.
        llm: of the language model with its output layer.
        layer: of one layer of the language model.
        embedding: of the token embeddings, or of the output layer.
        linear: of the language model's linear layers that get adapters.
        adapter_widths: sum of the input and output widths of these layers: the parameters of adapters of rank 1.
    """

    vision: int
    connector: int
    llm: int
    layer: int
    embedding: int
    linear: int
    adapter_widths: int

    @property
    def total(self) -> int:
        """Return the parameters of all parts."""
        return self.vision + self.connector + self.llm

    def trained(self, parts: frozenset[str], rank: int | None) -> int:
        """Return the trained parameters: the named parts, with adapters of a rank in place of the language model."""
        sizes = {"vision": self.vision, "connector": self.connector, "llm": self.llm}
        if rank is not None:
            sizes["llm"] = rank * self.adapter_widths
        return sum(sizes[part] for part in parts)


@dataclass(frozen=True)
class StepShape:
    """Size and precision of what one process computes at a time.

    Attributes:
        micro_batch: number of scans.
        num_tokens: visual and text tokens of a scan.
        num_scored: tokens of a scan whose logits are computed: those of the report on a GPU, all of them on a CPU.
        activation_bytes: bytes per number in a layer: 2 in bfloat16, 4 in float32.
        stream_bytes: bytes per number in the residual stream: 4 under autocast with float32 weights.
        tile_copies: float32 copies of a tile of logits: none in TRL's Triton kernel, seven in its plain form.
    """

    micro_batch: int
    num_tokens: int
    num_scored: int
    activation_bytes: int = 2
    stream_bytes: int = 4
    tile_copies: int = 0


@cache
def model_sizes(preset: str) -> ModelSizes:
    """Count the parameters of a preset, on the meta device."""
    with torch.device("meta"):
        model = ArgusForConditionalGeneration(preset_config(preset))

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    language = model.model.language_model
    linears = [module for module in language.modules() if isinstance(module, nn.Linear)]
    tied = text_of(model.config).tie_word_embeddings
    return ModelSizes(
        vision=count(model.get_submodule(*TRAINABLE_PARTS["vision"])),
        connector=count(model.get_submodule(*TRAINABLE_PARTS["connector"])),
        llm=count(language) + (0 if tied else count(model.lm_head)),
        layer=count(language.layers[0]),
        embedding=count(model.lm_head),
        linear=sum(count(module) for module in linears),
        adapter_widths=sum(module.in_features + module.out_features for module in linears),
    )


def llm_layer_bytes(config: ArgusConfig, shape: StepShape) -> int:
    """Return the bytes that one layer of a Llama keeps for its backward pass, for one scan."""
    text = text_of(config)
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head_dim, text.num_key_value_heads * head_dim
    # Each norm keeps its input and, in float32, the normalised values; the next linear layer keeps the norm's output.
    norms = 2 * text.hidden_size * (shape.stream_bytes + 4 + shape.activation_bytes)
    # Rotated queries and keys, values, attention output; gate, its activation, up, and their product.
    rest = 2 * queries + 2 * keys + 4 * text.intermediate_size
    return shape.num_tokens * (norms + rest * shape.activation_bytes)


def vit_layer_bytes(config: ArgusConfig, shape: StepShape) -> int:
    """Return the bytes that one layer of the ViT keeps for its backward pass, for one scan."""
    vision = vision_of(config)
    width, inner = vision.hidden_size, vision.num_attention_heads * vision.head_dim
    norms = 2 * width * (shape.stream_bytes + shape.activation_bytes)
    return vision.num_tokens * (norms + (4 * inner + 2 * vision.intermediate_size) * shape.activation_bytes)


def kept_bytes(config: ArgusConfig, shape: StepShape, trained: frozenset[str], checkpointing: bool) -> int:
    """Return the bytes that all parts keep for the backward pass: whole layers, or their inputs if checkpointed."""
    text, vision = text_of(config), vision_of(config)
    llm_layer = llm_layer_bytes(config, shape)
    vit_layer = vit_layer_bytes(config, shape)
    if checkpointing:
        llm_layer = shape.num_tokens * text.hidden_size * shape.stream_bytes
        vit_layer = vision.num_tokens * vision.hidden_size * shape.stream_bytes
    final_norm = shape.num_tokens * text.hidden_size * (shape.stream_bytes + 4 + shape.activation_bytes)
    num_voxels = vision.num_channels * vision.image_size[0] * vision.image_size[1] * vision.image_size[2]
    # The batch keeps the volume in float32.
    kept = text.num_hidden_layers * llm_layer + final_norm + 4 * num_voxels
    if "vision" in trained:
        patches = num_voxels * shape.activation_bytes
        last = vision.num_tokens * vision.hidden_size * (shape.stream_bytes + shape.activation_bytes)
        kept += patches + vision.num_hidden_layers * vit_layer + last
    return shape.micro_batch * kept


def loss_bytes(config: ArgusConfig, sizes: ModelSizes, shape: StepShape, head_trains: bool) -> int:
    """Return the bytes that TRL's loss adds: a tile of logits, gradients of hidden states and the head's in float32."""
    scored = shape.micro_batch * shape.num_scored
    text = text_of(config)
    rows = min(scored, TILE_TOKENS)
    tile = rows * TILE_COLUMNS * shape.activation_bytes
    copies = shape.tile_copies * rows * min(text.vocab_size, TILE_COLUMNS) * 4
    hidden = 2 * scored * text.hidden_size * 4
    return tile + copies + hidden + (4 * sizes.embedding if head_trains else 0)


def activation_bytes(
    config: ArgusConfig,
    sizes: ModelSizes,
    shape: StepShape,
    trained: frozenset[str],
    checkpointing: bool,
    head_trains: bool,
) -> int:
    """Return the peak bytes of activations: in the loss, or in a layer that is recomputed for its gradients."""
    layer = max(llm_layer_bytes(config, shape), vit_layer_bytes(config, shape) if "vision" in trained else 0)
    # A layer's gradients take at most half the layer's size more than the activations that are freed meanwhile.
    work = shape.micro_batch * layer * 3 // 2 if checkpointing else 0
    return kept_bytes(config, shape, trained, checkpointing) + max(work, loss_bytes(config, sizes, shape, head_trains))
