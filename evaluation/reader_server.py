"""The reader study's local web page: what a browser may ask for, and the answers it gives.

Nothing that leaves here holds a system's name, a scan's id or anything of its file: a case is its number in the
reader's order, a report is a letter. Needs the extra `reader` (starlette, uvicorn).
"""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from argus_processing.ct_volume import CTReadError

from .local_server import allowed_hosts, open_listener, run_app
from .preview import BONE, LUNG, MEDIASTINUM
from .reader_answers import Answer, AnswerFile
from .reader_scans import ScanShelf, describe_planes, slice_bytes
from .reader_study import Case, Study

PAGE = Path(__file__).parent / "reader_page"
WINDOWS = (LUNG, MEDIASTINUM, BONE)
LONGEST_NAME, LONGEST_COMMENT = 40, 20_000
# The browser itself refuses anything from elsewhere, and keeps nothing.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class UnreadableScanError(Exception):
    """A case's scan cannot be read; why is said to who runs the study, not to the reader."""


def clean_reader(name: Any) -> str:
    """A reader's name as it is kept: lower case, single spaces, so that nobody is two readers by a slip.

    Raises:
        ValueError: if it is empty, too long or holds other than letters, digits, spaces, dots and dashes.
    """
    kept = " ".join(str(name or "").casefold().split())
    if not 0 < len(kept) <= LONGEST_NAME or not all(letter.isalnum() or letter in " .-" for letter in kept):
        raise ValueError(f"give your name or initials: letters, digits, spaces, dots, dashes, up to {LONGEST_NAME}")
    return kept


class ReaderSession:
    """One reader's way through a study: numbers and letters outside, cases and systems inside."""

    def __init__(self, study: Study, answers: AnswerFile, reader: str) -> None:
        self._study, self._answers, self.reader = study, answers, reader
        self._order = study.case_order(reader)

    def case(self, number: int) -> Case:
        """The case at a place, from 0, in this reader's order.

        Raises:
            ValueError: if there is none.
        """
        if not 0 <= number < len(self._order):
            raise ValueError(f"there is no case {number}")
        return self._study.cases[self._order[number]]

    def reports(self, number: int) -> list[dict[str, Any]]:
        """Letter, text and this reader's answers for each report of a case."""
        case = self.case(number)
        shown = []
        for letter, system in zip(ascii_uppercase, self._study.report_order(self.reader, case), strict=False):
            key = (self.reader, case.subset, case.scan_id, system)
            shown.append(
                {
                    "letter": letter,
                    "text": case.reports[system],
                    "score": self._answers.scores.get(key),
                    "comment": self._answers.comments.get(key, ""),
                }
            )
        return shown

    def progress(self) -> dict[str, Any]:
        """Which cases are complete, and where the reader goes on: at the first report without a score."""
        scored = [[report["score"] is not None for report in self.reports(n)] for n in range(len(self._order))]
        done = [all(reports) for reports in scored]
        case = done.index(False) if False in done else len(done) - 1
        return {"done": done, "case": case, "report": scored[case].index(False) if not done[case] else 0}

    def save(self, number: int, letter: str, score: int | None, comment: str | None) -> None:
        """Keep a score or a comment.

        Raises:
            ValueError: if there is no such case or report, or the answer is not one.
        """
        case = self.case(number)
        systems = dict(zip(ascii_uppercase, self._study.report_order(self.reader, case), strict=False))
        if letter not in systems:
            raise ValueError(f"there is no report {letter!r}")
        self._answers.add(Answer(self.reader, case.subset, case.scan_id, systems[letter], score, comment))


def build_app(study: Study, answers: AnswerFile, shelf: ScanShelf, hosts: tuple[str, ...]) -> Starlette:
    """Build the web application; `hosts` are the names it answers to, so that no other site can speak through one."""
    if len(study.systems) > len(ascii_uppercase):
        raise ValueError(f"at most {len(ascii_uppercase)} systems can be told apart by letters")

    def session(request: Request) -> ReaderSession:
        return ReaderSession(study, answers, clean_reader(request.query_params.get("reader")))

    async def progress(request: Request) -> Response:
        reader = session(request)
        windows = [asdict(window) for window in WINDOWS]
        return JSONResponse({"reader": reader.reader, "windows": windows, **reader.progress()})

    async def case(request: Request) -> Response:
        reader, number = session(request), request.path_params["case"]
        volume = await _read(lambda: shelf.volume(reader.case(number)))
        return JSONResponse({"reports": reader.reports(number), "planes": describe_planes(volume)})

    async def one_slice(request: Request) -> Response:
        reader, where = session(request), request.path_params
        volume = await _read(lambda: shelf.volume(reader.case(where["case"])))
        return Response(slice_bytes(volume, where["plane"], where["index"]), media_type="application/octet-stream")

    async def answer(request: Request) -> Response:
        # Another site's form can send text, never JSON, to an address on this machine.
        if request.headers.get("content-type") != "application/json":
            raise ValueError("an answer comes as JSON")
        reader, given = session(request), await request.json()
        if not isinstance(given, dict) or type(given.get("case")) is not int or type(given.get("letter")) is not str:
            raise ValueError("an answer names its case and report")
        comment = given.get("comment")
        if isinstance(comment, str) and len(comment) > LONGEST_COMMENT:
            raise ValueError(f"a comment has at most {LONGEST_COMMENT} letters")
        await run_in_threadpool(reader.save, given["case"], given["letter"], given.get("score"), comment)
        return JSONResponse({"saved": True})

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    routes = [
        Route("/", page),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/api/progress", progress),
        Route("/api/case/{case:int}", case),
        Route("/api/case/{case:int}/{plane}/{index:int}", one_slice),
        Route("/api/answer", answer, methods=["POST"]),
    ]
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_PrivateHeaders)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=FAILURES)


class _PrivateHeaders:
    """Puts `HEADERS` on every response."""

    def __init__(self, app: Callable) -> None:
        self._app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def _read(read: Callable[[], Any]) -> Any:
    """Read a volume beside the loop; a file that fails is told without its name."""
    try:
        return await run_in_threadpool(read)
    except (CTReadError, OSError) as error:
        print(f"argus: {error}", file=sys.stderr, flush=True)
        raise UnreadableScanError from None


async def _refuse(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the answer could not be saved; please tell who runs the study"}, status_code=500)


async def _unreadable(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the scan cannot be read; please tell who runs the study"}, status_code=500)


FAILURES = {ValueError: _refuse, OSError: _failed, UnreadableScanError: _unreadable}


def serve(
    study: Study, answers: AnswerFile, shelf: ScanShelf, host: str, port: int, say: Callable[[str], None]
) -> None:
    """Serve the study until it is interrupted; `port` 0 takes a free one. The address is given to `say`.

    Raises:
        OSError: if the address is taken.
    """
    listener = open_listener(host, port)
    app = build_app(study, answers, shelf, allowed_hosts(host))
    say(f"reader study at http://{host}:{listener.getsockname()[1]}/ (ctrl-c ends it; every answer is already saved)")
    run_app(app, listener)
