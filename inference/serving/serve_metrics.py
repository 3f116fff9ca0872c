"""Count a server's requests, and tell the numbers in the text format of Prometheus."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from ..generation import Generated
from .local_server import Message, Receive, Send

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RequestCounts:
    """Numbers of a running server.

    Attributes:
        waiting, running: requests that wait for their turn, and those whose report is being written.
        answers: finished requests by status.
        reports, report_tokens: reports that were written, and their tokens.
    """

    def __init__(self) -> None:
        self.waiting = self.running = self.reports = self.report_tokens = 0
        self.answers: Counter[int] = Counter()

    def add(self, report: Generated) -> None:
        """Count a written report."""
        self.reports += 1
        self.report_tokens += report.num_tokens

    def to_text(self) -> str:
        """Return all numbers as Prometheus reads them."""
        answers = [(f'{{status="{status}"}}', count) for status, count in sorted(self.answers.items())]
        return "".join(
            [
                _family("argus_requests_waiting", "gauge", "Requests that wait for their turn.", [("", self.waiting)]),
                _family("argus_requests_running", "gauge", "Reports that are being written.", [("", self.running)]),
                _family("argus_reports_total", "counter", "Reports that were written.", [("", self.reports)]),
                _family("argus_report_tokens_total", "counter", "Tokens of these reports.", [("", self.report_tokens)]),
                _family("argus_answers_total", "counter", "Requests for reports by the answer's status.", answers),
            ]
        )


def _family(name: str, kind: str, text: str, samples: list[tuple[str, int]]) -> str:
    lines = [
        f"# HELP {name} {text}",
        f"# TYPE {name} {kind}",
        *(f"{name}{labels} {value}" for labels, value in samples),
    ]
    return "\n".join(lines) + "\n"


class CountGuard:
    """Middleware that counts the answers to requests for reports; one that breaks off before its start is 499."""

    LEFT = 499  # the usual number for a client that left

    def __init__(self, app: Callable, counts: RequestCounts, path: str) -> None:
        self._app, self._counts, self._path = app, counts, path

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http" or scope["path"] != self._path:
            return await self._app(scope, receive, send)
        status = self.LEFT

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._counts.answers[status] += 1
