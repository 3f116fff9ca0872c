"""Compare loading a preprocessed volume from the volume cache with preprocessing it from .nii.gz.

make bench          (writes runs/bench/cache.json)

The two are measured in turn in one run. Both write into memory that was used before, like a training loop's buffers.
For both, the files are in the operating system's cache.
"""

import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from bench_preprocessing import GRIDS, write_scan
from bench_timing import seconds_of
from rich.console import Console
from rich.progress import track
from rich.table import Table

from argus_inference.console.terminal import show
from argus_processing import ArgusImageProcessor
from argus_processing.storage.volume_cache import ENCODINGS, VolumeCache
from argus_processing.storage.whole_files import check_can_fill, write_json

ROUNDS = 7


def run_bench(out: Path) -> dict:
    """Measure every encoding at both resolutions, write `cache.json` into `out`, print a table."""
    check_can_fill(out)
    scan = out / "scan_512x512x300.nii.gz"
    if not scan.exists():
        write_scan(scan)
    plan = [(resolution, encoding) for resolution in GRIDS for encoding in ENCODINGS]
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"resolution": resolution, "encoding": encoding, **measure(scan, resolution, encoding, Path(folder))}
            for resolution, encoding in track(plan, "cache", console=Console(stderr=True))
        ]
    results = {"versions": {name: version(name) for name in ("torch", "blosc2", "isal")}, "rows": rows}
    write_json(out / "cache.json", results)
    show(build_table(rows))
    return results


def measure(scan: Path, resolution: str, encoding: str, folder: Path) -> dict[str, float]:
    """Measure one encoding; return medians in ms, the entry's size in MB, and the largest error of `pixel_values`."""
    processor = ArgusImageProcessor(image_size=GRIDS[resolution])
    cache = VolumeCache(folder / encoding, processor, encoding)
    true, loaded = torch.zeros(processor.image_size), torch.zeros(processor.image_size)
    cache.load_into(scan, loaded)
    times: dict[str, list[float]] = {"file": [], "cache": []}
    for _ in range(ROUNDS):
        times["file"].append(seconds_of(lambda: processor.preprocess_image(scan, None, true)) * 1e3)
        times["cache"].append(seconds_of(lambda: cache.load_into(scan, loaded)) * 1e3)
    if cache.hits != ROUNDS:
        raise RuntimeError(f"{cache.hits} of {ROUNDS} loads came from the cache")
    file_ms, cache_ms = statistics.median(times["file"]), statistics.median(times["cache"])
    return {
        "file_ms": file_ms,
        "cache_ms": cache_ms,
        "times_faster": file_ms / cache_ms,
        "mb": cache.entry_of(scan.resolve()).stat().st_size / 1e6,
        "largest_difference": float((loaded - true).abs().max()),
    }


def build_table(rows: list[dict]) -> Table:
    """Return the rows as a rich table."""
    columns = ("resolution", "encoding", "file_ms", "cache_ms", "times_faster", "mb", "largest_difference")
    table = Table(*(column.replace("_", " ") for column in columns), title="Volume cache, 512 x 512 x 300 scan")
    for row in rows:
        numbers = [f"{row[column]:.1f}" for column in columns[2:-1]]
        table.add_row(row["resolution"], row["encoding"], *numbers, f"{row['largest_difference']:.1e}")
    return table


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]))
