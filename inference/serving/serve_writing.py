"""Write reports for the server: those that wait together, word by word, each ended when its client leaves."""

import asyncio
import copy
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from transformers import BatchFeature, StoppingCriteria, StoppingCriteriaList, TextStreamer

from ..generation import UNFINISHED_LETTER, Generated, decode_report, end_tokens, generate_from
from ..scan_files import ScanNotReadError
from .report_engine import Scan
from .running_reports import RunningReport, RunningReports, can_run_together
from .serve_prompts import fit_request, prompt_tokens
from .serve_requests import ReportRequest

PLACES = 16


class WritingError(Exception):
    """A report could not be written; the message is only the kind of failure, because its text could quote a scan."""


class _ReaderLeftError(Exception):
    """Raised inside a generation to end it when nobody waits for it."""


@dataclass(eq=False)
class _Job:
    """A report that somebody waits for; `tell` is called with its words, then with the whole report or an error."""

    inputs: BatchFeature
    limit: int
    words: "_Words | None"
    tell: Callable[[str | Generated | WritingError], None]
    gone: threading.Event

    def fail(self, error: BaseException) -> None:
        """Tell of a failure, unless it is that the reader left."""
        if not self.gone.is_set():
            self.tell(WritingError(type(error).__name__))

    def take(self, token: int) -> None:
        """Take the next token."""
        if self.words is not None:
            self.words.put(torch.tensor([token]))

    def is_stopped(self) -> bool:
        """Return whether the report has come to a stop text, or nobody waits for it."""
        return self.gone.is_set() or (self.words is not None and self.words.stopped)


