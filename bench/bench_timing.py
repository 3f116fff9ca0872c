"""Timing one call: of wall time, until the device that it used has finished."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(function: Callable[[], Result], device: str = "cpu") -> tuple[float, Result]:
    """Return the seconds that a call took, and what it gave.

    Args:
        function: called once.
        device: "cuda" is waited for before and after, since it works on after a call has come back.
    """
    wait_for(device)
    started = time.perf_counter()
    result = function()
    wait_for(device)
    return time.perf_counter() - started, result


def seconds_of(function: Callable[[], object], device: str = "cpu") -> float:
    """Return the seconds that a call took, as `timed` does."""
    return timed(function, device)[0]


def wait_for(device: str) -> None:
    """Wait until a GPU has done what it was given; another device has."""
    if device.startswith("cuda"):
        # Not above: a bench that measures memory imports no more than it needs.
        import torch

        torch.cuda.synchronize()
