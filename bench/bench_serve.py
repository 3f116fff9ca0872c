"""Stress `argus serve`: time and memory with clients that leave, flood, stall or ask for files without data.

make bounds         (writes runs/bench/serve_bounds.json)

A separate process serves a random argus-tiny on 127.0.0.1. Every wait has a limit: "no answer" is a result too.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import httpx
import torch
import typer
from bench_timing import timed
from rich.console import Console
from rich.table import Table
from serve_bench.serve_load import run_load
from serve_bench.served_process import LONGEST_WAIT_S, Served, build_model, build_scans, served

from argus_inference.console.terminal import show
from argus_processing.storage.whole_files import check_can_fill, write_json

STREAM_TOKENS, PLAIN_TOKENS = 900, 100
HALF_OPEN, FILES, PLAIN_BESIDE, FIFOS = 400, 256, 60, 45


@dataclass(frozen=True)
class Bound:
    """The result of one test: seconds and outcome of a request that should still work, and the server's peak memory."""

    name: str
    seconds: float
    outcome: str
    peak_mb: float


def stream_left(server: Served) -> str:
    """Leave a stream after its first words; time the next report of one token."""
    with httpx.stream("POST", server.address, json=server.request(stream=True, max_tokens=STREAM_TOKENS)) as response:
        for line in response.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                break
    return server.ask(max_tokens=1)


def plain_left(server: Served) -> str:
    """Leave a plain request half a second after it was sent; time the next report of one token."""
    try:
        httpx.post(server.address, json=server.request(max_tokens=STREAM_TOKENS), timeout=0.5)
    except httpx.TimeoutException:
        pass
    return server.ask(max_tokens=1)


def instruction(num_bytes: int) -> Callable[[Served], str]:
    """Return a test that sends an instruction of `num_bytes`."""

    def long_instruction(server: Served) -> str:
        return server.ask(text=("nodule or effusion? " * (num_bytes // 20)), max_tokens=1)

    return long_instruction


def half_open(sent: bytes) -> Callable[[Served], str]:
    """Return a test that opens connections which send only `sent`, and then asks for a report."""

    def connections(server: Served) -> str:
        # Fewer open files than connections are allowed, as on a system with a low limit.
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        opened = []
        try:
            for _ in range(HALF_OPEN):
                opened.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
                opened[-1].sendall(sent)
            return server.ask(timeout=20, max_tokens=1)
        except OSError as error:
            return f"no connection ({type(error).__name__} after {len(opened)})"
        finally:
            for connection in opened:
                connection.close()

    return connections


HALF_HEADERS = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-"
HALF_BODY = HALF_HEADERS + b'Type: application/json\r\nContent-Length: 400\r\n\r\n{"messages": ['


def stream_beside(num_plain: int) -> Callable[[Served], str]:
    """Return a test that times a stream from its first words on, while `num_plain` plain requests are sent."""

    def stream(server: Served) -> str:
        answers: list[str] = []
        askers = [
            threading.Thread(target=lambda: answers.append(server.ask(max_tokens=PLAIN_TOKENS)))
            for _ in range(num_plain)
        ]
        started = 0.0
        with httpx.stream(
            "POST", server.address, json=server.request(stream=True, max_tokens=STREAM_TOKENS), timeout=LONGEST_WAIT_S
        ) as response:
            for line in response.iter_lines():
                if not started and line.startswith("data: {"):
                    started = time.perf_counter()
                    for asker in askers:
                        asker.start()
        seconds = time.perf_counter() - started
        for asker in askers:
            asker.join()
        counts = {status: answers.count(status) for status in sorted(set(answers))}
        return f"stream {seconds:.2f} s; plain: {counts}"

    return stream


def fifos(server: Served) -> str:
    """Ask for files that never give a byte (FIFOs), then for a report."""
    askers = []
    for number in range(FIFOS):
        name = f"fifo{number}.nii"
        if not (server.folder / name).exists():
            os.mkfifo(server.folder / name)
        askers.append(threading.Thread(target=lambda name=name: server.ask(timeout=3, name=name, max_tokens=1)))
        askers[-1].start()
    for asker in askers:
        asker.join()
    return server.ask(timeout=20, max_tokens=1)


def terminated(server: Served) -> str:
    """Send half a request and SIGTERM; time the end of the process."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HALF_BODY)
        time.sleep(0.3)  # until the server has received it
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(timeout=30)
            return "ended"
        except subprocess.TimeoutExpired:
            return "still running"


BOUNDS: dict[str, Callable[[Served], str]] = {
    "one token, nothing else": lambda server: server.ask(max_tokens=1),
    f"{STREAM_TOKENS} tokens, nothing else": lambda server: server.ask(max_tokens=STREAM_TOKENS),
    "a stream is left, then one token": stream_left,
    "a plain request is left, then one token": plain_left,
    "50 kB of instruction": instruction(50_000),
    "200 kB of instruction": instruction(200_000),
    "a stream, nothing else": stream_beside(0),
    f"a stream beside {PLAIN_BESIDE} plain requests": stream_beside(PLAIN_BESIDE),
    f"{HALF_OPEN} half-sent headers, then one token": half_open(HALF_HEADERS),
    f"{HALF_OPEN} half-sent bodies, then one token": half_open(HALF_BODY),
    f"{FIFOS} FIFOs, then one token": fifos,
    "SIGTERM with a half-sent request": terminated,
}


def measure(name: str, model: Path, folder: Path) -> Bound:
    """Run one test on a new server."""
    with served(model, folder) as server:
        seconds, outcome = timed(lambda: BOUNDS[name](server))
        alive = server.process.poll() is None
        return Bound(name, seconds, outcome, server.peak_mb() if alive else float("nan"))


def run_bench(out: Path, part: str = "") -> list[Bound]:
    """Run the tests whose names hold `part`, write `serve_bounds.json` into `out`, print a table."""
    check_can_fill(out)
    torch.set_num_threads(1)
    console = Console(stderr=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "scans"
        scans.mkdir()
        build_scans(scans, ["scan.nii.gz"])
        model = build_model(Path(folder))
        for name in filter(lambda name: part in name, BOUNDS):
            rows.append(measure(name, model, scans))
            console.print(f"{name}: {rows[-1].seconds:.2f} s, {rows[-1].outcome}")
    write_json(out / "serve_bounds.json", {"rows": [asdict(row) for row in rows]})
    show(build_table(rows))
    return rows


def build_table(rows: list[Bound]) -> Table:
    """Return the results as a rich table."""
    table = Table("what is done", "seconds", "outcome", "peak MB", title="argus serve")
    for row in rows:
        table.add_row(row.name, f"{row.seconds:.2f}", row.outcome, f"{row.peak_mb:.0f}")
    return table


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the results.")],
    part: Annotated[str, typer.Option(help="Only the bounds whose names hold this.")] = "",
    load: Annotated[Path | None, typer.Option(help="In their place: this model under load.")] = None,
    engine: Annotated[str, typer.Option(help="That writes its reports: transformers or vllm.")] = "transformers",
) -> None:
    """Measure what a server bears."""
    if load is None:
        run_bench(out, part)
    else:
        run_load(load, out, engine)


if __name__ == "__main__":
    typer.run(main)
