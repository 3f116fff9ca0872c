"""`argus serve`: OpenAI's chat completions over HTTP, for a CT and its report. Needs the extra `serve`.

A scan comes as an `image_url`: `file://` below the folder that was opened for it, or a `data:` address that holds a
.nii or .nii.gz in base64. Decoding is greedy, as in all of Argus; temperature and the like are not looked at. Nothing
of a request or a scan is logged.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from transformers import TextIteratorStreamer

from argus_processing import CTVolume

from .generation import Generated, generate_batch
from .local_server import allowed_hosts, open_listener, run_app
from .model_folder import Loading, load_model
from .serve_requests import ReportRequest, ScanDoor, parse_request

MAX_BODY_BYTES = 1 << 30


class _Cancelled(Exception):  # noqa: N818 - no error: the one who asked has gone
    """Ends a generation that nobody waits for."""


class _ReportStreamer(TextIteratorStreamer):
    """Hands a report's words on as they come, until it is cancelled."""

    cancelled = False

    def put(self, value: Any) -> None:
        if self.cancelled:
            raise _Cancelled
        super().put(value)


class ReportWriter:
    """One model that writes one report at a time, whoever asks."""

    def __init__(self, model: Any, processor: Any, name: str):
        self.model, self.processor, self.name = model, processor, name
        self._one_at_a_time = threading.Lock()

    def write(self, volume: CTVolume, request: ReportRequest, streamer: Any | None = None) -> Generated:
        """Write the report of a scan."""
        with self._one_at_a_time:
            (report,) = generate_batch(
                self.model, self.processor, [volume], [request.instruction], request.max_tokens, streamer
            )
        return report

    def stream(self, volume: CTVolume, request: ReportRequest) -> Iterator[str | Generated]:
        """Give a report's words as they come, and the whole of it last.

        A reader who stops early ends the generation.
        """
        streamer = _ReportStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        outcome: list[Generated | BaseException] = []

        def write() -> None:
            try:
                outcome.append(self.write(volume, request, streamer))
            except BaseException as error:
                outcome.append(error)
            streamer.text_queue.put(streamer.stop_signal)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            for words in streamer:
                if words:
                    yield words
            thread.join()
            if isinstance(outcome[0], BaseException):
                raise outcome[0]
            yield outcome[0]
        finally:
            streamer.cancelled = True


def build_app(writer: ReportWriter, door: ScanDoor, hosts: tuple[str, ...]) -> Starlette:
    """Build the web application; `hosts` are the names it answers to."""

    async def models(request: Request) -> Response:
        entry = {"id": writer.name, "object": "model", "created": 0, "owned_by": "argus"}
        return JSONResponse({"object": "list", "data": [entry]})

    async def completions(request: Request) -> Response:
        try:
            asked = parse_request(await _body(request), writer.name)
            volume = await run_in_threadpool(door.read, asked.scan_url)
            if asked.stream:
                events = iterate_in_threadpool(_events(writer, volume, asked))
                return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
            return JSONResponse(_completion(writer.name, await run_in_threadpool(writer.write, volume, asked)))
        except LookupError as error:
            return _refusal(str(error.args[0]), 404)
        except ValueError as error:
            return _refusal(str(error), 400)
        except Exception as error:
            return _refusal(_failure(error), 500)

    routes = [Route("/v1/models", models), Route("/v1/chat/completions", completions, methods=["POST"])]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))])


async def _body(request: Request) -> bytes:
    # Another site's form can send text, never JSON, to an address on this machine.
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise ValueError("a request comes as application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"a request has at most {MAX_BODY_BYTES >> 20} MB; give large scans by file://")
    return bytes(body)


def _failure(error: BaseException) -> str:
    """Tell who runs the server what kind of failure it was: its text could hold something of the scan."""
    print(f"argus: a report could not be written ({type(error).__name__})", file=sys.stderr, flush=True)
    return "the report could not be written; please tell who runs the server"


def _refusal(message: str, status: int) -> JSONResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": None}
    return JSONResponse({"error": error}, status_code=status)


def _finish_reason(report: Generated) -> str:
    return "length" if report.truncated else "stop"


def _completion(model: str, report: Generated) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": report.text},
        "finish_reason": _finish_reason(report),
        "logprobs": None,
    }
    return _envelope("chat.completion", model) | {"choices": [choice]}


def _envelope(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _events(writer: ReportWriter, volume: CTVolume, asked: ReportRequest) -> Iterator[str]:
    """Give a report as server-sent events, in OpenAI's form."""
    envelope = _envelope("chat.completion.chunk", writer.name)

    def event(delta: dict[str, str], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return f"data: {json.dumps(envelope | {'choices': [choice]}, ensure_ascii=False)}\n\n"

    yield event({"role": "assistant", "content": ""})
    try:
        for part in writer.stream(volume, asked):
            yield event({"content": part}) if isinstance(part, str) else event({}, _finish_reason(part))
    except Exception as error:
        yield f"data: {json.dumps({'error': {'message': _failure(error), 'type': 'server_error'}})}\n\n"
    yield "data: [DONE]\n\n"


def serve_model(
    model_dir: Path, scans: Path | None, host: str, port: int, loading: Loading, say: Callable[[str], None]
) -> None:
    """Load a model and answer until interrupted; `say` gets the address.

    Raises:
        OSError, ValueError: if the address, the model or the folder of scans cannot be used.
    """
    door = ScanDoor(scans)
    listener = open_listener(host, port)
    writer = ReportWriter(*load_model(model_dir, loading), name=Path(model_dir).resolve().name)
    if host not in ("127.0.0.1", "localhost"):
        say(f"warning: whoever reaches {host} can read the scans in {scans}" if scans else f"open to all on {host}")
    say(f"model {writer.name} at http://{host}:{listener.getsockname()[1]}/v1 (ctrl-c ends it)")
    run_app(build_app(writer, door, allowed_hosts(host)), listener)
