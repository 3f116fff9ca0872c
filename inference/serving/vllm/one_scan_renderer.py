"""Refuse in vLLM a request without a scan, and write greedily: a language model alone would invent a report."""

from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig
from vllm.renderers.hf import HfRenderer
from vllm.renderers.params import ChatParams
from vllm.renderers.registry import RENDERER_REGISTRY
from vllm.tokenizers.registry import TokenizerRegistry

ARCHITECTURE, MODE = "ArgusForConditionalGeneration", "argus"


class OneScanRenderer(HfRenderer):
    """Renderer of Hugging Face's tokenizers and templates that refuses a prompt without a scan."""

    def _process_tokens(self, prompt: Any, **options: Any) -> Any:
        _check_scan(prompt)
        return super()._process_tokens(prompt, **options)

    async def _process_tokens_async(self, prompt: Any, **options: Any) -> Any:
        _check_scan(prompt)
        return await super()._process_tokens_async(prompt, **options)

    def warmup(self, chat_params: ChatParams) -> None:
        """Try the preprocessing of scans; vLLM would also render a text without one."""
        self._join_mm_warmup()
        self.warmup_mm()


def _check_scan(prompt: Any) -> None:
    if not prompt.get("multi_modal_data"):
        raise VLLMValidationError("a report takes one scan, as one image_url; got none", parameter="messages")


class GreedyConfig(VerifyAndUpdateConfig):
    """Settings of vLLM for a model of Argus, where the user gave none: temperature 0, and `OneScanRenderer`."""

    @staticmethod
    def verify_and_update_config(vllm_config: Any) -> None:
        """Set them."""
        config = vllm_config.model_config
        config.override_generation_config = {"temperature": 0.0} | config.override_generation_config
        if config.tokenizer_mode in ("auto", "hf"):
            config.tokenizer_mode = MODE


def register_renderer() -> None:
    """Make vLLM use both for models of Argus; a second call does nothing."""
    if MODE not in RENDERER_REGISTRY.renderers:
        RENDERER_REGISTRY.register(MODE, __name__, OneScanRenderer.__name__)
        TokenizerRegistry.register(MODE, *TokenizerRegistry.tokenizers["hf"])
        MODELS_CONFIG_MAP[ARCHITECTURE] = GreedyConfig
