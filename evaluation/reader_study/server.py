"""Serve the reader study: its local page, and the requests of the page.

A response never holds a system's name, a scan's id or anything else of a scan's file: a case is a number in the
reader's order, a report is a letter. The secret in the link identifies the reader; the page sends it with every
request. Needs the extra `reader`.
"""

import sys
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from argus_inference.scan_files import ScanNotReadError
from argus_inference.scan_process import wait_for_readers
from argus_inference.serving.local_server import (
    BodyGuard,
    allowed_hosts,
    open_listener,
    run_app,
    web_address,
)
from argus_inference.serving.private_pages import bearer_secret, private_middleware, refusal
from argus_inference.viewer.scan_image import scan_image
from argus_inference.viewer.viewer_routes import image_response, viewer_routes, windows_content
from argus_processing.ct_volume import CTVolume

from .answers import Answer, AnswerFile, StaleAnswerError
from .links import ReaderLinks
from .study import Case, Study
from .study_scans import RecentVolumes, without_origin

PAGE = Path(__file__).parent / "page"
LONGEST_COMMENT = 20_000
MAX_BODY_BYTES = 256 << 10  # the longest comment with every letter escaped


class UnreadableScanError(Exception):
    """A case's scan cannot be read; the reason is printed for the person who runs the study, not for the reader."""


class _Answer(BaseModel):
    """An answer as the page sends it; values are not converted, and other fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    case: Annotated[int, Field(ge=0)]
    letter: Annotated[str, Field(min_length=1, max_length=1)]
    version: Annotated[int, Field(ge=0)]
    score: int | None = None
    comment: Annotated[str, Field(max_length=LONGEST_COMMENT)] | None = None


@dataclass(frozen=True)
class ShownReport:
    """A report as the page shows it, with the reader's answers; `versions` are those of score and comment."""

    letter: str
    text: str
    score: int | None
    comment: str
    versions: dict[str, int]


@dataclass(frozen=True)
class ReaderProgress:
    """The complete cases of a reader, and the case and report to go on with."""

    done: list[bool]
    case: int
    report: int


class ReaderSession:
    """One reader's view of a study; it translates between the page's numbers and letters and cases and systems."""

    def __init__(self, study: Study, answers: AnswerFile, reader: str) -> None:
        self._study, self._answers, self.reader = study, answers, reader
        self._order = study.case_order(reader)

    def case(self, number: int) -> Case:
        """Return the case with a number, from 0, in this reader's order.

        Raises:
            ValueError: if there is no such case.
        """
        if not 0 <= number < len(self._order):
            raise ValueError(f"there is no case {number}")
        return self._study.cases[self._order[number]]

    def reports(self, number: int) -> list[ShownReport]:
        """Return the reports of a case as the page shows them to this reader."""
        case = self.case(number)
        shown = []
        for letter, system in zip(ascii_uppercase, self._study.report_order(self.reader, case), strict=False):
            key = (self.reader, case.subset, case.scan_id, system)
            score, comment = self._answers.scores.get(key), self._answers.comments.get(key, "")
            shown.append(ShownReport(letter, case.reports[system], score, comment, self._answers.versions(key)))
        return shown

    def progress(self) -> ReaderProgress:
        """Return the complete cases, and the place to go on: the first report without a score."""
        scored = [[report.score is not None for report in self.reports(n)] for n in range(len(self._order))]
        done = [all(reports) for reports in scored]
        case = done.index(False) if False in done else len(done) - 1
        return ReaderProgress(done, case, scored[case].index(False) if not done[case] else 0)

    def save(self, given: _Answer) -> int:
        """Save a score or a comment and return its version.

        Raises:
            ValueError: if there is no such case or report, or the answer is not valid.
            StaleAnswerError: if the reader gave another answer in the meantime.
        """
        case = self.case(given.case)
        systems = dict(zip(ascii_uppercase, self._study.report_order(self.reader, case), strict=False))
        if given.letter not in systems:
            raise ValueError("there is no such report")
        system = systems[given.letter]
        answer = Answer(self.reader, case.subset, case.scan_id, system, given.score, given.comment)
        return self._answers.add(answer, given.version)

    def report(self, given: _Answer) -> ShownReport:
        """Return the current state of the report that an answer is about."""
        return next(report for report in self.reports(given.case) if report.letter == given.letter)


