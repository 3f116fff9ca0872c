"""Write reports for the server: one at a time, word by word, stopped when the client leaves."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextStreamer

from argus_processing import CTVolume

from ..generation import Generated, generate_batch
from ..scan_files import ScanNotReadError
from .report_engine import Scan
from .serve_prompts import fit_request
from .serve_requests import ReportRequest


class WritingError(Exception):
    """A report could not be written; the message is only the kind of failure, because its text could quote a scan."""


class _ReaderLeftError(Exception):
    """Raised inside a generation to end it when nobody waits for it."""


class ReportWriter:
    """An engine of one model in this process, whose single thread writes one report at a time."""

    places = 1

    def __init__(self, model: Any, processor: Any, name: str, origin: Mapping[str, str] | None = None):
        self.model, self.processor, self.name = model, processor, name
        self.origin = dict(origin or {})
        self._thread = ThreadPoolExecutor(1, "argus-model")
        # Hooks do not work with compiled decoding.
        self._can_hook = getattr(model.generation_config, "cache_implementation", None) is None

    def fit(self, asked: ReportRequest) -> tuple[int, int]:
        """Return a request's number of tokens and the limit of its report; see `fit_request`."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or (1 << 30)
        return fit_request(self.processor, most, asked)

    def prepare(self, scan: Scan, asked: ReportRequest) -> CTVolume:
        """Return the scan: the model's thread makes its inputs.

        Raises:
            ScanNotReadError: if it is a scan's visual tokens.
        """
        if isinstance(scan, torch.Tensor):
            raise ScanNotReadError("this server takes scans, not embeddings (--engine vllm takes both)")
        return scan

    def is_healthy(self) -> bool:
        """Return true: the model runs in this process."""
        return True

    def metrics(self) -> str:
        """Return nothing: the server counts what there is."""
        return ""

    def close(self) -> None:
        """End the model's thread, without waiting for a report that nobody reads."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def write(
        self,
        volume: CTVolume,
        asked: ReportRequest,
        tell: Callable[[str], None] = lambda words: None,
        gone: threading.Event | None = None,
    ) -> Generated:
        """Write the report of a scan; `tell` is called with its words as they come, and setting `gone` ends it.

        Raises:
            RefusedError: in the same cases as `fit`.
        """
        gone = gone or threading.Event()
        _, limit = self.fit(asked)
        words = _Words(self.processor.tokenizer, asked.stop, tell)
        stopping = StoppingCriteriaList([_Ending(lambda: words.stopped or gone.is_set())])
        with _broken_off(self.model if self._can_hook else torch.nn.Identity(), gone):
            (report,) = generate_batch(
                self.model, self.processor, [volume], [asked.instruction], limit, words, stopping
            )
        return replace(report, text=words.text.strip(), truncated=False) if words.stopped else report

    async def words(
        self, volume: CTVolume, asked: ReportRequest, gone: threading.Event
    ) -> AsyncGenerator[str | Generated, None]:
        """Yield a report's words as they come, and the whole report last; closing the iterator ends the generation.

        Raises:
            WritingError: if the generation fails.
        """
        loop = asyncio.get_running_loop()
        parts: asyncio.Queue[str | Generated | WritingError] = asyncio.Queue()

        def tell(part: str | Generated | WritingError) -> None:
            loop.call_soon_threadsafe(parts.put_nowait, part)

        def work() -> None:
            if gone.is_set():
                return
            try:
                tell(self.write(volume, asked, tell, gone))
            except BaseException as error:  # the panic of a Rust library is not an Exception
                if not gone.is_set():
                    tell(WritingError(type(error).__name__))

        job = self._thread.submit(work)
        try:
            while True:
                part = await parts.get()
                if isinstance(part, WritingError):
                    raise part
                yield part
                if isinstance(part, Generated):
                    return
        finally:
            gone.set()
            job.cancel()


class _Ending(StoppingCriteria):
    """Stopping criterion that ends a generation once `is_over` returns true."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        over = torch.full((len(input_ids),), self._is_over(), dtype=torch.bool, device=input_ids.device)
        return cast(torch.BoolTensor, over)


class _Words(TextStreamer):
    """Streamer that passes words on as they come, up to the first stop text."""

    def __init__(self, tokenizer: Any, stops: tuple[str, ...], tell: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._stops, self._tell, self._told = stops, tell, 0
        self._held = max(map(len, stops), default=1) - 1  # letters that may be the start of a stop text
        self.text, self.stopped = "", False

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Take whole words."""
        if self.stopped:
            return
        self.text += text
        found = [place for stop in self._stops if (place := self.text.find(stop, self._told)) >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True
        whole = stream_end or self.stopped
        ready = len(self.text) if whole else max(self._told, len(self.text) - self._held)
        if ready > self._told:
            self._tell(self.text[self._told : ready])
            self._told = ready


@contextmanager
def _broken_off(model: torch.nn.Module, gone: threading.Event) -> Iterator[None]:
    """Stop a model before its next layer once `gone` is set, because reading a prompt takes longer than one token."""

    def look(*_: Any) -> None:
        if gone.is_set():
            raise _ReaderLeftError

    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    hooks = [layer.register_forward_pre_hook(look) for stack in stacks for layer in stack]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
