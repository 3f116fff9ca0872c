"""Stress `argus serve`: time and memory with clients that leave, flood, stall or ask for files without data.

make bounds         (writes runs/bench/serve_bounds.json)

A separate process serves a random argus-tiny on 127.0.0.1. Every wait has a limit: "no answer" is a result too.
"""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from bench_timing import timed
from rich.console import Console
from rich.table import Table

from argus_inference.console.terminal import show
from argus_processing.instructions import INSTRUCTIONS
from argus_processing.storage.whole_files import check_can_fill, write_json

LONGEST_WAIT_S = 120.0
STREAM_TOKENS, PLAIN_TOKENS = 900, 100
HALF_OPEN, FILES, PLAIN_BESIDE, FIFOS = 400, 256, 60, 45


@dataclass(frozen=True)
class Bound:
    """The result of one test: seconds and outcome of a request that should still work, and the server's peak memory."""

    name: str
    seconds: float
    outcome: str
    peak_mb: float


@dataclass(frozen=True)
class Served:
    """A running server: its process, its port, the folder of scans that it serves, and the name of its model."""

    process: subprocess.Popen
    port: int
    folder: Path
    model: str = "model"

    @property
    def address(self) -> str:
        """Return the address for chat completions."""
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def request(self, name: str = "scan.nii.gz", text: str = "", **options: Any) -> dict[str, Any]:
        """Build a request for the report of a file in the served folder."""
        image = {"type": "image_url", "image_url": {"url": (self.folder / name).as_uri()}}
        content = [image, {"type": "text", "text": text}]
        return {"model": self.model, "messages": [{"role": "user", "content": content}]} | options

    def ask(self, timeout: float = LONGEST_WAIT_S, **options: Any) -> str:
        """Ask for a report; return the answer's status, or a text that says that no answer came."""
        try:
            return str(httpx.post(self.address, json=self.request(**options), timeout=timeout).status_code)
        except httpx.HTTPError as error:
            return f"no answer ({type(error).__name__})"

    def peak_mb(self) -> float:
        """Return the peak memory of the server's own process so far, in MB."""
        return self._memory_mb("VmHWM")

    def resident_mb(self) -> float:
        """Return the memory of the server's own process now, in MB."""
        return self._memory_mb("VmRSS")

    def _memory_mb(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(rf"{name}:\s+(\d+)", status).group(1)) / 1024


@contextmanager
def served(model: Path, folder: Path, *options: str, temporary: Path | None = None):
    """Run `argus serve` on a free port while the block runs, with further options and a folder of temporary files."""
    command = [sys.executable, "-m", "argus_cli.main", "serve", "--model", str(model), "--scans", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment |= {} if temporary is None else {"TMPDIR": str(temporary)}
    process = subprocess.Popen([*command, *options, "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                break
        else:
            raise RuntimeError("the server did not start: " + "".join(said))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        server = Served(process, int(found.group(1)), folder, model.name)
        server.ask(max_tokens=1)
        yield server
    finally:
        process.kill()
        process.wait()


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


def build_model(folder: Path) -> Path:
    """Assemble a random argus-tiny, whose reports end only at the token limit."""
    from argus_training.assembly.create import create_model
    from argus_training.assembly.language import tiny_llama
    from argus_training.assembly.report_tokenizer import train_tokenizer

    tokenizer = train_tokenizer([*INSTRUCTIONS, "No lung nodule."], vocab_size=400)
    language_model = tiny_llama(tokenizer, seed=0)
    with torch.no_grad():
        for parameter in language_model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    language_model.save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    return create_model("argus-tiny", folder / "model", llm=folder / "llm", dtype="float32")


def build_scans(folder: Path, names: Sequence[str]) -> None:
    """Write the CTs of phantoms."""
    import shutil

    import datasets

    import argus_processing  # noqa: F401  registers the data set

    with tempfile.TemporaryDirectory() as cache:
        sizes = {"num_train": 1, "num_validation": 1, "num_test": len(names)}
        phantoms = datasets.load_dataset("ct3drrg", "phantom", cache_dir=cache, **sizes)
        rows = phantoms["test"].cast_column("image", datasets.Nifti(decode=False))
        for name, row in zip(names, rows, strict=True):
            shutil.copyfile(row["image"]["path"], folder / name)


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


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]), *sys.argv[2:3])