class ReportWriter:
    """An engine of one model in this process, whose single thread writes several reports together.

    With a static cache, and where layers of the model keep a sliding window or a state, it writes one at a time.

    Args:
        model, processor: the model's.
        name: for clients.
        origin: see `ReportEngine`.
        places: most reports that are written together.
    """

    def __init__(
        self, model: Any, processor: Any, name: str, origin: Mapping[str, str] | None = None, places: int = PLACES
    ):
        self.model, self.processor, self.name = model, processor, name
        self.origin = dict(origin or {})
        self.places = places if can_run_together(model) else 1
        self._ends = end_tokens(model)
        # A tokenizer of its own: one that two threads use at a time refuses one of them.
        self._preparing, self._tokenizing = copy.deepcopy(processor), threading.Lock()
        self._thread, self._queue = ThreadPoolExecutor(1, "argus-model"), threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._is_working = False

    def fit(self, asked: ReportRequest) -> tuple[int, int]:
        """Return a request's number of tokens and the limit of its report; see `fit_request`."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or (1 << 30)
        return fit_request(self.processor, most, asked)

    def prepare(self, scan: Scan, asked: ReportRequest) -> BatchFeature:
        """Make the model's inputs; several threads may do so while the model writes.

        Raises:
            ScanNotReadError: if it is a scan's visual tokens.
        """
        if isinstance(scan, torch.Tensor):
            raise ScanNotReadError("this server takes scans, not embeddings (--engine vllm takes both)")
        processor = self._preparing
        with self._tokenizing:
            tokens = prompt_tokens(processor, asked.instruction)
        place, visual = tokens.index(processor.image_token_id), processor.num_image_tokens
        tokens[place : place + 1] = [processor.image_token_id] * visual
        ids = torch.tensor([tokens])
        pixel_values = processor.image_processor(scan, return_tensors="pt")["pixel_values"].to(self.model.dtype)
        return BatchFeature({"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixel_values})

    def is_healthy(self) -> bool:
        """Return true: the model runs in this process."""
        return True

    def metrics(self) -> str:
        """Return nothing: the server counts what there is."""
        return ""

    def close(self) -> None:
        """End the model's thread, without waiting for a report that nobody reads."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def words(
        self, inputs: BatchFeature, asked: ReportRequest, gone: threading.Event
    ) -> AsyncGenerator[str | Generated, None]:
        """Yield a report's words as they come, and the whole report last; closing the iterator ends the generation.

        Only a stream has words before the whole report.

        Raises:
            WritingError: if the generation fails.
        """
        loop = asyncio.get_running_loop()
        parts: asyncio.Queue[str | Generated | WritingError] = asyncio.Queue()

        def tell(part: str | Generated | WritingError) -> None:
            loop.call_soon_threadsafe(parts.put_nowait, part)

        _, limit = self.fit(asked)
        words = None
        if asked.stream or asked.stop:
            # Only `generate` itself passes the prompt on.
            words = _Words(self.processor.tokenizer, asked.stop, tell, skip_prompt=self.places == 1)
        self._add(_Job(inputs, limit, words, tell, gone))
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

    def _add(self, job: _Job) -> None:
        with self._queue:
            self._waiting.append(job)
            if not self._is_working:
                self._thread.submit(self._work)
                self._is_working = True

    def _next(self, running: int) -> _Job | None:
        """Return the next job if there is place for it; without any and with none running, the work is over."""
        with self._queue:
            while self._waiting and running < self.places:
                job = self._waiting.popleft()
                if not job.gone.is_set():
                    return job
            self._is_working = running > 0
            return None

    def _work(self) -> None:
        """Write reports until nobody waits for one. This runs in the model's thread."""
        together, jobs = RunningReports(self.model, self._ends), dict[RunningReport, _Job]()
        # One prompt is read between two steps, so that the others' words go on meanwhile.
        while (job := self._next(len(jobs))) is not None or jobs:
            try:
                if job is not None:
                    self._begin(job, together, jobs)
                self._end_those_over(together, jobs)
                if jobs:
                    self._step(together, jobs)
                    self._end_those_over(together, jobs)
            except BaseException as error:  # even there is no memory to take a report out
                for each in jobs.values():
                    each.fail(error)
                together, jobs = RunningReports(self.model, self._ends), {}

    def _begin(self, job: _Job, together: RunningReports, jobs: dict[RunningReport, _Job]) -> None:
        try:
            if self.places == 1:
                self._write_alone(job)
                return
            with _broken_off(self.model, job.gone):
                report = together.begin(job.inputs, job.limit)
            jobs[report] = job
            job.take(report.tokens[-1])
        except BaseException as error:  # the panic of a Rust library is not an Exception
            job.fail(error)

    def _step(self, together: RunningReports, jobs: dict[RunningReport, _Job]) -> None:
        """Write a token of each report; if that fails, the youngest is given up, for memory may not suffice for all."""
        try:
            together.step()
        except BaseException as error:
            last = together.reports[-1]
            together.end([last])
            jobs.pop(last).fail(error)
            return
        for report, job in jobs.items():
            try:
                job.take(report.tokens[-1])
            except BaseException as error:
                job.fail(error)
                job.gone.set()

    def _end_those_over(self, together: RunningReports, jobs: dict[RunningReport, _Job]) -> None:
        over = [report for report, job in jobs.items() if report.is_over() or job.is_stopped()]
        together.end(over)
        for report in over:
            job = jobs.pop(report)
            try:
                if not job.gone.is_set():
                    self._finish(job, decode_report(self.processor, report.tokens, report.ends))
            except BaseException as error:
                job.fail(error)

    def _write_alone(self, job: _Job) -> None:
        stopping = StoppingCriteriaList([_Ending(job.is_stopped)])
        # Hooks do not work with compiled decoding.
        can_hook = getattr(self.model.generation_config, "cache_implementation", None) is None
        with _broken_off(self.model if can_hook else torch.nn.Identity(), job.gone):
            (report,) = generate_from(
                self.model, self.processor, job.inputs, job.limit, streamer=job.words, stopping=stopping
            )
        self._finish(job, report)

    def _finish(self, job: _Job, report: Generated) -> None:
        words = job.words
        if words is not None:
            words.end()
            if words.stopped:
                report = replace(report, text=words.text.strip(), num_tokens=words.num_tokens, truncated=False)
        job.tell(report)


class _Ending(StoppingCriteria):
    """Stopping criterion that ends a generation once `is_over` returns true."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        over = torch.full((len(input_ids),), self._is_over(), dtype=torch.bool, device=input_ids.device)
        return cast(torch.BoolTensor, over)


class _Words(TextStreamer):
    """Streamer that passes words on as they come, up to the first stop text."""

    def __init__(self, tokenizer: Any, stops: tuple[str, ...], tell: Callable[[str], None], skip_prompt: bool) -> None:
        super().__init__(tokenizer, skip_prompt=skip_prompt, skip_special_tokens=True)
        self._stops, self._tell, self._told = stops, tell, 0
        self._held = max(map(len, stops), default=1) - 1  # letters that may be the start of a stop text
        self.text, self.stopped = "", False
        self._tokens: list[int] = []

    def put(self, value: torch.Tensor) -> None:
        """Take the next token, or the prompt."""
        if not (self.skip_prompt and self.next_tokens_are_prompt):
            self._tokens += value.flatten().tolist()
        super().put(value)

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens up to the one that completes a stop text; a word is whole only tokens later."""
        count = len(self._tokens)
        while any(stop in self._decoded(count - 1) for stop in self._stops):
            count -= 1
        return count

    def _decoded(self, count: int) -> str:
        return str(self.tokenizer.decode(self._tokens[:count], skip_special_tokens=True))

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Take whole words."""
        if self.stopped:
            return
        self.text += text.removesuffix(UNFINISHED_LETTER) if stream_end else text
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
