"""Compute GREEN: a language model compares a report with its reference and counts matched findings and errors.

Ostmeier et al., "GREEN: Generative Radiology Report Evaluation and Error Notation" (EMNLP Findings 2024). Its package
`green-score` is not on PyPI, so this module runs the model with the published prompt and conversation format. Score of
a report = matched findings / (matched findings + clinically significant errors).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..metric import Metric, MetricScores, mean_of_reports
from .clinical_answers import ClinicalModel, KeptModel, pair_up
from .clinical_weights import ClinicalOptions, MissingWeightsError, Weights, identify, missing_metric
from .green_prompt import CONVERSATION, PROMPT

WEIGHTS = Weights("StanfordAIMI/GREEN-radllama2-7b", "GREEN-radllama2-7b")
NAME = "GREEN"
COMPAT_WORDS = 300  # the published code cuts a report after this many words
MAX_NEW_TOKENS = 2048
SIGNIFICANT, MATCHED = "Clinically Significant Errors", "Matched Findings"
# The model names the kinds of error by letters; the GPT-4 answers that it was trained on sometimes use numbers.
KINDS = "abcdef"
_COUNT = re.compile(r": (\d+)\.")
_MATCHED_COUNT = re.compile(r"(\d+)\.")


@dataclass(frozen=True)
class GreenCounts:
    """The counts in one answer.

    Attributes:
        matched: number of findings that report and reference share.
        errors: numbers of clinically significant errors of the kinds (a) to (f): false finding, missing finding, wrong
            place, wrong severity, comparison that is not in the reference, comparison left out.
        parsed: whether every count was found; a count that was not found is 0, as in the published code.
    """

    matched: int
    errors: tuple[int, ...]
    parsed: bool

    @property
    def score(self) -> float:
        """Return matched / (matched + errors), or 0 if nothing matches."""
        return self.matched / (self.matched + sum(self.errors)) if self.matched else 0.0


def parse_answer(answer: str) -> GreenCounts:
    """Read the counts from the model's answer.

    A section that says "No errors" or "None" gives 0 and counts as parsed; a missing section gives 0 and counts as not
    parsed.
    """
    answer = _last_answer(answer)
    significant, matched = _section(answer, SIGNIFICANT), _section(answer, MATCHED)
    errors, errors_parsed = _count_errors(significant)
    count = _MATCHED_COUNT.match(matched or "")
    matched_parsed = count is not None or (matched or "").startswith("No")
    return GreenCounts(int(count[1]) if count else 0, errors, errors_parsed and matched_parsed)


def list_findings(answer: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the findings that an answer names: the matched ones, and the clinically significant errors by kind."""
    answer = _last_answer(answer)
    errors = {
        line[1] if line[1] in KINDS else KINDS[int(line[1]) - 1]: _listed(_COUNT, line)
        for line in _error_lines(_section(answer, SIGNIFICANT) or "")
    }
    return _listed(_MATCHED_COUNT, _section(answer, MATCHED) or ""), errors


def _listed(count: re.Pattern[str], line: str) -> list[str]:
    """Return the findings after the count of a line, without their last full stop."""
    found = count.search(line)
    named = line[found.end() :].replace("</s>", "").split(";") if found and int(found[1]) else []
    return [finding for each in named if (finding := each.strip().rstrip("."))]


def _last_answer(answer: str) -> str:
    return answer.rsplit("<|assistant|>", 1)[-1].rsplit("[Explanation]:", 1)[-1]


def _section(answer: str, title: str) -> str | None:
    """Return the text under a title, up to the next empty line."""
    found = re.search(rf"\[{title}\]:\s*(.*?)(?:\n\s*\n|\Z)", answer, re.DOTALL)
    return found[1] if found else None


def _count_errors(section: str | None) -> tuple[tuple[int, ...], bool]:
    """Return the count of each kind, and whether all lines of the section had a count."""
    if section is None:
        return (0,) * len(KINDS), False
    if section.startswith("No"):
        return (0,) * len(KINDS), True
    lines = _error_lines(section)
    counts, parsed = [0] * len(KINDS), bool(lines)
    for line in lines:
        kind = KINDS.index(line[1]) if line[1] in KINDS else int(line[1]) - 1
        number = _COUNT.search(line)
        parsed = parsed and number is not None
        counts[kind] = int(number[1]) if number else counts[kind]
    return tuple(counts), parsed


def _error_lines(section: str) -> list[str]:
    return sorted(re.findall(r"\([a-f]\) .*", section)) or sorted(re.findall(r"\([1-6]\) .*", section))


