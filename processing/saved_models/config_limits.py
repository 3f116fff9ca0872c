"""Check the values of a model's configuration files before anything is built or run from them.

The rules here depend on the kind of a name or a value and hold for any decoder; rules for single settings are in
`known_settings`.
"""

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from ..storage.foreign_files import ForeignFileError, is_finite, values_of
from .known_settings import CONFIG_DTYPES, MAX_SIZE, refused_settings
from .setting_forms import printable, shown

MAX_LAYERS = 1024  # ten times the layers of the deepest published decoder
MAX_POSITIONS = 1 << 30
MAX_VOXELS = 1 << 28  # four times the paper's high resolution
MAX_NUMBER = 1e12  # published settings stay below 1e11
MAX_ENTRIES = 4096
# Labels, and tokens beside the vocabulary: the longest published lists have 21,843 and 6,400, and each entry takes
# 50 microseconds of processing.
MAX_NAMES = 24_000
MAX_LETTERS = 64 << 10
# For attention and for experts; a kernel of the Hub would be a name with a slash.
IMPLEMENTATIONS = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "grouped_mm",
    "batched_mm",
)
# They name code, another place of weights, or a program that downloads kernels of the Hub.
REFUSED = ("custom_generate", "use_kernels", "kernel_config", "transformers_weights", "trust_remote_code")
# Valid files may have infinities here.
_UNBOUNDED = ("time_step_limit", "model_max_length")
_NAMES = ("id2label", "label2id", "added_tokens_decoder")
_POSITIONS = ("max_position_embeddings", "original_max_position_embeddings", "n_positions")
_LAYERS = re.compile(r"(^|_)(n_|num_)?(layers?|depths?|blocks)$|^num_.*layers$")
_SIZE = re.compile(r"^(num|n)_|_(size|dim|dims|heads|rank|channels|latents|tokens|factor)$|^(image|patch)_size$")
_WHOLE = re.compile(
    r"^num_.*(layers|heads|latents|tokens|channels)$|^(hidden|vocab|intermediate|codebook)_size$|^perceiver_depth$"
)
_POSITIVE = re.compile(r"(_eps|_epsilon)$|^rope_theta$|^voxel_std$")
_NOT_NEGATIVE = re.compile(r"initializer_range$|_std$")
_NUMBER = re.compile(r"(_mean|_std|_range)$")
_ONE_NUMBER = re.compile(r"_eps$|^rope_theta$|^voxel_(mean|std)$")
_SHARE = re.compile(r"_?dropout$|_pdrop$|dropout_prob$")


def check_values(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse values that no valid configuration has.

    Args:
        path: the file, for the message.
        content: content of the file.

    Raises:
        ForeignFileError: naming the file, the setting and what is expected.
    """
    for name, value, expected in refused_settings(path.name, content):
        raise _refusal(path, name, value, expected)
    for name, value in values_of(path, content):
        key = name.rpartition(".")[2]
        if key in REFUSED and value not in (None, False):
            raise ForeignFileError(f"{path}: {printable(name)} is not taken from a model's files; remove it")
        if form := _expected(key, value):
            raise _refusal(path, name, value, form)


def _refusal(path: Path, name: str, value: Any, expected: str) -> ForeignFileError:
    return ForeignFileError(f"{path}: {printable(name)} must be {expected}, got {shown(value)}")


def _expected(key: str, value: Any) -> str | None:
    """Return the expected form of a setting if its value does not have it, else None."""
    if _ONE_NUMBER.search(key) and isinstance(value, list | dict) or key.startswith("voxel_") and value is None:
        return "a number"
    if isinstance(value, bool) or value is None:
        return "a number" if isinstance(value, bool) and _WHOLE.search(key) else None
    if isinstance(value, int | float):
        return _expected_number(key, value)
    if isinstance(value, str):
        return _expected_word(key, value)
    if isinstance(value, list | dict) and len(value) > (most := MAX_NAMES if key in _NAMES else MAX_ENTRIES):
        return f"of at most {most:,} entries"
    if key == "image_size" and isinstance(value, list) and _voxels(value) > MAX_VOXELS:
        return f"a grid of at most {MAX_VOXELS:,} voxels"
    return None


def _voxels(sides: list[Any]) -> int:
    return prod(max(1, side) for side in sides if isinstance(side, int))


def _expected_number(key: str, value: float) -> str | None:
    if not is_finite(value):
        return None if key in _UNBOUNDED else "a finite number"
    if _WHOLE.search(key) and not isinstance(value, int):
        return "a whole number"
    if key == "num_labels" and value > MAX_NAMES:
        return f"at most {MAX_NAMES:,}"
    if abs(value) > MAX_NUMBER and key not in _UNBOUNDED:
        return f"a number of at most {MAX_NUMBER:g}"
    if _LAYERS.search(key) and abs(value) > MAX_LAYERS:
        return f"at most {MAX_LAYERS} (layers)"
    if _SIZE.search(key) and isinstance(value, int) and not (0 if _WHOLE.search(key) else -1) <= value <= MAX_SIZE:
        return f"a whole number of at most {MAX_SIZE:,}"
    if key in _POSITIONS and not 1 <= value <= MAX_POSITIONS:
        return f"a whole number from 1 to {MAX_POSITIONS:,}"
    if _LAYERS.search(key) and _WHOLE.search(key) and value < 0:
        return "a whole number from 0 up"
    if _POSITIVE.search(key) and value <= 0:
        return "above 0"
    if _NOT_NEGATIVE.search(key) and value < 0:
        return "0 or more"
    if _SHARE.search(key) and not 0 <= value <= 1:
        return "from 0 to 1"
    return None


def _expected_word(key: str, value: str) -> str | None:
    if _WHOLE.search(key):
        return "a whole number"
    if _POSITIVE.search(key) or _NUMBER.search(key):
        return "a number"
    if key in ("dtype", "torch_dtype") and value.removeprefix("torch.") not in CONFIG_DTYPES:
        return f"one of {', '.join(CONFIG_DTYPES)}"
    if key.endswith(("attn_implementation", "experts_implementation")) and value not in IMPLEMENTATIONS:
        return f"one of {', '.join(IMPLEMENTATIONS)}"
    # Chat templates have a check of their own.
    if len(value) > MAX_LETTERS and key != "chat_template":
        return f"of at most {MAX_LETTERS:,} letters"
    return None
