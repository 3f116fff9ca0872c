"""Choose the engine that writes reports beside transformers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..model_folder import Loading
from .report_engine import ReportEngine
from .vllm.vllm_engine import VllmOptions, check_vllm, parse_engine_options

ENGINES = ("transformers", "vllm")


def vllm_starter(
    loading: Loading, adapter: Path | None, engine_options: Sequence[str]
) -> Callable[[Path, Mapping[str, str]], ReportEngine]:
    """Return the function that starts vLLM behind a server.

    Args:
        loading: how the model is loaded.
        adapter: folder of a LoRA adapter, if one is used.
        engine_options: options of vLLM's engine as NAME=VALUE.

    Raises:
        FileNotFoundError: if the adapter's folder holds no adapter that peft saved.
        ValueError: if vLLM is missing, or an option is not NAME=VALUE.
    """
    options = VllmOptions(loading, adapter, parse_engine_options(engine_options))
    check_vllm()
    from .vllm.vllm_writer import start_vllm

    return partial(start_vllm, options=options)
