"""A web application on an address of this machine, without a log of what is asked. Needs starlette and uvicorn."""

import socket

import uvicorn
from starlette.applications import Starlette


def open_listener(host: str, port: int) -> socket.socket:
    """Take an address; `port` 0 takes a free one.

    Raises:
        OSError: if the address is taken.
    """
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from here on nobody is refused, though the server comes up a moment later
    except OSError as error:
        listener.close()
        raise OSError(f"{host}:{port} cannot be used ({error.strerror}); give another --port") from None
    return listener


def allowed_hosts(host: str) -> tuple[str, ...]:
    """Name the hosts to answer to, so that no other site can speak through a name of its own."""
    return ("127.0.0.1", "localhost") if host in ("127.0.0.1", "localhost") else ("*",)


def run_app(app: Starlette, listener: socket.socket) -> None:
    """Serve until interrupted."""
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)).run([listener])
