"""Measure patch embedding (reshape and Linear against a strided Conv3d), and the cost of a study in four systems.

python bench/bench_vision.py runs/bench          (part of `make bench`, writes runs/bench/vision.json)

Both sides have the same weights and get the same volume. They take turns, so that a slower machine affects both.
"""

import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from bench_timing import seconds_of, timed
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from argus_inference.console.terminal import show
from argus_processing.storage.whole_files import check_can_fill, write_json
from argus_training.planning.flops import NUM_PROMPT_TOKENS, study_cost
from modeling_argus import TOWERS, preset_config, preset_vision_config
from modeling_argus.vision_argus import patchify

# A bfloat16 convolution of this stride takes tens of seconds on a CPU.
ROUNDS = {"float32": 5, "bfloat16": 2}
RESOLUTIONS = ("nr", "hr")
TIMED_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SIDES = ("linear", "conv3d")
LLM = "8b"


class LinearPatches(nn.Linear):
    """Patch embedding by a reshape and one Linear, as in Argus."""

    def __init__(self, patch_size: tuple[int, int, int], width: int):
        self.patch_size = patch_size
        depth, height, columns = patch_size
        super().__init__(depth * height * columns, width)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Embed `(B, 1, D, H, W)` as `(B, N, width)`."""
        return super().forward(patchify(volume, self.patch_size).flatten(1, 3))


class ConvolutionPatches(nn.Conv3d):
    """Patch embedding by a convolution whose stride equals its kernel size, as in most code."""

    def __init__(self, patch_size: tuple[int, int, int], width: int):
        super().__init__(1, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Embed `(B, 1, D, H, W)` as `(B, N, width)`."""
        return super().forward(volume).flatten(2).transpose(1, 2)


def make_sides(resolution: str, dtype: torch.dtype) -> tuple[dict[str, nn.Module], torch.Tensor]:
    """Make both sides with equal weights, and a random volume of the given resolution."""
    config = preset_vision_config(f"argus-{LLM}-{resolution}")
    torch.manual_seed(0)
    linear = LinearPatches(config.patch_size, config.hidden_size)
    convolution = ConvolutionPatches(config.patch_size, config.hidden_size)
    convolution.load_state_dict({"weight": linear.weight.view_as(convolution.weight), "bias": linear.bias})
    volume = torch.rand(1, 1, *config.image_size, dtype=dtype)
    return {"linear": linear.to(dtype), "conv3d": convolution.to(dtype)}, volume


def measure(module: nn.Module, volume: torch.Tensor) -> dict[str, float]:
    """Embed one volume, then backpropagate a gradient of ones; return the milliseconds of both."""
    module.zero_grad()
    forward, tokens = timed(lambda: module(volume))
    backward = seconds_of(lambda: tokens.sum().backward())
    return {"forward_ms": forward * 1e3, "backward_ms": backward * 1e3}


def bench_patches(resolution: str, dtype: str, rounds: int, make: Callable = make_sides) -> dict[str, float | str]:
    """Measure both sides; return their medians, the speed-up by the Linear, and the largest difference of the outputs.

    `make` gives the sides and the volume.
    """
    sides, volume = make(resolution, TIMED_DTYPES[dtype])
    with torch.no_grad():
        tokens = [sides[side](volume).float() for side in SIDES]
    for side in SIDES:
        measure(sides[side], volume)  # warm-up: the first pass also allocates memory
    runs = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            runs[side].append(measure(sides[side], volume))
    row: dict[str, float | str] = {"resolution": resolution, "dtype": dtype}
    for side in SIDES:
        for way in ("forward_ms", "backward_ms"):
            row[f"{side}_{way}"] = statistics.median(run[way] for run in runs[side])
    totals = {side: row[f"{side}_forward_ms"] + row[f"{side}_backward_ms"] for side in SIDES}
    row["times_faster"] = totals["conv3d"] / totals["linear"]
    row["largest_difference"] = float((tokens[0] - tokens[1]).abs().max())
    return row


def system_rows() -> list[dict]:
    """Compute tokens and operations of every system at both resolutions, with the 8B language model."""
    rows = []
    for resolution in RESOLUTIONS:
        for tower in TOWERS:
            config = preset_config(f"argus-{LLM}-{resolution}", tower)
            cost = study_cost(config)
            rows.append(
                {
                    "system": tower,
                    "resolution": resolution,
                    "image_size": config.vision_config.image_size,
                    "compressor": config.compressor,
                    **asdict(cost),
                    "total_flops": cost.total_flops,
                }
            )
    return rows


def run_bench(out: Path) -> dict:
    """Measure the patch embeddings, compute the systems' costs, write `vision.json` into `out`, print both tables."""
    check_can_fill(out)
    plan = [(resolution, dtype) for dtype in TIMED_DTYPES for resolution in RESOLUTIONS]
    patches = [
        bench_patches(resolution, dtype, ROUNDS[dtype])
        for resolution, dtype in track(plan, description="patch embedding", console=Console(stderr=True))
    ]
    results = {
        "machine": {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "versions": {"torch": version("torch"), "python": platform.python_version()},
        "rounds": ROUNDS,
        "patch_embedding": patches,
        "language_model": LLM,
        "prompt_tokens": NUM_PROMPT_TOKENS,
        "systems": system_rows(),
    }
    write_json(out / "vision.json", results)

    show(patch_table(patches))
    show(system_table(results["systems"]))
    return results


def patch_table(rows: list[dict]) -> Table:
    """Return the patch embeddings as a rich table."""
    table = Table(title="Patch embedding of one volume, forward + backward, ms")
    for column in ("grid", "type", "reshape + Linear", "strided Conv3d", "times faster", "largest difference"):
        table.add_column(column, justify="right")
    for row in rows:
        sides = (f"{row[f'{side}_forward_ms']:.0f} + {row[f'{side}_backward_ms']:.0f}" for side in SIDES)
        table.add_row(
            row["resolution"], row["dtype"], *sides, f"{row['times_faster']:.2f}", f"{row['largest_difference']:.1e}"
        )
    return table


def system_table(rows: list[dict]) -> Table:
    """Return the systems as a rich table."""
    table = Table(title=f"One study with a {LLM.upper()} language model, TFLOP", box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("grid", "system", "tokens", "to the LLM", "encoder", "connector", "prefill", "total"):
        table.add_column(column, justify="right")
    for row in rows:
        parts = (f"{row[f'{part}_flops'] / 1e12:.2f}" for part in ("encoder", "connector", "prefill", "total"))
        table.add_row(row["resolution"], row["system"], f"{row['tower_tokens']:,}", f"{row['visual_tokens']:,}", *parts)
    return table


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]))
