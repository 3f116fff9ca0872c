"""Measure `argus report --evidence` and `argus view` on a scan of 512x512x300 voxels: `make bench-viewer`.

PYTHONPATH=bench python -m serve_bench.bench_viewer runs/demo/argus-tiny runs/bench

The page is drawn in headless Chromium by SwiftShader, as on a computer without a graphics card. Writes `viewer.json`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from playwright import sync_api as playwright

from argus_inference.evidence.evidence_files import JSON_FILE
from argus_processing.phantom.files import FileStyle, write_nifti
from argus_processing.phantom.scans import Phantom, make_phantom
from argus_processing.storage.whole_files import check_can_fill, write_json

from .peak_memory import peak_mb

SHAPE = (300, 512, 512)
FIRST_SEED = 15_000_000
STYLE = FileStyle(("L", "P", "S"), "int16", 1.0, 0.0)
DRAWING = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
MOST_MS = 300_000
MB = 2**20


@dataclass(frozen=True)
class ViewerFigures:
    """The figures of one scan.

    Attributes:
        shape: of the scan.
        report_s, report_mb: seconds of `argus report --evidence` from its start to its end, and its peak memory.
        sentences, maps: their number in the report.
        first_picture_s: seconds from the page's address to all planes and 3D drawn.
        click_s: of each sentence with a map, seconds from the click to the map drawn and the crosshair at its peak.
        key_s: seconds from a key for the next slice to the slice drawn, the median of ten.
        window_s: seconds from a key for another window to the planes drawn.
        whole_s, whole_window_s: seconds from the button for all voxels to all drawn, with the map if there is one, and
            from a key for another window then.
        off_mm: largest distance of the crosshair from the peak that the report names.
        server_mb, browser_mb: peak memory of `argus view`, and memory of all of Chromium's processes before all voxels.
        asked_elsewhere, complaints: requests that left this machine, and errors in the console.
    """

    shape: tuple[int, int, int]
    report_s: float
    report_mb: float
    sentences: int
    maps: int
    first_picture_s: float
    click_s: tuple[float, ...]
    key_s: float
    window_s: float
    whole_s: float
    whole_window_s: float
    off_mm: float
    server_mb: float
    browser_mb: float
    asked_elsewhere: int
    complaints: tuple[str, ...]


def large_phantom(seed: int) -> Phantom:
    """Make a phantom of `SHAPE` voxels."""
    coarse = make_phantom(seed, (20.0, 20.0, 20.0))
    extent = [size * step for size, step in zip(coarse.hu.shape, coarse.spacing_mm, strict=True)]
    for _ in range(8):  # the grid is rounded, so that the size is found in a few steps
        phantom = make_phantom(seed, tuple(part / size for part, size in zip(extent, SHAPE, strict=True)))
        if phantom.hu.shape == SHAPE:
            return phantom
        extent = [part * own / size for part, own, size in zip(extent, phantom.hu.shape, SHAPE, strict=True)]
    raise RuntimeError(f"no phantom of {SHAPE} voxels")


def write_scan(path: Path) -> None:
    """Write such a phantom as a NIfTI file.

    In a process of its own: the peak memory of a process that starts others is counted as theirs.
    """
    write_nifti(large_phantom(FIRST_SEED), path, STYLE)


def write_report(scan: Path, model: Path, out: Path) -> tuple[float, float]:
    """Run `argus report --evidence`; return its seconds and its peak memory in MB."""
    command = ["report", str(scan), "--model", str(model), "--evidence", str(out)]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "argus_cli", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError("argus report --evidence failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


@contextmanager
def viewing(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run `argus view` while the block runs; give its address with the secret, and its process."""
    command = [sys.executable, "-u", "-m", "argus_cli", "view", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield (
            next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line))),
            psutil.Process(process.pid),
        )
    finally:
        process.terminate()
        process.wait()


