"""Serve the page of `argus view`: a report beside its scan, on an address of this machine.

The address that is printed holds a secret behind its `#`; without it the server gives nothing of the patient, neither
to another user of this machine nor to a web site that lets its own name point here. Needs the extra `view`.
"""

import hmac
import secrets
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from argus_processing.ct_checks import CTReadError
from argus_processing.ct_volume import CTVolume

from ..evidence.evidence_files import LIMITS
from ..evidence.evidence_picture import LEAST_SHOWN
from ..preview import LUNG, NOTICE, choose_window
from ..serving.local_server import allowed_hosts, open_listener, run_app, web_address
from ..serving.private_pages import bearer_secret, private_middleware, refusal
from .scan_image import coarse_image, map_image, reduced_image, reduced_steps, scan_image
from .viewed_report import ViewedReport
from .viewer_routes import WINDOWS, image_response, viewer_routes, windows_content

PAGE = Path(__file__).parent / "page"
SECRET_BYTES = 24
HOST = "127.0.0.1"


@dataclass(frozen=True)
class View:
    """A report and its scan.

    Attributes:
        report: the report.
        volume: the scan.
    """

    report: ViewedReport
    volume: CTVolume

    def content(self) -> dict[str, Any]:
        """Return what the page shows beside the scan; it holds no path and nothing of a header."""
        sentences = [
            {
                "start": sentence.start,
                "end": sentence.end,
                "peak_mm": sentence.peak_mm,
                "support": sentence.support,
                "reason": sentence.reason,
            }
            for sentence in self.report.sentences
        ]
        first = LUNG if choose_window(self.volume.hu) == LUNG else WINDOWS["m"]
        return {
            "report": self.report.report,
            "sentences": sentences,
            "limits": [NOTICE, LIMITS],
            "least_shown": LEAST_SHOWN,
            "windows": windows_content(),
            "first_window": first.name,
            "reduced_mm": self.reduced_mm(),
            "warnings": [*dict.fromkeys((*self.report.warnings, *self.volume.warnings))],
        }

    def reduced_mm(self) -> list[float] | None:
        """Return the voxels (D, H, W) in mm that are drawn without a graphics card; None if they are all voxels."""
        steps = reduced_steps(self.volume)
        if steps == [1, 1, 1]:
            return None
        return [step * spacing for step, spacing in zip(steps, self.volume.spacing_mm, strict=True)]

    def map(self, number: str) -> Path:
        """Return the file of a sentence's map, counted from 0.

        Raises:
            HTTPException: if there is none.
        """
        for place, sentence in enumerate(self.report.sentences):
            if number == str(place) and sentence.map is not None:
                return sentence.map
        raise HTTPException(404, "there is no such map")


def build_app(view: View, secret: str, hosts: Collection[str]) -> Starlette:
    """Build the web application.

    Args:
        view: what it shows.
        secret: the page sends it with every request for something of the patient.
        hosts: the names that it answers to.

    Raises:
        ValueError: if niivue was not built into this installation.
    """

    def check(request: Request) -> None:
        if not hmac.compare_digest(bearer_secret(request).encode("utf-8", "replace"), secret.encode()):
            raise HTTPException(401, "open the address that argus view printed", {"WWW-Authenticate": "Bearer"})

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "view.html")

    async def report(request: Request) -> Response:
        check(request)
        return JSONResponse(view.content())

    async def scan(request: Request) -> Response:
        check(request)
        return image_response(await run_in_threadpool(scan_image, view.volume))

    async def coarse(request: Request) -> Response:
        check(request)
        return image_response(await run_in_threadpool(coarse_image, view.volume))

    async def reduced(request: Request) -> Response:
        check(request)
        return image_response(await run_in_threadpool(reduced_image, view.volume))

    async def one_map(request: Request) -> Response:
        check(request)
        path = view.map(request.path_params["number"])
        return image_response(await run_in_threadpool(map_image, path, view.volume))

    routes = [
        Route("/", page),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/api/report", report),
        Route("/api/scan", scan),
        Route("/api/coarse", coarse),
        Route("/api/reduced", reduced),
        Route("/api/map/{number}", one_map),
        *viewer_routes(),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refuse, CTReadError: _tell}
    return Starlette(routes=routes, middleware=private_middleware(hosts), exception_handlers=handlers)


async def _refuse(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


async def _tell(request: Request, error: CTReadError) -> Response:
    print(f"argus: {error}", file=sys.stderr, flush=True)
    return refusal("this map cannot be read; the reason is where argus view was started", 500)


def serve_view(view: View, port: int, say: Callable[[str], None], started: Callable[[str], None]) -> None:
    """Serve the page on this machine's own address until interrupted; `port` 0 takes a free one.

    Args:
        view: what to show.
        port: of the address.
        say: prints a line for the user.
        started: called with the page's address once it can be opened.

    Raises:
        OSError: if the address is in use.
        ValueError: if niivue was not built into this installation.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    app = build_app(view, secret, allowed_hosts(HOST))
    listener = open_listener(HOST, port)
    address = f"{web_address(HOST, listener)}/#{secret}"
    say(f"{address} shows the scan, to you alone; ctrl-c ends it")
    started(address)
    run_app(app, listener)
