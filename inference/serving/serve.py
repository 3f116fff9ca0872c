"""Serve OpenAI's chat completions over HTTP for `argus serve`: a CT comes in, its report goes out.

It needs the extra `serve`. A client sends a scan as an `image_url`: a `file://` address below the folder that the
server was given, or a `data:` address that holds a .nii, a .nii.gz or a zip of one DICOM series in base64. Decoding is
greedy, as in all of Argus; a request for other decoding is refused. Nothing of a request or a scan is logged.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from argus_processing.saved_models.provenance import describe_provenance, read_provenance
from argus_processing.storage.part_files import sweep

from ..generation import Generated
from ..model_folder import Loading, load_model
from ..scan_files import ScanNotReadError
from ..scan_process import ClientLeftError, prepare_readers, wait_for_readers
from .access_key import KeyGuard, check_key
from .local_server import (
    LOOPBACK,
    BodyGuard,
    HostGuard,
    Receive,
    Send,
    allowed_hosts,
    open_listener,
    run_app,
    web_address,
)
from .report_engine import ReportEngine
from .serve_metrics import MEDIA_TYPE as METRICS_TYPE
from .serve_metrics import CountGuard, RequestCounts
from .serve_requests import AllowedScans, RefusedError, ReportRequest, parse_request
from .serve_writing import PLACES, ReportWriter, WritingError

MAX_BODY_BYTES = 512 << 20
MAX_BODY_BYTES_TOGETHER = 1 << 30
COMPLETIONS = "/v1/chat/completions"
MAX_WAITING = 32  # requests, with the one being written; an engine that writes more together takes as many more
MAX_READERS = 8
RETRY_SECONDS = "10"


@dataclass(frozen=True)
class ServerOptions:
    """Settings of a server.

    Attributes:
        scans: folder of the scans that clients may name by `file://` address, if any.
        host, port: address to listen on; port 0 takes a free one.
        other_hosts: further host names that it answers to.
        api_key: key that clients must send, if any.
    """

    scans: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    other_hosts: Collection[str] = ()
    api_key: str | None = None


def build_app(
    engine: ReportEngine, allowed_scans: AllowedScans, hosts: Collection[str], api_key: str | None = None
) -> Starlette:
    """Build the web application; `hosts` are the names it answers to, `api_key` is what clients must send, if any."""
    entry = {"id": engine.name, "object": "model", "created": 0, "owned_by": "argus"} | origin_of(engine)

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [entry]})

    async def one_model(request: Request) -> Response:
        if request.path_params["name"] != engine.name:
            raise RefusedError(f"no such model; this server has {engine.name}", 404, "model", "model_not_found")
        return JSONResponse(entry)

    async def health(request: Request) -> Response:
        return Response(status_code=200 if engine.is_healthy() else 503)

    async def metrics(request: Request) -> Response:
        return Response(counts.to_text() + engine.metrics(), media_type=METRICS_TYPE)

    counts = RequestCounts()
    completions = Completions(engine, allowed_scans, counts)

    routes = [
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", one_model),
        Route(COMPLETIONS, completions, methods=["POST"]),
        Route("/health", health),
        Route("/metrics", metrics),
    ]
    guards = [
        Middleware(CountGuard, counts=counts, path=COMPLETIONS),
        Middleware(HostGuard, hosts=hosts, refuse=_refusal),
        *([] if api_key is None else [Middleware(KeyGuard, key=api_key, refuse=_refusal)]),
        Middleware(BodyGuard, max_bytes=MAX_BODY_BYTES, max_bytes_together=MAX_BODY_BYTES_TOGETHER),
    ]
    return Starlette(routes=routes, middleware=guards, exception_handlers=REFUSALS, lifespan=completions.lifespan)


def origin_of(engine: ReportEngine) -> dict[str, Any]:
    """Return what answers tell of the model beside the fields of OpenAI's API: its origin, if that is recorded."""
    return {"argus": dict(engine.origin)} if engine.origin else {}


