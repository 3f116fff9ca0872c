"""Define what the web application asks of an engine: a model that writes reports, one at a time or many together."""

from collections.abc import AsyncGenerator, Mapping
from threading import Event
from typing import Any, Protocol, TypeAlias

import torch

from argus_processing import CTVolume

from ..generation import Generated
from .serve_requests import ReportRequest

Scan: TypeAlias = CTVolume | torch.Tensor  # a tensor is a scan's visual tokens


class ReportEngine(Protocol):
    """A model behind the server.

    Attributes:
        name: the model's name for clients.
        origin: what answers tell of how the model was made.
        places: number of reports that it writes at a time.
    """

    name: str
    origin: Mapping[str, str]
    places: int

    def fit(self, asked: ReportRequest) -> tuple[int, int]:
        """Return the tokens of a request's prompt and the limit of its report; raises RefusedError if too long."""

    def prepare(self, scan: Scan, asked: ReportRequest) -> Any:
        """Make the model's inputs, in a thread; raises ScanNotReadError for a scan that it cannot take."""

    def words(self, prepared: Any, asked: ReportRequest, gone: Event) -> AsyncGenerator[str | Generated, None]:
        """Yield a report's words as they come, and the whole report last; closing it ends the generation."""

    def is_healthy(self) -> bool:
        """Return whether it can still write reports."""

    def metrics(self) -> str:
        """Return numbers of its own in the text format of Prometheus, or nothing."""

    def close(self) -> None:
        """Free everything, at the server's end."""
