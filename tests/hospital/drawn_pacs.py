"""A small DICOMweb server that keeps its objects in memory, for tests of the client and the watcher."""

import functools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from io import BytesIO
from pathlib import Path

import pydicom
from hostile_headers import slice_header
from pydicom import Dataset
from pydicom.uid import generate_uid
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

BOUNDARY = "drawn-pacs"
WITHOUT = (0x7FE00010, 0x00420011)  # pixels, and the page of an encapsulated PDF
# Tells an answer that a request gets instead of its own, or None.
Fault = Callable[[Request, bytes], Response | None]


@dataclass
class DrawnPacs:
    """Objects by SOP Instance UID, as the bytes of their files; an object that is there is never replaced."""

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fault: Fault = lambda request, body: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, paths: list[Path]) -> None:
        """Store files."""
        for path in paths:
            self.objects[str(pydicom.dcmread(path).SOPInstanceUID)] = path.read_bytes()

    def headers(self) -> list[Dataset]:
        """Return all objects."""
        return [_header(content) for content in list(self.objects.values())]

    def of_kind(self, modality: str) -> list[Dataset]:
        """Return the objects of a modality, in the order in which they came."""
        return [header for header in self.headers() if header.Modality == modality]

    def app(self) -> Starlette:
        """Return the web application."""
        study, series = "/web/studies/{study}", "/web/studies/{study}/series/{series}"
        routes = {
            "/web/studies": self._studies,
            f"{study}/series": self._series,
            f"{series}/metadata": self._metadata,
            series: self._files,
            f"{series}/instances/{{sop}}": self._files,
        }
        stow = [Route(path, self._answering(self._store), methods=["POST"]) for path in ("/web/studies", study)]
        return Starlette(routes=stow + [Route(path, self._answering(answer)) for path, answer in routes.items()])

    def _answering(self, answer: Callable[[Request, bytes], Response]) -> Callable:
        async def answered(request: Request) -> Response:
            body = await request.body()
            with self.lock:
                self.requests.append(f"{request.method} {request.url.path}")
                return self.fault(request, body) or answer(request, body)

        return answered

    def _chosen(self, request: Request) -> list[tuple[Dataset, bytes]]:
        wanted = request.path_params
        pairs = zip(self.headers(), self.objects.values(), strict=True)
        return [
            (header, content)
            for header, content in pairs
            if header.StudyInstanceUID == wanted["study"]
            and header.SeriesInstanceUID == wanted.get("series", header.SeriesInstanceUID)
            and header.SOPInstanceUID == wanted.get("sop", header.SOPInstanceUID)
        ]

    def _studies(self, request: Request, body: bytes) -> Response:
        headers = self.headers()
        studies = dict.fromkeys(str(header.StudyInstanceUID) for header in headers if header.Modality == "CT")
        offset, limit = int(request.query_params.get("offset", 0)), int(request.query_params.get("limit", 100))
        found = []
        for uid in list(studies)[offset : offset + limit]:
            own = [header for header in headers if header.StudyInstanceUID == uid]
            found.append({"0020000D": _value("UI", uid), "00201208": _value("IS", len(own))})
        return JSONResponse(found)

    def _series(self, request: Request, body: bytes) -> Response:
        counts: dict[tuple[str, str], int] = {}
        for header, _ in self._chosen(request):
            key = str(header.SeriesInstanceUID), str(header.Modality)
            counts[key] = counts.get(key, 0) + 1
        offset = int(request.query_params.get("offset", 0))
        return JSONResponse(
            [
                {"0020000E": _value("UI", uid), "00080060": _value("CS", kind), "00201209": _value("IS", count)}
                for (uid, kind), count in list(counts.items())[offset:]
            ]
        )

    def _metadata(self, request: Request, body: bytes) -> Response:
        found = []
        for header, _ in self._chosen(request):
            bare = Dataset({tag: element for tag, element in header.items() if tag not in WITHOUT})
            found.append(json.loads(bare.to_json(suppress_invalid_tags=True)))
        return JSONResponse(found) if found else Response(status_code=404)

    def _files(self, request: Request, body: bytes) -> Response:
        found = [content for _, content in self._chosen(request)]
        if not found:
            return Response(status_code=404)
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        parts = b"".join(head + content + b"\r\n" for content in found) + f"--{BOUNDARY}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        return Response(parts, headers={"Content-Type": kind})

    def _store(self, request: Request, body: bytes) -> Response:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        stored = []
        for part in BytesParser().parsebytes(head + body).walk():
            if not part.is_multipart():
                content = part.get_payload(decode=True)
                header = pydicom.dcmread(BytesIO(content))
                self.objects.setdefault(str(header.SOPInstanceUID), content)
                own = {"00081150": _value("UI", header.SOPClassUID), "00081155": _value("UI", header.SOPInstanceUID)}
                stored.append(own)
        return JSONResponse({"00081199": {"vr": "SQ", "Value": stored}}, media_type="application/dicom+json")


@functools.cache
def _header(content: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(content))


def _value(kind: str, value: str | int) -> dict:
    return {"vr": kind, "Value": [value]}


def write_series(folder: Path, seed: int, num_slices: int = 80, **elements: str) -> list[Path]:
    """Write a chest series of a study of its own; further elements are set in each header."""
    study, series = (generate_uid(entropy_srcs=[str(seed), kind, "drawn pacs"]) for kind in ("study", "series"))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:04d}.dcm" for index in range(num_slices)]
    for index, path in enumerate(paths):
        header = slice_header(path, index, num_slices, study, series)
        header.PatientName, header.PatientID = f"Patient^{seed}", f"ID{seed}"
        header.StudyDate, header.StudyTime = "20240131", "101500"
        for keyword, value in elements.items():
            setattr(header, keyword, value)
        header.save_as(path)
    return paths


def study_of(paths: list[Path]) -> str:
    """Return the UID of the study of files."""
    return str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