class GreenModel:
    """The language model that answers about pairs of reports; decoding is greedy, so that answers are repeatable.

    Args:
        path: folder of the model and its tokenizer.
        batch_size: number of pairs that the model reads together.
        max_new_tokens: length in tokens at which an answer is cut.
    """

    def __init__(self, path: Path, batch_size: int, max_new_tokens: int = MAX_NEW_TOKENS):
        import torch
        from transformers import AutoModelForCausalLM

        from argus_processing.saved_models.model_folders import LANGUAGE_MODEL
        from argus_processing.saved_models.pretrained import load_pretrained, load_tokenizer, refusing

        device = "cuda" if torch.cuda.is_available() else "cpu"
        # The published code uses float16; on a CPU that is slower than bfloat16.
        dtype = torch.float16 if device == "cuda" else torch.bfloat16
        self._model = load_pretrained(AutoModelForCausalLM, path, LANGUAGE_MODEL, dtype=dtype).to(device).eval()
        self._tokenizer = load_tokenizer(path)
        self._batch_size, self._max_new_tokens = batch_size, max_new_tokens
        if self._tokenizer.bos_token_id is None or self._tokenizer.eos_token_id is None:
            raise ValueError(f"{path}: its tokenizer has no mark of the start or the end; this is not the GREEN model")
        with refusing(path, "this is not the GREEN model"):
            frame = self._try()
        self._room = self._model.config.max_position_embeddings - max_new_tokens - frame
        if self._room < 2:
            raise ValueError(
                f"{path}: {self._model.config.max_position_embeddings} positions do not hold a prompt of {frame} and "
                f"an answer of {max_new_tokens} tokens; this is not the GREEN model"
            )

    def _try(self) -> int:
        """Write one token, so that an error shows at loading; return the number of tokens in an empty prompt.

        Raises:
            ValueError: if the tokenizer has tokens that the model does not have.
        """
        import torch

        frame = self.encode("", "")
        if max(frame) >= self._model.config.vocab_size:
            raise ValueError(f"its tokenizer gives token {max(frame)}, which the model does not have")
        self._token_ends(PROMPT)
        with torch.inference_mode():
            self._generate([frame[-1:], frame[-2:]], 1)
        return len(frame)

    def encode(self, prediction: str, reference: str) -> list[int]:
        """Return the token ids of the conversation, with the same start and end as in the published code."""
        tokenizer = self._tokenizer
        prompt = PROMPT.format(reference=reference, prediction=prediction)
        text = CONVERSATION.format(prompt=prompt, end=tokenizer.eos_token)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]

    def answer(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each (prediction, reference) the `text` of the answer, and whether the pair was `cut` to fit."""
        import torch

        fitted = [self._fit(*pair) for pair in pairs]
        prompts = [self.encode(prediction, reference) for prediction, reference, _ in fitted]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers: dict[int, str] = {}
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            with torch.inference_mode():
                answers |= zip(
                    batch, self._generate([prompts[index] for index in batch], self._max_new_tokens), strict=True
                )
        return [{"text": answers[index], "cut": cut} for index, (*_, cut) in enumerate(fitted)]

    def _generate(self, prompts: list[list[int]], max_new_tokens: int) -> list[str]:
        import torch

        tokenizer = self._tokenizer
        longest = max(map(len, prompts))
        padded = [[tokenizer.eos_token_id] * (longest - len(ids)) + ids for ids in prompts]
        mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
        output = self._model.generate(
            input_ids=torch.tensor(padded, device=self._model.device),
            attention_mask=torch.tensor(mask, device=self._model.device),
            do_sample=False,
            temperature=None,
            top_p=None,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        return tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)

    def _fit(self, prediction: str, reference: str) -> tuple[str, str, bool]:
        """Cut the longer report, or both to half the room, if the two do not fit into the model's positions."""
        ends = [self._token_ends(text) for text in (prediction, reference)]
        if len(ends[0]) + len(ends[1]) <= self._room:
            return prediction, reference, False
        half = self._room // 2
        keep = [max(half, self._room - len(other)) for other in reversed(ends)]
        texts = zip((prediction, reference), ends, keep, strict=True)
        cut = [text[: end[limit - 1]] if len(end) > limit else text for text, end, limit in texts]
        return cut[0], cut[1], True

    def _token_ends(self, text: str) -> list[int]:
        """Return the place in the text at which each token ends."""
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [end for _, end in encoded.offset_mapping]


def score_green(
    predictions: Sequence[str], references: Sequence[str], model: ClinicalModel, max_words: int | None
) -> MetricScores:
    """Compute GREEN (0 to 100) of reports cut at `max_words`.

    The flags mark answers that could not be parsed, and pairs that were cut to fit the model.
    """
    pairs = [
        [" ".join(text.split()[:max_words]) if max_words else text for text in pair]
        for pair in pair_up(predictions, references)
    ]
    answers = model.answer(pairs)
    parsed = [parse_answer(answer["text"]) for answer in answers]
    flags = {"unparsed": [not counts.parsed for counts in parsed], "cut": [answer["cut"] for answer in answers]}
    return mean_of_reports([100.0 * counts.score for counts in parsed], flags)


def green_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return GREEN, on full reports unless the options ask for the published cut."""
    try:
        path = WEIGHTS.find(options)
    except MissingWeightsError as error:
        return {NAME: missing_metric(f"green|model:{WEIGHTS.repo_id}", str(error))}
    max_words = COMPAT_WORDS if options.green_compat else None
    signature = f"green|argus:1|model:{WEIGHTS.repo_id}|weights:{identify(path)}|words:{max_words or 'all'}|unparsed:0"
    model = KeptModel(options.answers, signature, NAME, partial(GreenModel, path, options.batch_size))
    score = partial(score_green, model=model, max_words=max_words)
    return {NAME: Metric(score, f"{signature}|level:mean of reports|x100")}
