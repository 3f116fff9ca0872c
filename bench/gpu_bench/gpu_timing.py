"""Measure calls on a device: how often, for how long, what its ceilings are, and what happens if one fails."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from bench_timing import seconds_of

from argus_processing.failures import is_memory, one_line

from .gpu_models import free_memory

NUM_REPORT_TOKENS = 130  # the usual length in the data sets
# Dense bfloat16 operations per second, from NVIDIA's data sheets; the key is a part of the device's name.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}

Row = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """The amount of measuring.

    Attributes:
        warmup: calls before the first that counts.
        steps: most calls that count.
        seconds: after so long no further call is made; at least one counts.
        new_tokens: length of a report.
        sentences: of a report with evidence.
        scan_shape: voxels of the scan that is preprocessed, (D, H, W).
        matrix_side: of the square matrices whose product gives the device's own ceiling.
    """

    warmup: int = 1
    steps: int = 5
    seconds: float = 5.0
    new_tokens: int = NUM_REPORT_TOKENS
    sentences: int = 8
    scan_shape: tuple[int, int, int] = (300, 512, 512)
    matrix_side: int = 8192


def median_seconds(function: Callable[[], object], device: str, effort: Effort) -> float:
    """Return the median of a call's seconds, without its warm-up."""
    for _ in range(effort.warmup):
        function()
    spent = [seconds_of(function, device)]
    while len(spent) < effort.steps and sum(spent) < effort.seconds:
        spent.append(seconds_of(function, device))
    return statistics.median(spent)


def attempt(named: Row, measure: Callable[[], Row], device: str) -> Row:
    """Run a measurement, which may fail: its row then has an `error`."""
    free_memory(device)
    try:
        return named | measure()
    except Exception as error:
        kind = "out of memory" if is_memory(error) else type(error).__name__
        return named | {"error": f"{kind}: {one_line(error)}"}


def peak_flops(device: str) -> float | None:
    """Return the device's dense bfloat16 operations per second, or None if they are not known."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else ""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


def ceilings(device: str, effort: Effort) -> Iterator[Row]:
    """Measure the device itself: a large product of random bfloat16 matrices, and a large copy on the device."""
    side = effort.matrix_side

    def product() -> Row:
        first, second = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
        seconds = median_seconds(lambda: [first @ second for _ in range(10)], device, effort) / 10
        return {"seconds": seconds, "tflops": 2 * side**3 / seconds / 1e12}

    def copy() -> Row:
        source = torch.rand(side, side, 8, device=device)
        target = torch.empty_like(source)
        seconds = median_seconds(lambda: [target.copy_(source) for _ in range(10)], device, effort) / 10
        return {"seconds": seconds, "gb_per_second": 2 * source.nbytes / seconds / 1e9}

    yield attempt({"what": f"product of {side} x {side}, bfloat16"}, product, device)
    yield attempt({"what": "copy, bytes read and written"}, copy, device)