class Completions:
    """Endpoint that answers chat completions in the order they came; work for a client that leaves is ended."""

    def __init__(self, engine: ReportEngine, allowed_scans: AllowedScans, counts: RequestCounts) -> None:
        self._engine, self._allowed_scans, self._counts = engine, allowed_scans, counts
        # One more than are written at a time: the next one's scan is read meanwhile.
        self._places = asyncio.Semaphore(engine.places + 1)
        readers = min(engine.places + 1, MAX_READERS, max(2, (os.cpu_count() or 1) // 2))
        self._readers = ThreadPoolExecutor(readers, "argus-scan")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            wanted = parse_request(await _body(Request(scope, receive)), self._engine.name)
            num_prompt, _ = self._engine.fit(wanted)
            await _while_there(receive, self._answer(wanted, num_prompt, scope, receive, send))
        except ClientDisconnect:
            return

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Run with the server; at its end, wait until the readers of cut-off clients have removed their folders."""
        yield
        await asyncio.get_running_loop().run_in_executor(None, self._readers.shutdown)
        self._engine.close()

    async def _answer(
        self, wanted: ReportRequest, num_prompt: int, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        """Wait for the request's turn, read the scan and write the report."""
        gone = threading.Event()
        try:
            async with self._turn():
                loop = asyncio.get_running_loop()
                prepared = await loop.run_in_executor(self._readers, self._prepare, wanted, gone)
                async with aclosing(self._engine.words(prepared, wanted, gone)) as words:
                    reply = _Reply(self._engine.name, num_prompt, wanted.include_usage, origin_of(self._engine))
                    if wanted.stream:
                        await _send_events(reply.events(self._counted(words)), send)
                    else:
                        await JSONResponse(await reply.whole(self._counted(words)))(scope, receive, send)
        except (RefusedError, HTTPException, ClientLeftError):
            raise
        except Exception as error:
            await _refusal(_failure(error), 500)(scope, receive, send)
        finally:
            gone.set()

    def _prepare(self, wanted: ReportRequest, gone: threading.Event) -> Any:
        scan = self._allowed_scans.read(wanted.scan_url, gone)
        try:
            return self._engine.prepare(scan, wanted)
        except ScanNotReadError as error:
            raise RefusedError(str(error), param="messages") from None

    async def _counted(self, words: AsyncIterator[str | Generated]) -> AsyncGenerator[str | Generated, None]:
        async for part in words:
            if isinstance(part, Generated):
                self._counts.add(part)
            yield part

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        counts = self._counts
        if counts.waiting + counts.running >= MAX_WAITING + self._engine.places - 1:
            raise HTTPException(429, "too many reports are waited for; try again later", {"Retry-After": RETRY_SECONDS})
        counts.waiting += 1
        try:
            await self._places.acquire()
        finally:
            counts.waiting -= 1
        counts.running += 1
        try:
            yield
        finally:
            counts.running -= 1
            self._places.release()


@dataclass(frozen=True)
class _Reply:
    """A report in the response formats of OpenAI's API."""

    model: str
    num_prompt_tokens: int
    include_usage: bool
    origin: dict[str, Any]

    async def whole(self, words: AsyncIterator[str | Generated]) -> dict[str, Any]:
        """Return the whole completion."""
        report = [part async for part in words if isinstance(part, Generated)][-1]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": report.text},
            "finish_reason": _finish_reason(report),
            "logprobs": None,
        }
        told = {"choices": [choice], "usage": self._usage(report)} | self.origin
        return self._envelope("chat.completion") | told

    async def events(self, words: AsyncIterator[str | Generated]) -> AsyncGenerator[str, None]:
        """Yield the report as server-sent events."""
        envelope = self._envelope("chat.completion.chunk") | ({"usage": None} if self.include_usage else {})

        def event(delta: dict[str, str], finish_reason: str | None = None, **more: Any) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
            return _event(envelope | {"choices": [choice]} | more)

        yield event({"role": "assistant", "content": ""}, **self.origin)
        try:
            async for part in words:
                if isinstance(part, str):
                    yield event({"content": part})
                    continue
                yield event({}, _finish_reason(part))
                if self.include_usage:
                    yield _event(envelope | {"choices": [], "usage": self._usage(part)})
        except Exception as error:
            yield _event({"error": _error(_failure(error), 500)})
        yield "data: [DONE]\n\n"

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{uuid4().hex}", "object": kind, "created": int(time.time()), "model": self.model}

    def _usage(self, report: Generated) -> dict[str, int]:
        prompt, completion = self.num_prompt_tokens, report.num_tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _body(request: Request) -> bytes:
    # A form on another site can send text to an address on this machine, but never JSON.
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise RefusedError("a request comes as application/json")
    return await request.body()


async def _while_there(receive: Receive, answer: Coroutine[Any, Any, None]) -> None:
    """Run `answer` until it is done or the client leaves."""

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(left())
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _send_events(events: AsyncGenerator[str, None], send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async with aclosing(events):
        async for event in events:
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _finish_reason(report: Generated) -> str:
    return "length" if report.truncated else "stop"


def _failure(error: BaseException) -> str:
    """Print the kind of a failure for the person who runs the server, and return the client's message.

    The error's own text is not shown, because it could hold something of the scan.
    """
    kind = str(error) if isinstance(error, WritingError) else type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        kind = f"{error.strerror}; temporary files lie in {tempfile.gettempdir()}, see TMPDIR"
    print(f"argus: a report could not be written ({kind})", file=sys.stderr, flush=True)
    return "the report could not be written; please tell who runs the server"


def _error(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"message": message, "type": kind, "param": param, "code": code}


def _refusal(message: str, status: int, param: str | None = None, code: str | None = None) -> JSONResponse:
    return JSONResponse({"error": _error(message, status, param, code)}, status_code=status)


async def _http_refused(request: Request, error: HTTPException) -> Response:
    answer = _refusal(error.detail, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _refused(request: Request, error: RefusedError) -> Response:
    return _refusal(str(error), error.status, error.param, error.code)


# kind of an error -> function (request, an error of that kind) that answers it
REFUSALS: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
    RefusedError: _refused,
    HTTPException: _http_refused,
}


def serve_model(
    model_dir: Path,
    start: Callable[[Path, Mapping[str, str]], ReportEngine],
    options: ServerOptions,
    say: Callable[[str], None],
) -> None:
    """Start an engine and answer requests until interrupted.

    Args:
        model_dir: folder of the model.
        start: starts the engine with this folder and what its answers tell of the model's origin.
        options: settings of the server.
        say: called with the address.

    Raises:
        OSError, ValueError: if the address, the model or the folder of scans cannot be used.
    """
    allowed_scans, key, host = AllowedScans(options.scans), check_key(options.api_key), options.host
    with suppress(OSError):
        sweep(Path(tempfile.gettempdir()))  # removes scan files left by a server that was killed
    listener = open_listener(host, options.port)
    prepare_readers()
    origin = describe_provenance(read_provenance(model_dir))
    engine = start(model_dir, origin)
    try:
        wait_for_readers()
        if host not in LOOPBACK and key is None:
            scans = options.scans
            say(f"warning: whoever reaches {host} can read the scans in {scans}" if scans else f"open to all on {host}")
        if "limits" in origin:
            say(f"warning: the model was {origin['limits']}")
        say(f"model {engine.name} at {web_address(host, listener)}/v1 (ctrl-c ends it)")
        run_app(build_app(engine, allowed_scans, allowed_hosts(host, options.other_hosts), key), listener)
    finally:
        engine.close()


def start_transformers(
    model_dir: Path, origin: Mapping[str, str], loading: Loading, places: int = PLACES
) -> ReportWriter:
    """Load a model into this process, to write so many reports together."""
    return ReportWriter(*load_model(model_dir, loading), Path(model_dir).resolve().name, origin, places)
