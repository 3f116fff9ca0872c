"""A saved Argus model: loading it, and the hash that names what it is."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Everything that decides what is generated: weights, configurations (preprocessing too), tokenizer, template.
HASHED_FILES = ("*.safetensors", "*config.json", "tokenizer.json", "chat_template.jinja")
BLOCK_BYTES = 1 << 20
DTYPES = ("float32", "bfloat16", "float16")


def check_model_folder(folder: Path) -> Path:
    """Return `folder` if it holds a saved model.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it lacks `config.json` or `.safetensors` weights.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such model folder; give the one that `argus create` or training wrote")
    missing = [pattern for pattern in ("config.json", "*.safetensors") if not any(folder.glob(pattern))]
    if missing:
        raise ValueError(f"{folder}: not a saved model, it has no {' and no '.join(missing)}")
    return folder


def hash_model(folder: Path) -> str:
    """Return the SHA-256 (hex) of a model folder's weights, configurations, tokenizer and chat template."""
    folder = check_model_folder(folder)
    digest = hashlib.sha256()
    for path in sorted({path for pattern in HASHED_FILES for path in folder.glob(pattern)}):
        # Name and size go in too, so that bytes cannot move from one file to the next unseen.
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Loading:
    """How a model is loaded to generate.

    Attributes:
        dtype: "float32", "bfloat16" or "float16"; without it, what was saved on a GPU, and float32 on a CPU, where
            bfloat16 is slow.
        bits: 8 or 4 loads the language model's linear layers so (bitsandbytes); vision and connector stay as they are.
        static_cache: keys and values in a fixed block, which transformers compiles the decoding for on a GPU.

    Raises:
        ValueError: if a setting is unknown, or bitsandbytes is missing.
    """

    dtype: str | None = None
    bits: int | None = None
    static_cache: bool = False

    def __post_init__(self):
        if self.dtype not in (None, *DTYPES):
            raise ValueError(f"dtype is {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.bits not in (None, 8, 4):
            raise ValueError(f"weights have 8 or 4 bits, got {self.bits}")
        if self.bits and find_spec("bitsandbytes") is None:
            raise ValueError("8- and 4-bit weights need bitsandbytes: pip install 'argus-ct[quantized]'")

    def arguments(self, device: str) -> dict[str, Any]:
        """Return the arguments of `from_pretrained`."""
        import torch
        from transformers import BitsAndBytesConfig

        default = "auto" if device == "cuda" else torch.float32
        dtype = getattr(torch, self.dtype) if self.dtype else default
        if self.bits is None:
            return {"dtype": dtype, "device_map": {"": device}}
        config = BitsAndBytesConfig(
            load_in_8bit=self.bits == 8,
            load_in_4bit=self.bits == 4,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16 if dtype == "auto" else dtype,
            llm_int8_skip_modules=["model.vision_tower", "model.connector", "lm_head"],
        )
        return {"dtype": dtype, "device_map": {"": device}, "quantization_config": config}


def load_model(folder: Path, loading: Loading | None = None) -> tuple[Any, Any]:
    """Load `(model, processor)` from a local folder, ready to generate.

    Raises:
        FileNotFoundError, ValueError: as `check_model_folder`, or if configuration or weights cannot be read.
    """
    folder, loading = check_model_folder(folder), loading or Loading()
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import argus_processing  # noqa: F401  registers the processor
    import modeling_argus  # noqa: F401  registers the model

    arguments = loading.arguments("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, **arguments)
    except SafetensorError as error:
        raise ValueError(f"{folder}: the weights are damaged ({error}); copy the model again") from error
    if loading.static_cache:
        model.generation_config.cache_implementation = "static"
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    return model.eval(), processor
