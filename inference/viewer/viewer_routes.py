"""Serve the files that draw a scan: the viewer's own, and niivue."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ..preview import BONE, BRAIN, LUNG, MEDIASTINUM
from .niivue_file import niivue_script
from .scan_image import parts_of

PLANES = Path(__file__).parent / "planes"
WINDOWS = {"l": LUNG, "m": MEDIASTINUM, "b": BONE, "h": BRAIN}  # by key; B is taken, so the brain is H, as in head


def viewer_routes() -> list[BaseRoute]:
    """Return the routes of the viewer's files.

    Raises:
        ValueError: if niivue was not built into this installation; the message says how.
    """
    script = niivue_script()

    async def niivue(request: Request) -> Response:
        return FileResponse(script, media_type="text/javascript")

    return [Route("/niivue.js", niivue), Mount("/viewer", StaticFiles(directory=PLANES))]


def windows_content() -> list[dict[str, Any]]:
    """Return the windows as the viewer takes them: name, level, width and key."""
    return [{**asdict(window), "key": key} for key, window in WINDOWS.items()]


def image_response(content: bytes) -> Response:
    """Return an image of `scan_image`, sent in parts."""
    headers = {"Content-Length": str(len(content))}
    return StreamingResponse(parts_of(content), media_type="application/octet-stream", headers=headers)
