"""An OpenAI-compatible server on this machine whose model is a function of the scan."""

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass
class WriterServer:
    """A server; `report` makes a report of `(D, H, W)` HU, or returns a status that is an error.

    Attributes:
        asked: requests for reports so far, without their scans.
        keys: the keys that came along.
    """

    report: Callable[[np.ndarray], str | int]
    models: tuple[str, ...] = ("writer",)
    asked: list[dict] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
            ]
        )

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.keys.append(request.headers.get("authorization", ""))
        image, text = body["messages"][0]["content"]
        header, _, content = image["image_url"]["url"].partition(",")
        scan = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(content)))
        self.asked.append(body | {"messages": (header, text["text"])})
        assert nib.aff2axcodes(scan.affine) == ("L", "P", "S")
        answer = self.report(np.asarray(scan.dataobj).transpose(2, 1, 0))
        if isinstance(answer, int):
            return JSONResponse(
                {"error": {"message": "a secret of the server", "code": "bad_scan"}}, status_code=answer
            )
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        return JSONResponse(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "writer", "choices": [choice]}
        )
