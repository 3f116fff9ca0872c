"""Serve a web application on an address of this machine; requests are not logged.

It needs starlette and uvicorn. Connections, their headers and their bodies have limits in number, size and time, so
that a half-sent request can neither keep other clients out nor stop the server from ending.
"""

import asyncio
import errno
import ipaddress
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_CONNECTIONS = 256
HEAD_SECONDS = 10.0  # from the connection, or the last answer on it, to the next request's last header
BODY_SECONDS = 30.0  # for any body, plus the time that its size takes at the lowest allowed speed
BODY_BYTES_A_SECOND = 256 << 10
SMALL_BYTES = 64 << 10  # this many bytes of every body do not count toward the limit for all bodies together
GRACE_SECONDS = 3  # from SIGTERM until requests that still run are broken off
WRITE_SECONDS = 60.0  # for a client that does not read its answer
LINGER_SECONDS, LINGER_BYTES = 2.0, 8 << 20  # limits of reading on after a refusal, so that the client can read it
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def open_listener(host: str, port: int) -> socket.socket:
    """Listen on an address; `port` 0 takes a free port.

    Raises:
        OSError: if the address is in use.
        ValueError: if the host is empty, which would mean every address.
    """
    if not host:
        raise ValueError("--host is empty; give the address to listen on (0.0.0.0 is all of this machine's)")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(MAX_CONNECTIONS)  # from now on connections are accepted; the server answers a moment later
    except OSError as error:
        listener.close()
        other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise OSError(f"{host}:{port} cannot be used ({error.strerror}); give another {other}") from None
    return listener


def web_address(host: str, listener: socket.socket) -> str:
    """Return the address to give to a browser or client."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def allowed_hosts(host: str, others: Collection[str] = ()) -> tuple[str, ...]:
    """Return the host names that the server answers to: the loopback's, `host`, and `others`.

    Another site can let one of its own names point to this machine's address; a request with such a name is refused.
    The server also answers to the bare address that a connection came in on, which is not in this list: see
    `HostGuard`.
    """
    return tuple(dict.fromkeys(filter(None, map(_host_name, (*LOOPBACK, host, *others)))))


def build_server(app: Starlette) -> uvicorn.Server:
    """Make a server with the limits of this module."""
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        # The applications report errors themselves: a library's traceback could quote a scan.
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=MAX_CONNECTIONS,
    )
    return uvicorn.Server(config)


def run_app(app: Starlette, listener: socket.socket) -> None:
    """Serve until interrupted; requests that still run `GRACE_SECONDS` later are broken off."""
    build_server(app).run([listener])


class GuardedProtocol(H11Protocol):
    """HTTP over one connection, with limits that uvicorn lacks: number of connections, time to ask, time to read.

    When there is one connection too many, the one that has waited longest for a whole request is closed.
    """

    _waiting_since = 0.0
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    # As in uvicorn: a connection of HTTP has a stream's transport, not any.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection and start the time limit of its headers."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > _most_connections():
            ours = (other for other in self.connections if isinstance(other, GuardedProtocol))
            waiting = [other for other in ours if other.is_waiting()]
            min(waiting, key=lambda other: other._waiting_since).break_off()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_head_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def is_waiting(self) -> bool:
        """Return whether there is no whole request to answer."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def handle_events(self) -> None:
        """Handle the received data; complete headers stop their timer."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            self._stop_head_timer()

    def on_response_complete(self) -> None:
        """Start the time limit for the next request of the connection."""
        self._await_head()
        super().on_response_complete()

    def shutdown(self) -> None:
        """End with the server, without waiting for the rest of an incomplete request."""
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body:
            self.break_off()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Start the time limit for a client that does not read its answer."""
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.break_off)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Stop that time limit, because the client reads again."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def break_off(self) -> None:
        """Close the connection at once."""
        self.connections.discard(self)  # the event loop reports the loss only a moment later
        self.transport.abort()

    def _await_head(self) -> None:
        self._stop_head_timer()
        self._waiting_since = time.monotonic()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.break_off)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _most_connections() -> int:
    """Return the highest number of connections; it leaves most of the process's open files for the application."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MAX_CONNECTIONS, soft // 4))


class HostGuard:
    """Middleware that refuses requests under another host's name, and writes sent by another site's page."""

    def __init__(self, app: Callable, hosts: Collection[str], refuse: Callable[[str, int], Any]) -> None:
        self._app, self._hosts, self._refuse = app, {host.lower() for host in hosts}, refuse

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            headers = _headers(scope)
            host = headers.get("host", "")
            if not self._is_ours(host, scope):
                refusal = self._refuse("this server does not answer to that host's name (see --allowed-host)", 400)
                return await refusal(scope, receive, send)
            if scope["method"] not in ("GET", "HEAD") and not _same_origin(headers, host):
                return await self._refuse("another site's page may not ask this server", 403)(scope, receive, send)
        await self._app(scope, receive, send)

    def _is_ours(self, host: str, scope: dict[str, Any]) -> bool:
        name = _host_name(host)
        if name in self._hosts:
            return True
        # A bare address cannot be another site's name; it is accepted if this connection came in on it.
        try:
            return ipaddress.ip_address(name) == _own_address(scope)
        except ValueError:
            return False


def _own_address(scope: dict[str, Any]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that a connection came in on; a server on `::` sees IPv4 as ::ffff:a.b.c.d."""
    address = ipaddress.ip_address((scope.get("server") or ("",))[0])
    return getattr(address, "ipv4_mapped", None) or address


