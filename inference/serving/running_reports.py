"""Write several reports together, a token of each at a step; between two steps a report begins or ends.

transformers' own continuous batching takes text alone. Here its `generate` prepares each report by itself, with all
that the model's generation configuration asks for; the keys and values of its prompt are then put beside those of the
others, padded on the left, and each step is one forward pass for all of them.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch.nn import functional
from transformers import DynamicCache, EosTokenCriteria, LogitsProcessorList, MaxLengthCriteria, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer

from ..generation import device_of


@dataclass(eq=False)
class RunningReport:
    """A report that is being written.

    Attributes:
        prompt: `(1, P)`, its tokens with the placeholders of the scan.
        choosing: what changes the scores of the next token.
        stopping: what ends it beside its limit and the end tokens.
        limit: most tokens.
        ends: tokens that end it.
        tokens: what is written so far.
    """

    prompt: torch.Tensor
    choosing: LogitsProcessorList
    stopping: StoppingCriteriaList
    limit: int
    ends: set[int]
    tokens: list[int] = field(default_factory=list)

    def is_over(self) -> bool:
        """Return whether its last token is written."""
        if len(self.tokens) >= self.limit or self.tokens[-1] in self.ends:
            return True
        return bool(self.stopping) and bool(self.stopping(self.so_far(), None).all())

    def so_far(self) -> torch.LongTensor:
        """Return `(1, P + T)`, the tokens of prompt and report."""
        return cast(torch.LongTensor, torch.cat([self.prompt, self.prompt.new_tensor([self.tokens])], dim=1))

    def choose(self, logits: torch.Tensor) -> int:
        """Return the next token from its logits `(1, V)`."""
        scores = cast(torch.FloatTensor, logits.float())
        return int((self.choosing(self.so_far(), scores) if self.choosing else scores).argmax())


@dataclass(frozen=True)
class _ReadPrompt:
    """A prompt that `generate` has read: the report that begins, its logits `(1, V)`, and its keys and values."""

    report: RunningReport
    logits: torch.Tensor
    cache: Any


def can_run_together(model: Any) -> bool:
    """Return whether a model's keys and values are of the one kind that reports can be put together with.

    They are not with a static cache, nor where layers keep a sliding window or a state.
    """
    if getattr(model.generation_config, "cache_implementation", None) not in (None, "dynamic"):
        return False
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    return all(type(layer) is DynamicLayer for layer in layers)


class RunningReports:
    """The reports that one model writes together; all methods are called in one thread.

    Args:
        model: one of those that `can_run_together`.
        ends: tokens that end a report.
    """

    def __init__(self, model: Any, ends: set[int]) -> None:
        self._model, self._ends = model, ends
        self.reports: list[RunningReport] = []
        self._cache: Any = None
        self._mask = torch.empty(0, 0, dtype=torch.long)  # (B, L), 1 where a report has keys

    @torch.inference_mode()
    def begin(self, inputs: Any, limit: int) -> RunningReport:
        """Read a prompt with its scan and write the first token; the report is one of these from here on."""
        inputs = inputs.to(device_of(self._model))
        read = self._model.generate(
            **inputs,
            max_new_tokens=limit,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=False,
            custom_generate=partial(_read_prompt, limit=limit, ends=self._ends),
        )
        read.report.tokens.append(read.report.choose(read.logits))
        mask = torch.ones(1, read.cache.get_seq_length(), dtype=torch.long, device=read.logits.device)
        if self.reports:
            longest = max(mask.shape[1], self._mask.shape[1])
            # All are made before one is put in place: where memory ends, those that run stay as they are.
            joined = [
                (_joined(own.keys, new.keys, longest), _joined(own.values, new.values, longest))
                for own, new in zip(self._cache.layers, read.cache.layers, strict=True)
            ]
            for layer, (keys, values) in zip(self._cache.layers, joined, strict=True):
                layer.keys, layer.values = keys, values
            self._mask = torch.cat([_padded(each, longest, 1) for each in (self._mask, mask)])
        else:
            self._cache, self._mask = read.cache, mask
        self.reports.append(read.report)
        return read.report

    @torch.inference_mode()
    def step(self) -> None:
        """Write the next token of every report. If that fails, all stay as they were."""
        mask = functional.pad(self._mask, (0, 1), value=1)
        try:
            outputs = self._model(
                input_ids=mask.new_tensor([[report.tokens[-1]] for report in self.reports]),
                attention_mask=mask,
                position_ids=self._mask.sum(dim=1, keepdim=True),
                past_key_values=self._cache,
                use_cache=True,
                return_dict=True,
            )
            logits = outputs.logits[:, -1]
            if any(report.choosing for report in self.reports):
                tokens = [report.choose(row) for report, row in zip(self.reports, logits.split(1), strict=True)]
            else:
                tokens = logits.float().argmax(dim=-1).tolist()
        except BaseException:
            self._cut(slice(None), slice(self._mask.shape[1]))
            raise
        self._mask = mask
        for report, token in zip(self.reports, tokens, strict=True):
            report.tokens.append(token)

    def end(self, ended: Collection[RunningReport]) -> None:
        """Take reports out."""
        kept = [place for place, report in enumerate(self.reports) if report not in ended]
        if len(kept) == len(self.reports):
            return
        self.reports = [self.reports[place] for place in kept]
        if not kept:
            self._cache, self._mask = None, self._mask[:0]
            return
        mask = self._mask[kept]
        first = int(mask.any(dim=0).int().argmax())  # columns before it are padding of all that stay
        self._mask = mask[:, first:]
        self._cut(kept, slice(first, None))

    def _cut(self, rows: Any, columns: slice) -> None:
        for layer in self._cache.layers:
            if layer.is_initialized:
                layer.keys, layer.values = layer.keys[rows][..., columns, :], layer.values[rows][..., columns, :]


def _read_prompt(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: Any,
    limit: int,
    ends: set[int],
    synced_gpus: bool = False,
    streamer: Any = None,
    **model_inputs: Any,
) -> _ReadPrompt:
    """Take the first step of `generate`, which calls this in place of its own loop."""
    inputs = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **model_inputs)
    outputs = model(**inputs, return_dict=True)
    others = [each for each in stopping_criteria if not isinstance(each, MaxLengthCriteria | EosTokenCriteria)]
    report = RunningReport(input_ids, logits_processor, StoppingCriteriaList(others), limit, ends)
    # A copy, or the logits of the whole prompt would be held.
    return _ReadPrompt(report, outputs.logits[:, -1].clone(), outputs.past_key_values)


def _joined(own: torch.Tensor, new: torch.Tensor, longest: int) -> torch.Tensor:
    return torch.cat([_padded(own, longest, 2), _padded(new, longest, 2)])


def _padded(values: torch.Tensor, longest: int, dimension: int) -> torch.Tensor:
    """Put zeros before the values along a dimension, up to a length."""
    missing = longest - values.shape[dimension]
    if not missing:
        return values
    return functional.pad(values, (0,) * 2 * (values.ndim - dimension - 1) + (missing, 0))
