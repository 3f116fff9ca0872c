"""Forward HTTP requests to a server, and hold a chosen one, so that a test can end a program at that very step."""

import http.client
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEFORE, HALF, AFTER = "before", "half", "after"
LONGEST_HOLD_S = 120.0


@dataclass
class Hold:
    """A request that is held: before it is forwarded, after half of its answer, or before its answer.

    Attributes:
        method, path: of the request; the path is a regular expression.
        when: BEFORE, HALF or AFTER.
        number: which of the requests that fit, from 1.
    """

    method: str
    path: str
    when: str
    number: int = 1
    seen: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def takes(self, method: str, path: str) -> bool:
        """Count a request that fits; return whether it is the one to hold."""
        if method != self.method or re.search(self.path, path.partition("?")[0]) is None:
            return False
        self.seen += 1
        return self.seen == self.number

    def wait(self) -> None:
        """Tell that the request is there, and wait until it is released."""
        self.arrived.set()
        self.released.wait(LONGEST_HOLD_S)


class HoldingProxy:
    """A proxy in this process; `holds` may change while it runs."""

    def __init__(self, port: int) -> None:
        self.target, self.hold = port, Hold("", "", BEFORE)
        self.requests: list[str] = []
        self.lock = threading.Lock()

    @contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve in threads, encrypted if there is a context for it; yield the address."""
        server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            self.hold.released.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def taken(self, method: str, path: str) -> Hold | None:
        """Return the hold that takes a request."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            return self.hold if self.hold.takes(method, path) else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """Say nothing of clients that are killed."""


class _Handler(BaseHTTPRequestHandler):
    proxy: HoldingProxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._forward(b"")

    def do_POST(self) -> None:
        self._forward(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _forward(self, body: bytes) -> None:
        hold = self.proxy.taken(self.command, self.path)
        if hold is not None and hold.when == BEFORE:
            hold.wait()
        server = http.client.HTTPConnection("127.0.0.1", self.proxy.target, timeout=120)
        left_out = ("host", "transfer-encoding", "content-length", "connection")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        try:
            server.request(self.command, self.path, body or None, headers)
            answer = server.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # as a server that is gone
            return
        finally:
            server.close()
        if hold is not None and hold.when == AFTER:
            hold.wait()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in left_out and name.lower() not in ("date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        if hold is not None and hold.when == HALF:
            self.wfile.flush()
            hold.wait()
        self.wfile.write(content[half:])

    def log_message(self, format: str, *arguments: object) -> None:
        """Write no line for a request."""
