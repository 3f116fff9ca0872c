"""What may be asked of `argus serve`: the fields of a chat completion it looks at, and the scans it opens."""

import base64
import binascii
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from argus_processing import CTVolume, read_ct
from argus_processing.ct_volume import CTReadError
from argus_processing.instructions import INSTRUCTIONS

from .generation import MAX_NEW_TOKENS

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class ReportRequest:
    """One scan's report that is asked for."""

    scan_url: str
    instruction: str
    max_tokens: int
    stream: bool


def parse_request(body: bytes, model: str) -> ReportRequest:
    """Read a chat completion's request: one user message with one `image_url`, and text if it likes.

    Raises:
        LookupError: if it asks for another model.
        ValueError: if it is not of this form.
    """
    try:
        asked = json.loads(body)
    except ValueError:
        raise ValueError("the request is no JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
        raise ValueError("a request is an object with messages")
    if asked.get("model", model) != model:
        raise LookupError(f"no such model; this server has {model}")
    parts = [part for message in asked["messages"] for part in _parts(message)]
    urls = [_url(part) for part in parts if part.get("type") == "image_url"]
    texts = [part["text"] for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str)]
    if len(urls) != 1:
        raise ValueError(f"a report takes one scan, as one image_url; got {len(urls)}")
    limit = asked.get("max_completion_tokens") or asked.get("max_tokens") or MAX_NEW_TOKENS
    if not isinstance(limit, int) or not 0 < limit <= MAX_NEW_TOKENS:
        raise ValueError(f"max_completion_tokens is 1 to {MAX_NEW_TOKENS}")
    instruction = "\n".join(text.strip() for text in texts if text.strip()) or INSTRUCTIONS[0]
    return ReportRequest(urls[0], instruction, limit, bool(asked.get("stream")))


def _parts(message: Any) -> list[dict[str, Any]]:
    if not isinstance(message, dict) or message.get("role") != "user":
        raise ValueError("Argus takes one turn: messages of role user only")
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise ValueError("a message's content is text or a list of parts")
    return content


def _url(part: dict[str, Any]) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise ValueError("an image_url holds a url")
    return url


class ScanDoor:
    """Reads the scans that a server may read: below one folder, or sent along.

    Raises:
        FileNotFoundError: if there is no such folder.
    """

    def __init__(self, folder: Path | None):
        if folder is not None and not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of scans")
        self.folder = None if folder is None else Path(folder).resolve()

    def read(self, url: str) -> CTVolume:
        """Read the scan of a `file://` or `data:` address.

        Raises:
            ValueError: in one line, if it may not be read or is no CT.
        """
        if url.startswith("data:"):
            return self._read_sent(url)
        if url.startswith("file:"):
            return _read(self._allowed(url), name=Path(unquote(urlsplit(url).path)).name)
        raise ValueError("a scan comes as file:// or data: address; nothing is fetched from elsewhere")

    def _allowed(self, url: str) -> Path:
        if self.folder is None:
            raise ValueError("this server opens no folder (--scans); send the scan as a data: address")
        parts = urlsplit(url)
        asked = unquote(parts.path)
        # Resolved first: neither `..` nor a link leads out of the folder. One answer for all, so that nobody learns
        # what is there outside.
        if parts.netloc in ("", "localhost") and "\0" not in asked:
            path = Path(asked).resolve()
            if path.is_relative_to(self.folder) and path.exists():
                return path
        raise ValueError("no such scan in the folder that this server opens")

    def _read_sent(self, url: str) -> CTVolume:
        header, _, content = url.partition(",")
        if not header.endswith(";base64"):
            raise ValueError("a data: address holds a .nii or .nii.gz in base64")
        try:
            scan = base64.b64decode(content, validate=True)
        except binascii.Error:
            raise ValueError("the data: address is no base64") from None
        with tempfile.TemporaryDirectory(prefix="argus-") as folder:
            path = Path(folder) / ("scan.nii.gz" if scan.startswith(GZIP_MAGIC) else "scan.nii")
            path.write_bytes(scan)
            return _read(path, name="the scan")


def _read(path: Path, name: str) -> CTVolume:
    """Read a CT; what goes wrong is said under a name that tells nothing of this machine's folders."""
    try:
        return read_ct(path)
    except (CTReadError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(" ".join(reason.replace(str(path), name).split())) from None
