"""Run Argus in vLLM: the plugin that vLLM loads, the engine behind `argus serve` and `argus evaluate`."""


def register() -> None:
    """Make vLLM know Argus's configuration, processor, model and how a scan is fetched.

    vLLM calls this in each of its processes, by the entry point `vllm.general_plugins`; more than once does no harm.
    """
    from ...scan_process import end_with_parent

    # vLLM's processes would live on after a server that was killed, and hold its GPU's memory.
    end_with_parent()
    from vllm import ModelRegistry

    import argus_processing  # noqa: F401  registers configuration, model and processor

    from . import scan_connector  # noqa: F401  registers the media connector "argus"
    from .one_scan_renderer import ARCHITECTURE, register_renderer

    register_renderer()
    # By name: the model's file is imported only where a model is loaded.
    ModelRegistry.register_model(ARCHITECTURE, f"{__name__}.vllm_model:{ARCHITECTURE}")
