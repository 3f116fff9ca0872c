"""Measure the wall time of one call, until the device that it uses has finished."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(function: Callable[[], Result], device: str = "cpu") -> tuple[float, Result]:
    """Call a function; return its seconds and its result.

    Args:
        function: called once.
        device: for "cuda", the time starts and ends with an idle GPU, because a call returns before the GPU is done.
    """
    wait_for(device)
    started = time.perf_counter()
    result = function()
    wait_for(device)
    return time.perf_counter() - started, result


def seconds_of(function: Callable[[], object], device: str = "cpu") -> float:
    """Call a function and return its seconds; see `timed`."""
    return timed(function, device)[0]


def wait_for(device: str) -> None:
    """Wait until a GPU has finished its work; for other devices, return at once."""
    if device.startswith("cuda"):
        # Imported here, because a benchmark that measures memory must import only what it needs.
        import torch

        torch.cuda.synchronize()
