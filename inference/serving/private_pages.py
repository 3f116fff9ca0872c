"""Serve pages that ask for nothing but their own server, and that no other site can read, frame or cache."""

from collections.abc import Callable, Collection

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from .local_server import HostGuard

# With these, the browser itself refuses content from elsewhere, and stores nothing. Fonts of niivue are data.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PrivateHeaders:
    """Middleware that adds `HEADERS` to every response."""

    def __init__(self, app: Callable) -> None:
        self._app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Pass a request on, and its response with more headers back."""

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def refusal(message: str, status: int) -> JSONResponse:
    """Return an error as the pages read it."""
    return JSONResponse({"error": message}, status_code=status)


def private_middleware(hosts: Collection[str]) -> list[Middleware]:
    """Return what every page's server needs; `hosts` are the names it answers to."""
    return [Middleware(PrivateHeaders), Middleware(HostGuard, hosts=hosts, refuse=refusal)]


def bearer_secret(request: Request) -> str:
    """Return the secret that a page sends with its requests; empty without one."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