def build_app(
    study: Study, answers: AnswerFile, volumes: RecentVolumes, links: ReaderLinks, hosts: Collection[str]
) -> Starlette:
    """Build the web application; `hosts` are the names it answers to, so that no other site can use its own name.

    Raises:
        ValueError: if there are more systems than letters, or niivue was not built into this installation.
    """
    if len(study.systems) > len(ascii_uppercase):
        raise ValueError(f"at most {len(ascii_uppercase)} systems can be told apart by letters")

    def session(request: Request) -> ReaderSession:
        secret = bearer_secret(request)
        reader = links.reader_of(secret) if secret else None
        if reader is None:
            raise HTTPException(401, "open the link that you were given for this study", {"WWW-Authenticate": "Bearer"})
        return ReaderSession(study, answers, reader)

    async def progress(request: Request) -> Response:
        reader = session(request)
        return JSONResponse({"reader": reader.reader, "windows": windows_content(), **asdict(reader.progress())})

    async def case(request: Request) -> Response:
        reader, number = session(request), request.path_params["case"]
        await _read(volumes, reader.case(number))
        return JSONResponse({"reports": [*map(asdict, reader.reports(number))]})

    async def scan(request: Request) -> Response:
        reader = session(request)
        volume = await _read(volumes, reader.case(request.path_params["case"]))
        return image_response(await run_in_threadpool(scan_image, without_origin(volume)))

    async def answer(request: Request) -> Response:
        reader = session(request)
        # A form on another site can send text to an address on this machine, but never JSON.
        if request.headers.get("content-type") != "application/json":
            raise ValueError("an answer comes as JSON")
        try:
            given = _Answer.model_validate_json(await request.body())
        except ValidationError:
            raise ValueError(f"an answer is a score or a comment of at most {LONGEST_COMMENT} letters") from None
        try:
            return JSONResponse({"version": await run_in_threadpool(reader.save, given)})
        except StaleAnswerError:
            error = "this report was answered in another window meanwhile"
            return JSONResponse({"error": error, "report": asdict(reader.report(given))}, status_code=409)

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    routes = [
        Route("/", page),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/api/progress", progress),
        Route("/api/case/{case:int}", case),
        Route("/api/case/{case:int}/scan", scan),
        Route("/api/answer", answer, methods=["POST"]),
        *viewer_routes(),
    ]
    middleware = [
        *private_middleware(hosts),
        Middleware(BodyGuard, max_bytes=MAX_BODY_BYTES, max_bytes_together=64 * MAX_BODY_BYTES),
    ]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=FAILURES, lifespan=volumes.lifespan)


async def _read(volumes: RecentVolumes, case: Case) -> CTVolume:
    """Read a volume; if that fails, the client's error does not name the file."""
    try:
        return await volumes.volume(case)
    except (ScanNotReadError, OSError, EOFError) as error:
        print(f"argus: {error}", file=sys.stderr, flush=True)
        raise UnreadableScanError from None


async def _refuse(request: Request, error: Exception) -> Response:
    return refusal(str(error), 400)


async def _http_refuse(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return refusal("the answer could not be saved; please tell who runs the study", 500)


async def _unreadable(request: Request, error: Exception) -> Response:
    return refusal("the scan cannot be read; please tell who runs the study", 500)


FAILURES: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
    ValueError: _refuse,
    HTTPException: _http_refuse,
    OSError: _failed,
    UnreadableScanError: _unreadable,
}


def serve(
    study: Study,
    answers: AnswerFile,
    volumes: RecentVolumes,
    links: ReaderLinks,
    host: str,
    port: int,
    say: Callable[[str], None],
    other_hosts: Collection[str] = (),
) -> None:
    """Serve the study until interrupted; `port` 0 takes a free port. `say` is called with the address and every link.

    Raises:
        OSError: if the address is in use.
    """
    listener = open_listener(host, port)
    wait_for_readers()
    address = web_address(host, listener)
    app = build_app(study, answers, volumes, links, allowed_hosts(host, other_hosts))
    for name, secret in links.items():
        say(f"link of {name}, for nobody else: {address}/#{secret}")
    say(f"reader study at {address}/ (ctrl-c ends it; every answer is already saved)")
    run_app(app, listener)