def timed_until(page: "playwright.Page", act: Callable[[], Any], selector: str) -> float:
    """Return the seconds from an act to what `selector` waits for, with all planes drawn."""
    started = time.perf_counter()
    act()
    page.wait_for_selector(selector)
    page.wait_for_selector("#viewer:not([data-drawing])")
    page.screenshot()  # which waits until all that was asked for is drawn
    return time.perf_counter() - started


def measure_page(address: str, sentences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Open the page, choose every sentence with a map, turn slices; return the figures of it."""
    asked, complaints = [], []
    with playwright.sync_playwright() as running:
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = running.chromium.launch(executable_path=chromium, args=DRAWING)
        page = browser.new_page(viewport={"width": 1180, "height": 800})
        page.set_default_timeout(MOST_MS)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: told.type == "error" and complaints.append(told.text))
        first = timed_until(page, lambda: page.goto(address), "body[data-ready]")
        clicks, off = [], [0.0]
        for number, sentence in enumerate(sentences):
            if sentence["map"] is None:
                continue
            click = page.locator(".sentence").nth(number).click
            clicks.append(timed_until(page, click, f'#evidence[data-shown="{number}"]'))
            place = json.loads(page.get_attribute("#place", "data-mm"))
            off.append(max(abs(a - b) for a, b in zip(place, sentence["peak"]["patient_mm"], strict=True)))
        keys = []
        for _ in range(10):
            wanted = int(page.get_attribute(".plane.axial", "data-shown")) - 1
            keys.append(
                timed_until(page, lambda: page.keyboard.press("ArrowDown"), f'.plane.axial[data-shown="{wanted}"]')
            )
        window = timed_until(page, lambda: page.keyboard.press("b"), "#viewer")
        family = psutil.Process().children(recursive=True)
        used = sum(each.memory_full_info().pss for each in family if "chrom" in each.name())
        whole = timed_until(page, lambda: page.click("#whole"), "body[data-ready=scan]")
        whole_window = timed_until(page, lambda: page.keyboard.press("l"), "#viewer")
        browser.close()
    own = address.partition("#")[0]
    return {
        "first_picture_s": first,
        "click_s": tuple(clicks),
        "key_s": sorted(keys)[len(keys) // 2],
        "window_s": window,
        "whole_s": whole,
        "whole_window_s": whole_window,
        "off_mm": max(off),
        "browser_mb": used / MB,
        "asked_elsewhere": sum(not url.startswith((own, "blob:", "data:")) for url in asked),
        "complaints": tuple(complaints),
    }


def run_bench(model: Path, out: Path) -> ViewerFigures:
    """Measure one scan and write `viewer.json` into the folder `out`."""
    check_can_fill(out)
    with tempfile.TemporaryDirectory() as folder:
        scan, evidence = Path(folder) / "scan.nii.gz", Path(folder) / "evidence"
        with ProcessPoolExecutor(1, get_context("spawn")) as drawing:
            drawing.submit(write_scan, scan).result()
        seconds, memory = write_report(scan, model, evidence)
        sentences = json.loads((evidence / JSON_FILE).read_text(encoding="utf-8"))["sentences"]
        with viewing(evidence) as (address, server):
            page = measure_page(address, sentences)
            served_mb = peak_mb(server.pid)
    figures = ViewerFigures(
        shape=SHAPE,
        report_s=seconds,
        report_mb=memory,
        sentences=len(sentences),
        maps=sum(sentence["map"] is not None for sentence in sentences),
        server_mb=served_mb,
        **page,
    )
    write_json(out / "viewer.json", asdict(figures))
    return figures


def main(arguments: list[str]) -> None:
    """Run the measurement for a model's folder and an output folder."""
    if len(arguments) != 2:
        raise SystemExit("usage: python -m serve_bench.bench_viewer MODEL OUT")
    print(json.dumps(asdict(run_bench(Path(arguments[0]), Path(arguments[1]))), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
