"""Load a saved Argus model, and compute the hash that identifies it."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# All files that decide the generated text: weights, configurations (preprocessing too), tokenizer, template.
HASHED_FILES = ("*.safetensors", "*config.json", "tokenizer.json", "chat_template.jinja")
DTYPES = ("float32", "bfloat16", "float16")
BITS = (8, 4)
DEVICE_MAPS = ("auto",)
ACCELERATE_THAT_SPREADS = "1.15"


def check_model_folder(folder: Path, trust: bool = False) -> Path:
    """Return `folder` if it holds a saved model that can be loaded safely.

    Args:
        folder: folder of the model.
        trust: whether the folder's own code may run.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it lacks `config.json` or `.safetensors` weights, or if its files hold settings that no honest
            model has.
    """
    from argus_processing.saved_models.model_folders import REPORT_WRITER, check_model, check_processor

    check_model(_holds_model(Path(folder)), REPORT_WRITER, trust)
    check_processor(Path(folder), trust)
    return Path(folder)


def _holds_model(folder: Path) -> Path:
    from argus_processing.saved_models.missing_models import missing_model
    from argus_processing.saved_models.model_folders import check_entries

    if not folder.is_dir():
        raise missing_model(folder)
    missing = [pattern for pattern in ("config.json", "*.safetensors") if not any(folder.glob(pattern))]
    if missing:
        raise ValueError(f"{folder}: not a saved model, it has no {' and no '.join(missing)}")
    check_entries(folder)
    return folder


def hash_model(folder: Path) -> str:
    """Return the SHA-256 (hex) of a model folder's weights, configurations, tokenizer and chat template."""
    from argus_processing.storage.file_hash import hash_named

    folder = _holds_model(Path(folder))
    return hash_named(folder, sorted({path for pattern in HASHED_FILES for path in folder.glob(pattern)}))


@dataclass(frozen=True)
class Loading:
    """Settings for loading a model that generates.

    Attributes:
        dtype: "float32", "bfloat16" or "float16". Default: the saved dtype on a GPU; float32 on a CPU, where bfloat16
            is slow.
        bits: 8 or 4 loads the language model's linear layers with that many bits (bitsandbytes). The vision tower and
            the connector are not changed.
        static_cache: keep keys and values in a block of fixed size; on a GPU, transformers then compiles the decoding.
        trust: run the code that comes with the folder; an Argus folder needs none.
        device_map: "auto" spreads the model's layers over all GPUs, and over the host's memory and the disk where these
            do not suffice. Default: the whole model on one device.

    Raises:
        ValueError: if a setting is unknown, or bitsandbytes is missing.
    """

    dtype: str | None = None
    bits: int | None = None
    static_cache: bool = False
    trust: bool = False
    device_map: str | None = None

    def __post_init__(self):
        if self.device_map not in (None, *DEVICE_MAPS):
            raise ValueError(f"device_map is {', '.join(DEVICE_MAPS)}, got {self.device_map!r}")
        if self.dtype not in (None, *DTYPES):
            raise ValueError(f"dtype is {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.bits not in (None, *BITS):
            raise ValueError(f"weights have 8 or 4 bits, got {self.bits}")
        if self.bits and find_spec("bitsandbytes") is None:
            raise ValueError("8- and 4-bit weights need bitsandbytes: pip install '.[quantized]'")

    def to_settings(self) -> dict[str, Any]:
        """Return the settings that predictions keep beside them, which older ones without `device_map` share."""
        return {name: value for name, value in asdict(self).items() if name != "device_map" or value is not None}

    def arguments(self, device: str) -> dict[str, Any]:
        """Return the arguments of `from_pretrained`.

        Raises:
            ValueError: if accelerate is too old for a device map.
        """
        if self.device_map:
            _check_accelerate()
        import torch
        from transformers import BitsAndBytesConfig

        default = "auto" if device == "cuda" else torch.float32
        places = self.device_map or {"": device}
        dtype = getattr(torch, self.dtype) if self.dtype else default
        if self.bits is None:
            return {"dtype": dtype, "device_map": places}
        config = BitsAndBytesConfig(
            load_in_8bit=self.bits == 8,
            load_in_4bit=self.bits == 4,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16 if dtype == "auto" else dtype,
            llm_int8_skip_modules=["model.vision_tower", "model.connector", "lm_head"],
        )
        return {"dtype": dtype, "device_map": places, "quantization_config": config}


def _check_accelerate() -> None:
    """Refuse accelerate before 1.15, with which weights of a model that is partly on disk are mixed up."""
    from accelerate.utils import compare_versions

    if compare_versions("accelerate", "<", ACCELERATE_THAT_SPREADS):
        raise ValueError(
            f"device_map needs accelerate {ACCELERATE_THAT_SPREADS} or newer, and this is {version('accelerate')}: "
            f"pip install --upgrade accelerate"
        )


def load_model(folder: Path, loading: Loading | None = None) -> tuple[Any, Any]:
    """Load `(model, processor)` from a local folder, ready to generate.

    Raises:
        FileNotFoundError, ValueError: as `check_model_folder`, or if configuration or weights cannot be read.
    """
    folder, loading = _holds_model(Path(folder)), loading or Loading()
    import torch
    from transformers import AutoModelForImageTextToText

    # This import registers model and processor.
    from argus_processing.saved_models.model_folders import REPORT_WRITER
    from argus_processing.saved_models.pretrained import check_fit, load_pretrained, load_processor

    from .rehearsal import rehearse

    arguments = loading.arguments("cuda" if torch.cuda.is_available() else "cpu")
    model = load_pretrained(AutoModelForImageTextToText, folder, REPORT_WRITER, trust=loading.trust, **arguments)
    processor = load_processor(folder, loading.trust)
    check_fit(folder, model, processor)
    rehearse(folder, model.eval(), processor)
    if loading.static_cache:
        model.generation_config.cache_implementation = "static"
    return model, processor
