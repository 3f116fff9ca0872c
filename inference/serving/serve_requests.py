"""Read requests to `argus serve`: the allowed fields of a chat completion, and the scans."""

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote_to_bytes, urlsplit

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from argus_processing import CTVolume, read_ct
from argus_processing.instructions import INSTRUCTION

from ..generation import MAX_NEW_TOKENS
from ..scan_files import ScanNotReadError, open_below
from ..scan_process import read_apart
from .sent_embeddings import holds_embeddings, read_embeddings
from .sent_scans import read_sent, received

# Each value, name and list of a request takes a hundred bytes or more in memory, even if its text is short.
MOST_JSON_SIGNS = 1 << 15  # commas and opening brackets; base64 has none
LONGEST_NAME_SHOWN = 40


class RefusedError(ValueError):
    """A request was refused; the message is one line for the client, with the fields of OpenAI's errors."""

    def __init__(self, message: str, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class _Strict(BaseModel):
    """Base of a request's parts: values are not converted, and unknown names are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class _ImageUrl(_Strict):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class _Part(_Strict):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: Annotated[_ImageUrl | None, BeforeValidator(lambda it: {"url": it} if isinstance(it, str) else it)] = (
        None
    )

    @model_validator(mode="after")
    def _holds_what_it_says(self) -> "_Part":
        if (self.text is None) == (self.type == "text") or (self.image_url is None) == (self.type == "image_url"):
            raise ValueError(f"a part of type {self.type} holds {self.type} and nothing else")
        return self


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class _Message(_Strict):
    role: Literal["user"]
    content: Annotated[list[_Part], Field(max_length=64), BeforeValidator(_as_parts)]
    name: str | None = None


class _StreamOptions(_Strict):
    include_usage: bool | None = None


class _ResponseFormat(_Strict):
    type: Literal["text"]


Label = Annotated[str, Field(max_length=512)]


def _refuse_true(value: bool) -> bool:
    if value:
        raise ValueError("this is not done here")
    return value


NotDone = Annotated[bool, AfterValidator(_refuse_true)]
Zero = Annotated[float, Field(ge=0, le=0)]


class _RequestBody(_Strict):
    """The request for a chat completion; an option is allowed if its value asks for what the server does anyway."""

    model: str | None = None
    messages: Annotated[list[_Message], Field(min_length=1, max_length=64)]
    max_tokens: Annotated[int, Field(ge=1, le=MAX_NEW_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_NEW_TOKENS)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    stop: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=256)]] | None,
        Field(max_length=4),
        BeforeValidator(lambda stop: [stop] if isinstance(stop, str) else stop),
    ] = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    # Decoding is greedy: every top_p keeps the likeliest token, and every seed draws it.
    temperature: Zero | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logprobs: NotDone | None = None
    top_logprobs: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    response_format: _ResponseFormat | None = None
    modalities: Annotated[list[Literal["text"]], Field(min_length=1, max_length=1)] | None = None
    audio: None = None
    prediction: None = None
    tools: None = None
    tool_choice: Literal["none"] | None = None
    parallel_tool_calls: bool | None = None  # without effect, because there are no tools
    functions: None = None
    function_call: Literal["none"] | None = None
    reasoning_effort: Literal["none"] | None = None
    verbosity: None = None
    web_search_options: None = None
    service_tier: Literal["auto", "default"] | None = None
    store: NotDone | None = None
    # Labels of a request; they change nothing in the answer.
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    metadata: Annotated[dict[str, Label], Field(max_length=16)] | None = None


@dataclass(frozen=True)
class ReportRequest:
    """A request for the report of one scan; `max_tokens` None means the server's own limit."""

    scan_url: str
    instruction: str
    max_tokens: int | None = None
    stream: bool = False
    stop: tuple[str, ...] = ()
    include_usage: bool = False


def parse_request(body: bytes, model: str) -> ReportRequest:
    """Read the request for a chat completion: user messages with one `image_url` and, optionally, text.

    Raises:
        RefusedError: if it does not have this form, or asks for another model or for something this server does not do.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_JSON_SIGNS:
        raise RefusedError("the request has too many values; a chat completion has some dozens", param="messages")
    try:
        completion = _RequestBody.model_validate_json(body)
    except ValidationError as error:
        raise _first_fault(error) from None
    if completion.model not in (None, model):
        raise RefusedError(f"no such model; this server has {model}", 404, "model", "model_not_found")
    if completion.stream_options is not None and not completion.stream:
        raise RefusedError("stream_options goes with stream: true", param="stream_options")
    limits = {completion.max_completion_tokens, completion.max_tokens} - {None}
    if len(limits) > 1:
        raise RefusedError("max_tokens and max_completion_tokens differ; give one", param="max_completion_tokens")
    parts = [part for message in completion.messages for part in message.content]
    urls = [part.image_url.url for part in parts if part.image_url is not None]
    if len(urls) != 1:
        raise RefusedError(f"a report takes one scan, as one image_url; got {len(urls)}", param="messages")
    texts = [part.text.strip() for part in parts if part.text is not None]
    return ReportRequest(
        urls[0],
        "\n".join(text for text in texts if text) or INSTRUCTION,
        limits.pop() if limits else None,
        bool(completion.stream),
        tuple(completion.stop or ()),
        bool(completion.stream_options and completion.stream_options.include_usage),
    )


SAID = {
    "n": "one report is written for a request: n is 1",
    "temperature": "reports are written greedily: leave temperature out or give 0",
    "frequency_penalty": "reports are written greedily: leave frequency_penalty out or give 0",
    "presence_penalty": "reports are written greedily: leave presence_penalty out or give 0",
    "max_tokens": f"max_tokens is a whole number from 1 to {MAX_NEW_TOKENS}",
    "max_completion_tokens": f"max_completion_tokens is a whole number from 1 to {MAX_NEW_TOKENS}",
}


def _first_fault(error: ValidationError) -> RefusedError:
    """Describe the first error of a request, without quoting the wrong value."""
    fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if fault["type"] == "json_invalid":
        return RefusedError("the request is no JSON, or too deep, or not in UTF-8")
    place = ".".join(str(step) for step in fault["loc"])
    shown = "".join(letter if letter.isprintable() else "?" for letter in place[:LONGEST_NAME_SHOWN])
    if fault["type"] in ("extra_forbidden", "none_required"):
        return RefusedError(f"{shown} is unknown or not done here", param=shown, code="unknown_parameter")
    if place == "" or fault["loc"] == ("messages",):
        return RefusedError("a request is an object with messages, a list of 1 to 64", param="messages")
    if fault["loc"][-1] == "role":
        return RefusedError("Argus takes one turn: messages of role user only", param=shown)
    said = SAID.get(str(fault["loc"][0])) or f"{shown}: {fault['msg'].removeprefix('Value error, ')}"
    return RefusedError(said, param=shown)


class AllowedScans:
    """The scans that a server may read: files below one folder, and scans sent with a request.

    Raises:
        FileNotFoundError: if there is no such folder.
    """

    def __init__(self, folder: Path | None):
        if folder is not None and not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of scans")
        self.folder = None if folder is None else Path(folder).resolve()

    def read(self, url: str, gone: threading.Event | None = None) -> CTVolume | torch.Tensor:
        """Read the scan of a `file://` or `data:` address, in a process of its own, or its visual tokens.

        Raises:
            RefusedError: in one line, if it may not be read or is no CT.
            ClientLeftError: if `gone` is set meanwhile.
        """
        try:
            if holds_embeddings(url):
                return read_embeddings(url)
            if url[:5].lower() == "data:":
                with received(url) as sent:
                    return read_apart(partial(read_sent, sent), gone)
            if url[:5].lower() == "file:":
                return read_apart(partial(_read_below, *self._place(url)), gone)
        except ScanNotReadError as error:
            raise RefusedError(str(error), param="messages") from None
        raise RefusedError("a scan comes as file:// or data: address; nothing is fetched from elsewhere")

    def _place(self, url: str) -> tuple[Path, str]:
        """Return the folder and the absolute path of an address; opening it checks that the path is in the folder."""
        if self.folder is None:
            raise ScanNotReadError("this server opens no folder (--scans); send the scan as a data: address")
        try:
            parts = urlsplit(url)
            path = os.fsdecode(unquote_to_bytes(parts.path))
        except ValueError:
            path = ""
        # An unescaped #, ? or line break would make the address point to another file than its text shows.
        is_plain = not any(sign in url for sign in "#?\t\r\n")
        # The message is the same in all cases, so that nobody learns which files exist outside the folder.
        if not path.startswith("/") or "\0" in path or parts.netloc.lower() not in ("", "localhost") or not is_plain:
            raise ScanNotReadError("no such scan in the folder that this server opens")
        return self.folder, path


def _read_below(root: Path, requested: str, private: Path) -> CTVolume:
    with ExitStack() as opened:
        return read_ct(open_below(root, requested, private, opened))
