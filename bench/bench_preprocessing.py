"""Compare preprocessing with the usual MONAI transforms: seconds and memory for each resolution.

make bench          (installs MONAI, writes runs/bench/preprocessing.json)

Each measurement runs in its own process, so that its memory is counted alone. The sides take turns in one run, so that
a slower machine affects all. Inflating the file and doing nothing else is one of them: no preprocessing is faster.
"""

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
from bench_timing import seconds_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from serve_bench.peak_memory import peak_mb

from argus_inference.console.terminal import show
from argus_processing.storage.whole_files import check_can_fill, whole_file, write_json

SHAPE = (300, 512, 512)  # D, H, W
SPACING_MM = (1.0, 0.7, 0.7)
ROUNDS = 3
GRIDS = {"nr": (64, 256, 256), "hr": (256, 512, 512)}
COMPARED = ("argus", "monai")
FLOOR = "inflate"


def write_scan(path: Path) -> None:
    """Write a 512 x 512 x 300 int16 chest phantom as .nii.gz, the usual form of a scanner's export."""
    from argus_processing.phantom.scans import make_phantom

    hu = make_phantom(0, spacing_mm=SPACING_MM).hu
    padded = np.full(SHAPE, -1000, np.int16)
    kept = tuple(slice(0, min(have, want)) for have, want in zip(hu.shape, SHAPE, strict=True))
    padded[kept] = hu[kept]
    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    image = nib.Nifti1Image(padded.transpose(2, 1, 0), affine)
    image.set_sform(affine, code=1)
    with whole_file(path) as part:
        nib.save(image, part)


def argus_side(grid: tuple[int, int, int]) -> Callable[[str], object]:
    """Return the function that turns a file into `pixel_values` with Argus."""
    from argus_processing import ArgusImageProcessor

    processor = ArgusImageProcessor(image_size=grid)
    return lambda path: processor(path)["pixel_values"]


def inflating_side(grid: tuple[int, int, int]) -> Callable[[str], object]:
    """Return a function that inflates a file as Argus does, and throws the content away."""
    from argus_processing.read_nifti import CHUNK_BYTES, GzipContent

    def inflate(path: str) -> None:
        with open(path, "rb") as file:
            content = GzipContent(file)
            while content.read1(CHUNK_BYTES):
                pass

    return inflate


def monai_side(grid: tuple[int, int, int]) -> Callable[[str], object]:
    """Return a function with the same steps, as users of MONAI usually write them."""
    from monai.transforms import Compose, LoadImage, Orientation, Resize, ScaleIntensityRange, Spacing

    depth, height, width = grid
    return Compose(
        [
            LoadImage(image_only=True, ensure_channel_first=True),
            Orientation(axcodes="RAS", labels=None),
            Spacing(pixdim=(1.0, 1.0, 4.0), mode="bilinear"),
            ScaleIntensityRange(a_min=-1000, a_max=1000, b_min=0.0, b_max=1.0, clip=True),
            Resize(spatial_size=(width, height, depth), mode="trilinear"),
        ]
    )


def measure(side: str, resolution: str, scan: str) -> dict[str, float]:
    """Preprocess one scan in this process; return seconds, memory after the imports and peak memory."""
    transform = {"argus": argus_side, "monai": monai_side, FLOOR: inflating_side}[side](GRIDS[resolution])
    before = peak_mb()
    return {"seconds": seconds_of(lambda: transform(scan)), "imports_mb": before, "peak_mb": peak_mb()}


def run_bench(out: Path) -> dict:
    """Measure all sides at both resolutions, write `preprocessing.json` into `out`, print a table."""
    check_can_fill(out)
    scan = out / "scan_512x512x300.nii.gz"
    if not scan.exists():
        write_scan(scan)
    plan = [(resolution, side) for resolution in GRIDS for _ in range(ROUNDS) for side in (*COMPARED, FLOOR)]
    runs = [
        {"resolution": resolution, "side": side, **_measure_in_a_process(side, resolution, scan)}
        for resolution, side in track(plan, description="preprocessing", console=Console(stderr=True))
    ]
    results = {
        "scan": f"{SHAPE[1]} x {SHAPE[2]} x {SHAPE[0]} int16 .nii.gz, {scan.stat().st_size / 1e6:.1f} MB",
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("torch", "monai", "numpy", "nibabel", "isal")},
        "summary": {resolution: summarize(runs, resolution) for resolution in GRIDS},
        "runs": runs,
    }
    write_json(out / "preprocessing.json", results)
    show(build_table(results["summary"]))
    return results


def summarize(runs: list[dict], resolution: str) -> dict[str, float]:
    """Return the medians of the sides and their ratios; memory is the part that a scan adds to the imports."""
    inflating = [run["seconds"] for run in runs if (run["resolution"], run["side"]) == (resolution, FLOOR)]
    summary = {f"{FLOOR}_seconds": statistics.median(inflating)}
    for side in COMPARED:
        own = [run for run in runs if (run["resolution"], run["side"]) == (resolution, side)]
        summary[f"{side}_seconds"] = statistics.median(run["seconds"] for run in own)
        summary[f"{side}_added_mb"] = statistics.median(run["peak_mb"] - run["imports_mb"] for run in own)
        summary[f"{side}_peak_mb"] = statistics.median(run["peak_mb"] for run in own)
    summary["times_faster"] = summary["monai_seconds"] / summary["argus_seconds"]
    summary["memory_share"] = summary["argus_added_mb"] / summary["monai_added_mb"]
    return summary


def build_table(summary: dict[str, dict[str, float]]) -> Table:
    """Return the summary as a rich table."""
    table = Table(title="Preprocessing of one 512 x 512 x 300 scan")
    for column in ("grid", "Argus s", "inflate s", "MONAI s", "times faster", "Argus MB", "MONAI MB"):
        table.add_column(column, justify="right")
    for resolution, row in summary.items():
        numbers = [row["argus_seconds"], row["inflate_seconds"], row["monai_seconds"], row["times_faster"]]
        numbers += [row["argus_added_mb"], row["monai_added_mb"]]
        table.add_row(resolution, *(f"{number:.2f}" for number in numbers))
    return table


def _measure_in_a_process(side: str, resolution: str, scan: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", side, resolution, str(scan)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{side} at {resolution} failed:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        print(json.dumps(measure(*sys.argv[2:5])))
    else:
        run_bench(Path(sys.argv[1]))
