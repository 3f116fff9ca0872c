"""Measure a watcher beside a real Orthanc: from the last slice to the report, and its memory: `make pacs-bench`."""

import argparse
import json
import os
import signal
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from drawn_pacs import study_of, write_series
from orthanc_server import OrthancServer, missing_programs
from watching import NUM_SLICES, Watching, is_reported, wait_until

FULL_SLICES, FULL_FACTOR = 300, 6  # 576 x 576
STEPS = ("headers", "fetched", "chosen", "written", "made", "sent")


def full_size(paths: list[Path]) -> None:
    """Enlarge slices to the size that scanners write."""
    for path in paths:
        header = pydicom.dcmread(path)
        pixels = np.kron(header.pixel_array, np.ones((FULL_FACTOR, FULL_FACTOR), header.pixel_array.dtype))
        header.Rows, header.Columns = pixels.shape
        header.PixelSpacing = [float(side) / FULL_FACTOR for side in header.PixelSpacing]
        header.PixelData = pixels.tobytes()
        header.save_as(path)


def seconds_of_steps(watching: Watching, name: str, began: float) -> dict[str, float]:
    """Return the time at which each step of the last study ended, from `began`."""
    lines = [json.loads(line) for line in (watching.state / "audit.jsonl").read_text().splitlines()]
    own = [line for line in lines if line.get("study") == name]
    return {
        line["event"]: round(datetime.fromisoformat(line["time"]).timestamp() - began, 2)
        for line in own
        if line["event"] in STEPS
    }


def measure_delay(server: OrthancServer, watching: Watching, folder: Path, seed: int) -> dict[str, float]:
    """Store one full-sized study by C-STORE; return seconds from its last slice, by step, and until it can be read."""
    paths = write_series(folder / str(seed), seed, FULL_SLICES)
    full_size(paths)
    before = len(watching.events())
    server.send(paths)
    began = time.time()
    study = study_of(paths)
    wait_until(lambda: is_reported(server, study), "the report")
    readable = time.time() - began
    wait_until(lambda: "done" in watching.events()[before:], "the end")
    last = json.loads((watching.state / "audit.jsonl").read_text().splitlines()[-1])
    steps = seconds_of_steps(watching, last["study"], began)
    model = steps["written"] - steps["chosen"]
    return steps | {"readable": round(readable, 2), "model": round(model, 2), "beside": round(readable - model, 2)}


def resident_mb(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def measure_memory(
    server: OrthancServer, watching: Watching, folder: Path, num_studies: int
) -> tuple[list[int], list[int]]:
    """Store many small studies; return the resident memory in MB after each: the watcher's, and its children's."""
    assert watching.process is not None
    sizes, further = [], []
    for seed in range(num_studies):
        paths = write_series(folder / f"small{seed}", 10_000 + seed, NUM_SLICES)
        server.send(paths)
        study = study_of(paths)
        wait_until(lambda study=study: is_reported(server, study), "a report")
        for path in paths:
            path.unlink()
        sizes.append(resident_mb(watching.process.pid))
        further.append(sum(resident_mb(child) for child in children_of(watching.process.pid)))
    return sizes, further


def main() -> None:
    """Measure, and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--full", type=int, default=5)
    arguments = parser.parse_args()
    if missing := missing_programs():
        raise SystemExit(missing)
    with tempfile.TemporaryDirectory(prefix="argus-pacs-bench-") as name:
        folder = Path(name)
        server = OrthancServer(folder / "orthanc")
        server.start()
        settings = {"quiet_s": 2.0, "poll_s": 0.5, "max_new_tokens": 256}
        watching = Watching(folder / "watching", server.web, arguments.model.absolute(), settings)
        watching.start()
        try:
            load = os.getloadavg()[0]
            delays = [measure_delay(server, watching, folder, 5_000 + seed) for seed in range(arguments.full)]
            sizes, further = measure_memory(server, watching, folder, arguments.studies)
        finally:
            watching.end(signal.SIGTERM)
            server.stop()
    result = {
        "quiet_s": 2.0,
        "delays": delays,
        "memory_mb": sizes,
        "children_mb": further,
        "load": [load, os.getloadavg()[0]],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "pacs_bench.json").write_text(json.dumps(result, indent=2) + "\n")
    for delay in delays:
        print(delay)
    print("memory in MB after each 20 studies:", sizes[19::20])
    print("that of its children:", further[19::20])


if __name__ == "__main__":
    main()
