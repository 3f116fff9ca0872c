"""Refuse requests of those who do not know the server's key."""

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .local_server import Receive, Send

OPEN_PATHS = ("/health",)  # what watches whether a server lives need not know the key
SCHEME = "bearer "


class KeyGuard:
    """Middleware that refuses a request without the key in its header, as `Authorization: Bearer KEY`."""

    def __init__(self, app: Callable, key: str, refuse: Callable[[str, int], Any]) -> None:
        self._app, self._key, self._refuse = app, key.encode(), refuse

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._knows_key(scope):
            refusal = self._refuse("the key is missing or wrong: Authorization: Bearer KEY", 401)
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return await refusal(scope, receive, send)
        await self._app(scope, receive, send)

    def _knows_key(self, scope: dict[str, Any]) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        is_bearer = given[: len(SCHEME)].lower() == SCHEME.encode()
        # The comparison takes as long for a nearly right key as for any other.
        return is_bearer and hmac.compare_digest(given[len(SCHEME) :].strip(), self._key)


def chosen_key(key: str | None, file: Path | None) -> str | None:
    """Return the key that was given or that a file holds, or None.

    Raises:
        OSError, ValueError: if both are given, the file cannot be read, or it holds no key.
    """
    if file is None:
        return check_key(key)
    if key is not None:
        raise ValueError("--api-key (or ARGUS_API_KEY) and --api-key-file are both given; give one")
    try:
        return check_key(file.read_text(encoding="utf-8").rstrip("\r\n"))
    except ValueError:
        raise ValueError(f"{file}: holds no key: one line of visible ASCII") from None


def check_key(key: str | None) -> str | None:
    """Return a key that a client can send, or None if there is none.

    Raises:
        ValueError: if it is empty or holds other signs than visible ASCII.
    """
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key and key):
        raise ValueError("--api-key is empty, or holds other signs than visible ASCII")
    return key
