"""Judge which sentences a CT cannot tell: by the rules, or by a chat model whose answers are stored on disk."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..storage.answer_store import answer_once
from .sentence_rules import RULES, judge_sentence

KEEP = "keep"
PROMPT = (
    "You prepare radiology reports of CT scans for training. Decide whether a sentence can be written from the images "
    "of this scan alone, without tools or other information. Answer with one word and nothing else.\n"
    + "".join(f"{rule.name}: {rule.reason}\n" for rule in RULES)
    + f"{KEEP}: none of these\n\nSentence: {{sentence}}"
)


class Judge(Protocol):
    """Interface of a judge of sentences; `name` identifies it in the manifest, with the version of rules or prompt."""

    name: str

    def judge(self, sentences: Sequence[str]) -> list[str | None]:
        """Return for each sentence the rule that drops it, or None if it stays."""


class ChatBackend(Protocol):
    """Interface of a chat model that returns one answer to each prompt; `name` identifies the model."""

    name: str

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return an answer for each prompt."""


class RuleJudge:
    """Judge by the rules of `sentence_rules`: offline, with the same result everywhere."""

    def __init__(self):
        # Everything that affects decisions: one more harmless phrase is another version of the rules.
        decisive = "\n".join(
            "\t".join((rule.name, rule.phrases, rule.harmless, rule.certain, rule.cue)) for rule in RULES
        )
        self.name = f"rules-{_short_hash(decisive)}"

    def judge(self, sentences: Sequence[str]) -> list[str | None]:
        """Return for each sentence the first rule that drops it, or None if it stays."""
        return [found[0] if (found := judge_sentence(sentence)) else None for sentence in sentences]


class ChatJudge:
    """Judge by a chat model that is asked about one sentence at a time.

    Attributes:
        unparsed: number of answers so far that named no rule; their sentences are kept.
    """

    def __init__(self, backend: ChatBackend):
        self.backend = backend
        self.name = f"{backend.name}-{_short_hash(PROMPT)}"
        self.unparsed = 0

    def judge(self, sentences: Sequence[str]) -> list[str | None]:
        """Return for each sentence the rule that the model names, or None."""
        answers = self.backend.answer([PROMPT.format(sentence=sentence) for sentence in sentences])
        return [self._parse(answer) for answer in answers]

    def _parse(self, answer: str) -> str | None:
        words = answer.strip().lower().replace("*", "").replace('"', "").split()
        word = words[0].strip(".:,'`") if words else ""
        if word in {rule.name for rule in RULES}:
            return word
        self.unparsed += word != KEEP
        return None


class TransformersBackend:
    """Any chat model that `transformers` loads, from a folder or the Hub; greedy, so that answers are reproducible.

    Code that comes with the model runs only if `trust` is true.
    """

    def __init__(self, model: str, batch_size: int = 8, max_new_tokens: int = 8, trust: bool = False):
        from transformers import AutoModelForCausalLM, pipeline

        from ..saved_models.model_folders import LANGUAGE_MODEL
        from ..saved_models.pretrained import load_pretrained, load_tokenizer

        self.name = model
        loaded = load_pretrained(AutoModelForCausalLM, model, LANGUAGE_MODEL, trust=trust, dtype="auto")
        tokenizer = load_tokenizer(model, trust=trust)
        # Its annotations name two kinds of tokenizer, not the class of both.
        self._pipeline = pipeline("text-generation", model=loaded, tokenizer=tokenizer)  # type: ignore[call-overload]
        self._options = {"batch_size": batch_size, "max_new_tokens": max_new_tokens, "do_sample": False}
        if tokenizer.chat_template is None:
            raise ValueError(f"{model}: has no chat template; name an instruct model")
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return the model's answers."""
        conversations = [[{"role": "user", "content": prompt}] for prompt in prompts]
        outputs = self._pipeline(conversations, return_full_text=False, **self._options)
        return [output[0]["generated_text"] for output in outputs]


class OpenAIBackend:
    """A model at an OpenAI-compatible address; if it needs a key, that is OPENAI_API_KEY in the environment.

    Raises:
        ValueError: if the package `openai` is not installed.
    """

    def __init__(self, model: str, base_url: str, max_tokens: int = 8):
        try:
            from openai import OpenAI
        except ImportError:
            raise ValueError("--judge-url needs the openai package: pip install '.[judge]'") from None
        self.name = model
        self._max_tokens = max_tokens
        self._client = OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Return the model's answers; the prompts are sent one after the other."""
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        completion = self._client.chat.completions.create(
            model=self.name,
            messages=[{"role": "user", "content": prompt}],
            temperature=0,
            max_tokens=self._max_tokens,
        )
        return completion.choices[0].message.content or ""


class CachedJudge:
    """A judge that asks another judge about each sentence only once and stores the answers in a file.

    Args:
        judge: the judge that is asked.
        path: SQLite file; answers of other judges, models or prompts in it are kept apart.
        chunk: sentences asked about at a time; the answers of each chunk are stored at once.
    """

    def __init__(self, judge: Judge, path: Path, chunk: int = 64):
        self.name = judge.name
        self._judge, self._path, self._chunk = judge, path, chunk

    def judge(self, sentences: Sequence[str]) -> list[str | None]:
        """Return the stored answers, and ask about the sentences without one."""
        return answer_once(self._path, self.name, sentences, self._judge.judge, self._chunk)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
