"""Tell the watcher's health and counts over HTTP: /health and /metrics (Prometheus)."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, make_wsgi_app

from .ledger import FAILED, STATES, WAITING

SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
LONGEST_STEP_S = 3600.0  # a watcher that does nothing for longer is stuck


class WatchMetrics:
    """Counts of one watcher; none of them names a study."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._studies = Gauge("argus_studies", "Studies in the ledger by state", ["state"], registry=self.registry)
        self._outbox = Gauge("argus_outbox_objects", "Objects that wait to be sent", registry=self.registry)
        self._up = Gauge("argus_pacs_up", "Whether the PACS answered last time", registry=self.registry)
        self._disk = Gauge("argus_disk_ok", "Whether the state folder took the last write", registry=self.registry)
        self.sent = Counter("argus_reports_sent", "Reports that were sent and read back", registry=self.registry)
        self.replaced = Counter("argus_reports_replacing", "Sent reports that replace another", registry=self.registry)
        self.retries = Counter(
            "argus_retries", "Tries that failed and are repeated, by kind of error", ["kind"], registry=self.registry
        )
        self.reading = Histogram(
            "argus_reading_seconds",
            "Time to read a study and make its objects",
            registry=self.registry,
            buckets=SECONDS,
        )
        self.delay = Histogram(
            "argus_delay_seconds",
            "Time from the last change of a study to its report in the PACS",
            registry=self.registry,
            buckets=SECONDS,
        )
        self._counts: dict[str, int] = dict.fromkeys(STATES, 0)
        self._is_up = self._disk_is_ok = False
        self._alive = time.monotonic()

    def count(self, counts: dict[str, int], num_outbox: int) -> None:
        """Set the numbers of studies and of waiting objects."""
        for state, number in counts.items():
            self._studies.labels(state).set(number)
        self._outbox.set(num_outbox)
        self._counts, self._alive = counts, time.monotonic()

    def tell_pacs(self, is_up: bool) -> None:
        """Note whether the PACS answered."""
        self._is_up = is_up
        self._up.set(is_up)

    def tell_disk(self, is_ok: bool) -> None:
        """Note whether the disk took a write."""
        self._disk_is_ok = is_ok
        self._disk.set(is_ok)

    def health(self) -> dict[str, bool | int | float]:
        """Return the state of health; `healthy` tells all in one."""
        idle = time.monotonic() - self._alive
        return {
            "healthy": self._is_up and self._disk_is_ok and idle < LONGEST_STEP_S,
            "pacs_up": self._is_up,
            "disk_ok": self._disk_is_ok,
            "seconds_since_step": round(idle, 1),
            "waiting": self._counts[WAITING],
            "failed": self._counts[FAILED],
        }


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Write no line for a request."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def serve_metrics(metrics: WatchMetrics, host: str, port: int) -> WSGIServer:
    """Answer /health (200 or 503) and /metrics in a thread.

    Raises:
        OSError: if the address is taken.
    """
    server = make_server(host, port, _application(metrics), _Server, _QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _application(metrics: WatchMetrics) -> Callable[[dict, Callable], Iterable[bytes]]:
    numbers = make_wsgi_app(metrics.registry)

    def answer(environ: dict, start: Callable) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return numbers(environ, start)
        if path != "/health":
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/health or /metrics\n"]
        told = metrics.health()
        start("200 OK" if told["healthy"] else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps(told).encode() + b"\n"]

    return answer
