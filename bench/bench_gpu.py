"""Measure training, writing, towers, evidence and resampling at the real sizes on one CUDA GPU, with random weights.

make bench-gpu      (writes runs/bench-gpu/gpu.json; about eight minutes)

It needs no download, no compiler, and not all that Argus needs: of its libraries torch, transformers, peft, numpy,
scipy, rich and typer are enough. From a tree that is not installed, in an image that holds those:

    python3 -m pip install --no-deps --no-build-isolation --target /tmp/argus .
    PYTHONPATH=/tmp/argus python3 bench/bench_gpu.py runs/bench-gpu --minutes 8

The parts run in the order of `parts_of`. After each row the file is written anew; a part that fails is a row with an
error, and what the minutes do not suffice for is listed as skipped. `--tiny` runs the whole path on a CPU in a minute.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from gpu_bench.absent_libraries import do_without_readers

ABSENT = do_without_readers()  # before anything of Argus is imported

import torch  # noqa: E402
import typer  # noqa: E402
from gpu_bench.gpu_measurements import (  # noqa: E402
    evidence,
    parity,
    profile,
    resampling,
    together,
    towers,
    training,
    writing,
)
from gpu_bench.gpu_tables import part_names, tables  # noqa: E402
from gpu_bench.gpu_timing import Effort, Row, attempt, ceilings, peak_flops  # noqa: E402

from argus_inference.console.terminal import show  # noqa: E402
from argus_processing.storage.whole_files import check_can_fill, write_json  # noqa: E402

RESULTS = "gpu.json"
TINY = {"nr": "argus-tiny", "hr": "argus-tiny-hr"}
LIBRARIES = ("argus-ct", "torch", "transformers", "peft", "trl", "numpy")


@dataclass(frozen=True)
class Part:
    """A part of the bench.

    Attributes:
        name: of its list of rows in the results; several parts may add to one list.
        row_seconds: about what a row takes; with less time left, the rest is skipped.
        rows: starts it.
        about: what it measures, for the list of what was skipped.
    """

    name: str
    row_seconds: float
    rows: Callable[[], Iterator[Row]]
    about: str


def parts_of(device: str, effort: Effort, tiny: bool, out: Path, model: Path | None) -> list[Part]:
    """Return the parts, those first whose numbers say most."""

    def size(preset: str) -> str:
        return TINY[preset[-2:]] if tiny else preset

    micro_batches, batch_sizes = ((2, 1), (2,)) if tiny else ((16, 4, 1), (1, 16))
    scans = {"scans": 2} if tiny else {}
    hr, nr = size("argus-8b-hr"), size("argus-8b-nr")
    others = ("radfm", "ct2rep")
    parts = [Part("ceilings", 10, lambda: ceilings(device, effort), "the device itself")]
    for preset, lora in (("argus-3b-nr", False), ("argus-3b-hr", False), ("argus-8b-nr", True), ("argus-8b-hr", True)):
        run = _later(training, size(preset), lora, device, effort, micro_batches, **scans)
        parts.append(Part("training", 20, run, preset))
    for preset in (nr, hr):
        run = _later(writing, preset, "argus", device, effort, batch_sizes)
        parts.append(Part("writing", 25, run, preset))
    parts += [
        Part("towers", 15, lambda: towers((hr, nr), ("argus", "m3d"), device, effort), "argus, m3d"),
        Part("resampling", 15, lambda: resampling((hr, nr), device, effort), "of a scan"),
        Part("evidence", 25, lambda: evidence(hr, torch.bfloat16, device, effort), f"{hr}, bfloat16"),
        Part("parity", 15, lambda: parity(TINY["nr"], device, effort, model), "with the CPU"),
        Part("together", 15, lambda: together(hr, device, effort, (*batch_sizes, 8)), hr),
        Part("writing", 75, lambda: writing(hr, "argus", device, effort, batch_sizes, static=True), f"{hr}, compiled"),
        Part("evidence", 25, lambda: evidence(hr, torch.float32, device, effort), f"{hr}, float32"),
    ]
    for tower in ("m3d", *others):
        run = _later(writing, hr, tower, device, effort, batch_sizes[:1])
        parts.append(Part("writing", 25, run, f"{hr}, {tower}"))
    parts.append(Part("towers", 20, lambda: towers((hr, nr), others, device, effort), ", ".join(others)))
    for preset, lora in (("argus-3b-nr", False), ("argus-8b-nr", True), ("argus-8b-hr", True)):
        run = _later(training, size(preset), lora, device, effort, micro_batches[:2], **scans, recompute=False)
        parts.append(Part("training", 20, run, f"{preset}, nothing computed again"))
    for preset, lora in (("argus-3b-hr", False), ("argus-8b-hr", True)):
        run = _later(profile, size(preset), lora, device, out / f"profile_{preset}.json.gz")
        parts.append(Part("profiles", 40, run, preset))
    return parts


def names_of(part: Part) -> set[str]:
    """Return what `--only` may call a part."""
    return {part.name, f"{part.name}: {part.about}"}


def _later(measure: Callable[..., Iterator[Row]], *arguments: Any, **named: Any) -> Callable[[], Iterator[Row]]:
    return lambda: measure(*arguments, **named)


def run_bench(
    out: Path,
    device: str = "cuda",
    minutes: float = 8.0,
    tiny: bool = False,
    only: Collection[str] = (),
    effort: Effort | None = None,
    model: Path | None = None,
) -> dict[str, Any]:
    """Run the parts, write `gpu.json` into `out` after each row, and print the tables at the end.

    Args:
        out: the folder of the results.
        device: "cuda" or "cpu".
        minutes: after so many no further row is begun.
        tiny: measure argus-tiny and argus-tiny-hr in place of the presets.
        only: names of the parts that run, or `NAME: WHAT` of one, as the list of what was skipped tells them.
        effort: the amount of measuring.
        model: folder of a saved small model, whose tokens are compared with the CPU's. Default: random weights.

    Raises:
        ValueError: if there is no such device or part.
    """
    started = time.monotonic()
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("make bench-gpu needs a CUDA GPU, and PyTorch finds none; `make bench` measures on the CPU")
    effort = effort or Effort()
    parts = parts_of(device, effort, tiny, out, model)
    if unknown := set(only) - {name for part in parts for name in names_of(part)}:
        raise ValueError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(part_names())}")
    check_can_fill(out)
    results: dict[str, Any] = {
        "hardware": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if device.startswith("cuda") else None,
        "peak_flops": peak_flops(device),
        "versions": {name: _version(name) for name in LIBRARIES},
        "absent": ABSENT,
        "minutes": minutes,
        "effort": asdict(effort),
        "skipped": [],
    }
    for part in parts:
        if only and not names_of(part) & set(only):
            continue
        for row in _rows(part, started + 60 * minutes, device):
            named = {"seconds_since_start": round(time.monotonic() - started, 1), **row}
            results.setdefault("skipped" if "skipped" in row else part.name, []).append(named)
            write_json(out / RESULTS, results)
            print(part.name, json.dumps(named), flush=True)
    for table in tables(results):
        show(table)
    return results


def _rows(part: Part, deadline: float, device: str) -> Iterator[Row]:
    """Yield a part's rows; if it fails as a whole, or too little time is left, the last row says so."""
    skipped = {"part": part.name, "about": part.about, "skipped": "no time is left of --minutes"}
    if time.monotonic() + part.row_seconds > deadline:
        yield skipped
        return
    rows = part.rows()
    while True:
        # The end of the rows is a row without entries, so that what raises between rows is caught too.
        row = attempt({}, lambda: next(rows, {}), device)
        if not row:
            return
        yield row
        if time.monotonic() + part.row_seconds > deadline:
            rows.close()
            yield skipped | {"about": f"{part.about}: all but the rows above"}
            return


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the results.")],
    minutes: Annotated[float, typer.Option(help="After so many minutes no further row is begun.")] = 8.0,
    only: Annotated[list[str] | None, typer.Option(help="Part to run; may be given several times.")] = None,
    model: Annotated[Path | None, typer.Option(help="A saved small model, for parity with the CPU.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Tiny presets, on the CPU.")] = False,
) -> None:
    """Measure one GPU."""
    effort = Effort()
    if tiny:
        effort = replace(effort, warmup=0, steps=1, new_tokens=8, sentences=2, scan_shape=(24, 48, 48), matrix_side=64)
    try:
        run_bench(out, "cpu" if tiny else "cuda", minutes, tiny, only or (), effort, model)
    except (ValueError, OSError) as problem:
        typer.echo(f"bench_gpu: {problem}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
