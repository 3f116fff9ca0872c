"""Write reports for the server in vLLM: as many together as it has places, each word by word."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from prometheus_client import generate_latest
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.metrics.prometheus import get_prometheus_registry

from ...generation import Generated
from ..report_engine import Scan
from ..serve_prompts import fit_request
from ..serve_requests import ReportRequest
from ..serve_writing import WritingError
from .vllm_engine import VllmOptions, adapter_request, start_engine
from .vllm_prompts import VllmPrompts


class VllmWriter:
    """An engine of vLLM, which runs the model in processes of its own and batches reports token by token."""

    def __init__(
        self, engine: Any, processor: Any, name: str, origin: Mapping[str, str] | None = None, adapter: Any = None
    ):
        self._engine, self._processor, self._adapter = engine, processor, adapter
        self.name = name
        self.origin: Mapping[str, str] = dict(origin or {})
        model = engine.model_config
        self.places: int = engine.vllm_config.scheduler_config.max_num_seqs
        self._most: int = model.max_model_len
        self._prompts = VllmPrompts(processor, model.get_inputs_embeds_size(), model.dtype)

    def fit(self, asked: ReportRequest) -> tuple[int, int]:
        """Return a request's number of tokens and the limit of its report; see `fit_request`."""
        return fit_request(self._processor, self._most, asked)

    def prepare(self, scan: Scan, asked: ReportRequest) -> dict[str, Any]:
        """Preprocess a scan; see `VllmPrompts.prompt`."""
        return self._prompts.prompt(scan, asked.instruction)

    async def words(
        self, prepared: dict[str, Any], asked: ReportRequest, gone: Event
    ) -> AsyncGenerator[str | Generated, None]:
        """Yield a report's words as they come, and the whole report last; closing the iterator ends the generation.

        Raises:
            WritingError: if the generation fails.
        """
        _, limit = self.fit(asked)
        sampling = SamplingParams(
            temperature=0.0, max_tokens=limit, stop=list(asked.stop), output_kind=RequestOutputKind.DELTA
        )
        parts: list[str] = []
        num_tokens, reason = 0, None
        try:
            answers = self._engine.generate(prepared, sampling, uuid4().hex, lora_request=self._adapter)
            async with aclosing(answers):
                async for answer in answers:
                    (output,) = answer.outputs
                    num_tokens += len(output.token_ids)
                    reason = output.finish_reason
                    # The token that ends a report is no part of it; a stop text was written by ordinary tokens.
                    num_tokens -= reason == "stop" and not isinstance(output.stop_reason, str)
                    if output.text:
                        parts.append(output.text)
                        yield output.text
        except Exception as error:
            raise WritingError(type(error).__name__) from None
        yield Generated("".join(parts).strip(), num_tokens, truncated=reason == "length")

    def is_healthy(self) -> bool:
        """Return whether vLLM's processes live."""
        return not self._engine.errored

    def metrics(self) -> str:
        """Return vLLM's own numbers."""
        return generate_latest(get_prometheus_registry()).decode()

    def close(self) -> None:
        """End vLLM's processes."""
        self._engine.shutdown()


def start_vllm(model_dir: Path, origin: Mapping[str, str], options: VllmOptions) -> VllmWriter:
    """Start vLLM on a model folder."""
    engine, processor = start_engine(model_dir, options)
    name = Path(model_dir).resolve().name
    return VllmWriter(engine, processor, name, origin, adapter_request(options.adapter))
