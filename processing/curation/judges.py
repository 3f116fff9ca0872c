"""Judge which sentences state facts that no CT shows: by the rules, or by a chat model with stored answers."""

import asyncio
import hashlib
import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from ..storage.answer_store import answer_as_ready
from .sentence_rules import RULES, judge_sentence

KEEP = "keep"
REQUESTS = 16  # under way at a time, at an address
TIMEOUT = 120.0  # seconds that an answer of one word may take
ADVICE = "the answers so far are kept, and the same command asks for the rest"
RETRIES = 4  # of a request that failed for a reason that passes; the library waits longer before each
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
    """Interface of a chat model that gives one answer to each prompt; `name` identifies the model."""

    name: str

    def answer(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield each prompt's index and its answer, in any order, as they are ready."""


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
        rules = dict(self.judge_as_ready(sentences))
        return [rules[index] for index in range(len(sentences))]

    def judge_as_ready(self, sentences: Sequence[str]) -> Iterator[tuple[int, str | None]]:
        """Yield each sentence's index and the rule that the model names, or None, as the answers come."""
        prompts = [PROMPT.format(sentence=sentence) for sentence in sentences]
        for index, answer in self.backend.answer(prompts):
            yield index, self._parse(answer)

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

    def answer(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield each prompt's index and the model's answer."""
        conversations = [[{"role": "user", "content": prompt}] for prompt in prompts]
        outputs = self._pipeline(conversations, return_full_text=False, **self._options)
        for index, output in enumerate(outputs):
            yield index, output[0]["generated_text"]


class OpenAIBackend:
    """A model at an OpenAI-compatible address; if it needs a key, that is OPENAI_API_KEY in the environment.

    Args:
        model: its name at that address, such as gpt-4o, the paper's judge (appendix A).
        base_url: the address.
        max_tokens: longest answer.
        requests: most requests under way at a time.

    Raises:
        ValueError: if the package `openai` is not installed.
    """

    def __init__(self, model: str, base_url: str, max_tokens: int = 8, requests: int = REQUESTS):
        try:
            import openai
        except ImportError:
            raise ValueError("--judge-url needs the openai package: pip install '.[judge]'") from None
        self.name = model
        self._openai, self._url = openai, base_url
        self._max_tokens, self._requests = max_tokens, requests

    def answer(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield each prompt's index and the model's answer, as they come; the first failure ends the requests left.

        Raises:
            ConnectionError: naming address and cause; the answer's text is not told, which may quote the prompt.
        """
        with asyncio.Runner() as runner:
            client = self._openai.AsyncOpenAI(
                base_url=self._url,
                api_key=os.environ.get("OPENAI_API_KEY", "none"),
                timeout=TIMEOUT,
                max_retries=RETRIES,
            )
            free = asyncio.Semaphore(self._requests)
            create = runner.get_loop().create_task
            indices = {create(self._ask(client, free, prompt)): index for index, prompt in enumerate(prompts)}
            try:
                waiting = set(indices)
                while waiting:
                    done, waiting = runner.run(asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))
                    # Those that failed come last, so that no answer is lost.
                    for task in sorted(done, key=lambda task: task.exception() is not None):
                        yield indices[task], task.result()
            except self._openai.APIError as error:
                raise ConnectionError(f"{self._url}: {self._cause(error)}; {ADVICE}") from error
            finally:
                for task in indices:
                    task.cancel()
                runner.run(client.close())

    async def _ask(self, client: Any, free: asyncio.Semaphore, prompt: str) -> str:
        async with free:
            completion = await client.chat.completions.create(
                model=self.name,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=self._max_tokens,
            )
        return completion.choices[0].message.content or ""

    def _cause(self, error: Any) -> str:
        """Describe a failed request without what the server said of it."""
        if isinstance(error, self._openai.APITimeoutError):
            return f"{self.name} gave no answer in {TIMEOUT:.0f} s"
        if isinstance(error, self._openai.APIStatusError):
            known = {status.value: status.phrase for status in HTTPStatus}
            return f"refused a request to {self.name} ({error.status_code} {known.get(error.status_code, '')})"
        return f"no connection ({type(error).__name__})"


class CachedJudge:
    """A judge that asks another judge about each sentence only once and stores the answers in a file.

    Args:
        judge: the judge that is asked.
        path: SQLite file; answers of other judges, models or prompts in it are kept apart.
        chunk: sentences asked about at a time; the answers of each chunk are stored at once, and those that were there
            before a failure too.
    """

    def __init__(self, judge: ChatJudge, path: Path, chunk: int = 64):
        self.name = judge.name
        self._judge, self._path, self._chunk = judge, path, chunk

    def judge(self, sentences: Sequence[str]) -> list[str | None]:
        """Return the stored answers, and ask about the sentences without one."""
        return answer_as_ready(self._path, self.name, sentences, self._judge.judge_as_ready, self._chunk)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