def _headers(scope: dict[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _host_name(host: str) -> str:
    """Cut the port off a Host header: name:port, address:port or [address]:port; a bare IPv6 address has none."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal() or (":" in name and not name.endswith("]")):
        name = host
    return name.strip("[]").lower()


def _same_origin(headers: dict[str, str], host: str) -> bool:
    """Return whether a write comes from this server's own page or from a client that is no browser.

    Browsers name the page that sends a write; other clients name none.
    """
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return False
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


class BodyGuard:
    """Middleware that limits the bytes and the time of a request's body, and the bytes of all bodies held at once."""

    def __init__(self, app: Callable, max_bytes: int, max_bytes_together: int) -> None:
        self._app, self._max_bytes, self._left = app, max_bytes, max_bytes_together

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, with a `receive` that refuses bodies over the limits."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = _Body(self, scope, receive)
        try:
            await self._app(scope, body.receive, body.lingering(send))
        finally:
            self._left += body.held

    def hold(self, num_bytes: int) -> int:
        """Count more bytes that a request holds, and return their number.

        Raises:
            HTTPException: if all requests together hold too many bytes.
        """
        if num_bytes > self._left:
            raise HTTPException(503, "too many large requests at once; try again later", {"Retry-After": "10"})
        self._left -= num_bytes
        return num_bytes

    @property
    def max_bytes(self) -> int:
        """Return the largest allowed size of one body in bytes."""
        return self._max_bytes


class _Body:
    """The body of one request while it is received."""

    def __init__(self, guard: BodyGuard, scope: dict[str, Any], receive: Receive) -> None:
        self._guard, self._receive = guard, receive
        headers = _headers(scope)
        self._declared = int(headers.get("content-length", "0"))
        self._expected = self._declared > 0 or "transfer-encoding" in headers
        self._started = time.monotonic()
        self._whole = False
        self.size = self.held = 0

    async def receive(self) -> Message:
        """Receive one part of the body.

        Raises:
            HTTPException: if the body is too large or too slow.
        """
        if self._whole:
            return await self._receive()
        if self._declared > self._guard.max_bytes:
            raise self._too_large()
        allowed = self._started + BODY_SECONDS + self.size / BODY_BYTES_A_SECOND - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), allowed)
        except TimeoutError:
            raise HTTPException(408, "the request took too long to come") from None
        size = len(message.get("body", b""))
        if self.size + size > self._guard.max_bytes:
            raise self._too_large()
        self.size += size
        self.held += self._guard.hold(max(0, self.size - SMALL_BYTES) - self.held)
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def _too_large(self) -> HTTPException:
        most = self._guard.max_bytes
        size = f"{most >> 20} MB" if most >= 1 << 20 else f"{most >> 10} kB"
        return HTTPException(413, f"a request has at most {size}")

    def lingering(self, send: Send) -> Send:
        """Return a `send` that closes the connection after an answer to half a body, but lets the client read it first.

        A connection that is closed while received data is still unread is reset, and then the answer is lost.
        """

        async def send_and_linger(message: Message) -> None:
            if self._whole or not self._expected:
                return await send(message)
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (b"connection", b"close")]
                return await send({**message, "headers": headers})
            if message.get("more_body", False):
                return await send(message)
            await send({**message, "more_body": True})
            await self._read_on()
            await send({"type": "http.response.body", "body": b""})

        return send_and_linger

    async def _read_on(self) -> None:
        read = 0
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while read < LINGER_BYTES:
                    message = await self._receive()
                    read += len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
        except TimeoutError:
            pass
