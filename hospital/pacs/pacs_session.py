"""Open an HTTP session with a PACS that signs in, checks certificates, and holds no more of an answer than it may."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from .pacs_errors import PacsError
from .pacs_settings import PacsAddress

MAX_ANSWER_BYTES = 256 << 20  # the headers of 3,000 slices are about 30 MB
LONGEST_ANSWER_S = 1800.0  # a server that sends a byte now and then would hold the watcher for ever
CHUNK_BYTES = 1 << 20


class TokenAuth(AuthBase):
    """Sign each request with the bearer token of the moment."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token to a request."""
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request


class BoundedSession(requests.Session):
    """A session that follows no redirect, because reports and secrets go to the address of the settings alone.

    Attributes:
        max_bytes: longest answer that is held in memory; answers that are streamed are bounded by who reads them.
    """

    max_bytes = MAX_ANSWER_BYTES

    def request(self, method: str, url: str | bytes, *more: Any, **options: Any) -> requests.Response:
        """Send a request as `requests.Session` does.

        Raises:
            PacsError: if the answer is a redirect, too long, or takes too long.
        """
        own = {"stream": True, "allow_redirects": False}
        answer = super().request(method, url, *more, **options | own)
        if 300 <= answer.status_code < 400:
            answer.close()
            raise PacsError("the PACS sends requests on to another address; give that address as url")
        if not options.get("stream"):
            with answer:
                answer._content = b"".join(bounded(answer, self.max_bytes))  # where requests keeps it
        return answer


def bounded(answer: requests.Response, max_bytes: int) -> Iterator[bytes]:
    """Yield the content of an answer.

    Raises:
        PacsError: if it is longer than `max_bytes`, or takes too long.
    """
    size, until = 0, time.monotonic() + LONGEST_ANSWER_S
    for chunk in answer.iter_content(CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            raise PacsError(f"the PACS sends more than the {max_bytes / 2**20:,.0f} MB that an answer may have")
        if time.monotonic() > until:
            raise PacsError(f"the PACS takes more than {LONGEST_ANSWER_S / 60:.0f} minutes for one answer")
        yield chunk


def open_session(address: PacsAddress) -> BoundedSession:
    """Return a session that signs in and checks certificates as the address says, whatever the environment holds.

    Raises:
        ValueError, OSError: if a secret or a certificate is missing.
    """
    session = BoundedSession()
    session.trust_env = False  # neither .netrc nor a proxy
    for path in (address.ca_file, address.client_certificate, address.client_key):
        if path and not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file of certificates or keys")
    if address.ca_file:
        session.verify = address.ca_file
    if address.client_certificate:
        session.cert = (address.client_certificate, address.client_key)
    if address.user:
        session.auth = HTTPBasicAuth(address.user.encode(), address.password().encode())
    elif address.token():
        session.auth = TokenAuth(address.token)
    return session
