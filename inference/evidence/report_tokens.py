"""Compute the log-probability of each token of a report that is already written, given visual tokens."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from argus_processing.report_text import sentence_spans


@dataclass(frozen=True)
class ReportTokens:
    """A prompt and a report as tokens.

    Attributes:
        input_ids: `(1, L)`: the prompt with its placeholders, and the report without its last token.
        targets: `(T,)`: the tokens of the report.
        spans: start and end of each sentence in the report's text.
        tokens: of each sentence, its places in `targets`.
    """

    input_ids: torch.Tensor
    targets: torch.Tensor
    spans: tuple[tuple[int, int], ...]
    tokens: tuple[tuple[int, ...], ...]

    def log_probs(self, model: Any, features: torch.Tensor) -> torch.Tensor:
        """Return the log-probability of every token of the report, `(B, T)` float32.

        `features` `(B, num_tokens, hidden_size)` are the visual tokens of one volume or several.
        """
        count = len(self.targets)
        device = self.input_ids.device
        outputs = model(
            input_ids=self.input_ids.expand(len(features), -1),
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
            logits_to_keep=count,
            use_cache=False,
        )
        targets = self.targets.to(outputs.logits.device).expand(len(features), -1)
        scores = outputs.logits.float().log_softmax(dim=-1).gather(2, targets[..., None])[..., 0]
        return scores.to(device)


def tokens_of_report(processor: Any, prompt_ids: torch.Tensor, report: str) -> ReportTokens:
    """Return the tokens of a report after the prompt `(1, P)`, and the sentence of each.

    A token belongs to the sentence that its last letter is in; marks between sentences belong to none.

    Raises:
        ValueError: if the report is empty, or the tokenizer does not tell where its tokens are in a text.
    """
    tokenizer = processor.tokenizer
    if not tokenizer.is_fast:
        raise ValueError("evidence needs a fast tokenizer (tokenizer.json), which tells where its tokens are in a text")
    if not report.strip():
        raise ValueError("the report is empty: there is no sentence to explain")
    encoded = tokenizer(report, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    spans = sentence_spans(report)
    # A letter of several bytes may be several tokens, each of which covers it.
    ends = [max(start, end - 1) for start, end in offsets]
    tokens = tuple(tuple(place for place, at in enumerate(ends) if start <= at < end) for start, end in spans)
    kept = [(span, own) for span, own in zip(spans, tokens, strict=True) if own]
    targets = torch.tensor(ids, device=prompt_ids.device)
    return ReportTokens(
        input_ids=torch.cat([prompt_ids, targets[None, :-1]], dim=1),
        targets=targets,
        spans=tuple(span for span, _ in kept),
        tokens=tuple(own for _, own in kept),
    )
