"""Check that a request for a report fits into a model's context."""

from typing import Any

from ..generation import MAX_NEW_TOKENS, prompt_of
from .serve_requests import RefusedError, ReportRequest

# The instructions used in training are far shorter; to tokenise and read a text twice as long as this takes seconds.
MAX_INSTRUCTION_BYTES = 16 << 10
TOO_LONG = "context_length_exceeded"


def prompt_tokens(processor: Any, instruction: str) -> list[int]:
    """Return the tokens of the prompt for one scan, with one placeholder."""
    return processor.tokenizer(prompt_of(processor, instruction), add_special_tokens=False)["input_ids"]


def fit_request(processor: Any, most: int, asked: ReportRequest) -> tuple[int, int]:
    """Return the number of tokens in a request's prompt, with those of the scan, and the limit for its report.

    Args:
        processor: the model's.
        most: number of tokens that the model reads.
        asked: the request.

    Raises:
        RefusedError: if together they are more than the model can read, or the text holds a special token.
    """
    if len(asked.instruction.encode()) > MAX_INSTRUCTION_BYTES:
        raise _too_long(f"the text has more than {MAX_INSTRUCTION_BYTES >> 10} kB")
    tokenizer = processor.tokenizer
    # The tokens that mark turns are special but have no named role, so they are not in `all_special_tokens`.
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    marks = {*tokenizer.all_special_tokens, *special, processor.image_token} - {""}
    if any(mark in asked.instruction for mark in marks):
        raise RefusedError("the text holds a mark that the model's prompt is built with", param="messages")
    num_tokens = len(prompt_tokens(processor, asked.instruction)) - 1 + processor.num_image_tokens
    limit = asked.max_tokens or min(MAX_NEW_TOKENS, most - num_tokens)
    if asked.max_tokens and num_tokens < most < num_tokens + limit:
        told = f"the model reads {most} tokens, of which scan and text are {num_tokens}"
        left = most - num_tokens
        raise RefusedError(f"{told}; give max_tokens of at most {left}", param="max_tokens", code=TOO_LONG)
    if limit < 1 or num_tokens + limit > most:
        raise _too_long(f"the model reads {most} tokens; scan and text have {num_tokens}, the report {limit}")
    return num_tokens, limit


def _too_long(message: str) -> RefusedError:
    return RefusedError(f"{message}; shorten it", param="messages", code=TOO_LONG)
