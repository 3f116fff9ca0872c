"""Define strategies to distribute training over GPUs; compute weights, gradients and optimizer states on one of them.

T parameters train and F are frozen, on N GPUs. PyTorch keeps trained weights in float32 and casts them to bfloat16
for use; DeepSpeed keeps them in bfloat16, with a float32 master copy beside AdamW's two moments.
"""

from dataclasses import dataclass

from .training_memory import ModelSizes

# Bytes of a 4-bit weight with its doubly quantized scale (arXiv 2305.14314, section 3).
FOUR_BIT_BYTES = 4.127 / 8
# Elements that training/accelerate_configs/zero*.json lets DeepSpeed gather or reduce at a time.
ZERO_BUCKET = 200_000_000
ZERO_LIVE = 1_000_000_000


@dataclass(frozen=True)
class Strategy:
    """A way to train: how it is distributed, and whether adapters are trained in place of the language model.

    Attributes:
        name: as `argus plan` prints it.
        config: file in training/accelerate_configs/ without its ending.
        with_adapters: LoRA on the language model.
        in_four_bits: QLoRA.
    """

    name: str
    config: str
    with_adapters: bool = False
    in_four_bits: bool = False


STRATEGIES = (
    Strategy("DDP", "ddp"),
    Strategy("ZeRO-2", "zero2"),
    Strategy("ZeRO-3", "zero3"),
    Strategy("ZeRO-3 + CPU offload", "zero3_offload"),
    Strategy("FSDP2", "fsdp2"),
    Strategy("DDP, LoRA", "ddp", with_adapters=True),
    Strategy("ZeRO-3, LoRA", "zero3", with_adapters=True),
    Strategy("FSDP2, LoRA", "fsdp2", with_adapters=True),
    Strategy("DDP, QLoRA", "ddp", with_adapters=True, in_four_bits=True),
)


@dataclass(frozen=True)
class States:
    """Bytes on one GPU before activations, and in the host's memory for all its GPUs together.

    `working` is the part that is gathered, cast or reduced at a time.
    """

    weights: int
    gradients: int
    optimizer: int
    working: int
    host: int = 0

    @property
    def total(self) -> int:
        """Return all bytes on the GPU."""
        return self.weights + self.gradients + self.optimizer + self.working


def states(strategy: Strategy, sizes: ModelSizes, trained: frozenset[str], rank: int, num_gpus: int) -> States:
    """Compute the bytes of a strategy on each of `num_gpus` GPUs; for `host`, all of them are on one host."""
    adapts = strategy.with_adapters and "llm" in trained
    num_trained = sizes.trained(trained, rank if adapts else None)
    in_full = sizes.trained(trained - {"llm"} if adapts else trained, None)
    frozen = 2 * (sizes.total - in_full)
    if strategy.in_four_bits and adapts:
        frozen -= int((2 - FOUR_BIT_BYTES) * sizes.linear)
    return _COUNTS[strategy.config](sizes, num_trained, frozen, num_gpus)


def _ddp(sizes: ModelSizes, num_trained: int, frozen: int, num_gpus: int) -> States:
    # Working memory: a second copy of gradients in the buckets, and of trained weights in bfloat16 under autocast.
    buckets = 4 * num_trained if num_gpus > 1 else 0
    return States(4 * num_trained + frozen, 4 * num_trained, 8 * num_trained, buckets + 2 * num_trained)


def _fsdp2(sizes: ModelSizes, num_trained: int, frozen: int, num_gpus: int) -> States:
    shard = num_trained // num_gpus
    # Working memory: the current layer and the next, with the gradients of one; the embeddings and the output layer.
    gathered = 2 * (3 * sizes.layer + 2 * sizes.embedding)
    return States(4 * shard + frozen // num_gpus, 4 * shard, 8 * shard, gathered)


def _zero2(sizes: ModelSizes, num_trained: int, frozen: int, num_gpus: int) -> States:
    shard = num_trained // num_gpus
    return States(2 * num_trained + frozen, 2 * shard, 12 * shard, 4 * min(num_trained, ZERO_BUCKET))


def _zero3(sizes: ModelSizes, num_trained: int, frozen: int, num_gpus: int) -> States:
    shard = num_trained // num_gpus
    return States(2 * shard + frozen // num_gpus, 2 * shard, 12 * shard, _zero3_working(sizes))


def _zero3_offload(sizes: ModelSizes, num_trained: int, frozen: int, num_gpus: int) -> States:
    return States(0, 0, 0, _zero3_working(sizes), host=16 * num_trained + frozen)


def _zero3_working(sizes: ModelSizes) -> int:
    """Return the bytes of weights gathered at a time and of a bucket of gradients, a layer's or the embeddings'."""
    return 2 * min(sizes.total, ZERO_LIVE) + 2 * max(sizes.layer, sizes.embedding)


# file in training/accelerate_configs/ -> function (sizes, trained, bytes of frozen weights, GPUs) to its `States`
_COUNTS = {"ddp": _ddp, "fsdp2": _fsdp2, "zero2": _zero2, "zero3": _zero3, "zero3_offload": _zero3_offload}
