"""A saved Argus model: loading it, and the hash that names what it is."""

import hashlib
from pathlib import Path
from typing import Any

# Everything that decides what is generated: weights, configurations (preprocessing too), tokenizer, template.
HASHED_FILES = ("*.safetensors", "*config.json", "tokenizer.json", "chat_template.jinja")
BLOCK_BYTES = 1 << 20


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


def load_model(folder: Path) -> tuple[Any, Any]:
    """Load `(model, processor)` from a local folder, ready to generate.

    On a GPU the weights keep the type they were saved in; on a CPU they become float32, where bfloat16 is slow.

    Raises:
        FileNotFoundError, ValueError: as `check_model_folder`, or if configuration or weights cannot be read.
    """
    folder = check_model_folder(folder)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import argus_processing  # noqa: F401  registers the processor
    import modeling_argus  # noqa: F401  registers the model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "auto" if device == "cuda" else torch.float32
    try:
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except SafetensorError as error:
        raise ValueError(f"{folder}: the weights are damaged ({error}); copy the model again") from error
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    return model.to(device).eval(), processor
