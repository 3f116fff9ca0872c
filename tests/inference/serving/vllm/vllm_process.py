"""Run a server in a process of its own: `argus serve`, or vLLM's own."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY = "a key"
START_SECONDS = 300


@contextmanager
def served(model: Path, scans: Path, log: Path, *options: str) -> Iterator[str]:
    """Run `argus serve` on a free port while the block runs; give the address."""
    command = ["argus_cli", "serve", "--model", str(model), "--scans", str(scans), "--port", "0", *options]
    with _running(command, log, {"ARGUS_API_KEY": KEY}, r"http://127\.0\.0\.1:\d+(?=/v1)") as found:
        yield found


@contextmanager
def served_by_vllm(model: Path, scans: Path, log: Path, *options: str) -> Iterator[str]:
    """Run vLLM's own server with the plugin while the block runs; give the address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "argus-tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--allowed-local-media-path", str(scans), "--api-key", KEY]
    environment = {"VLLM_MEDIA_CONNECTOR": "argus", "VLLM_NO_USAGE_STATS": "1"}
    with _running([*command, *options], log, environment, "Application startup complete"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], log: Path, variables: dict[str, str], ready: str) -> Iterator[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | variables
    with log.open("w") as told:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=told, stderr=told, env=environment)
    watch = threading.Timer(START_SECONDS, process.kill)
    watch.start()
    try:
        while not (found := re.search(ready, log.read_text())):
            if process.poll() is not None:
                raise RuntimeError(f"the server did not start: {log.read_text()}")
            time.sleep(0.2)
        watch.cancel()
        yield found[0]
    finally:
        watch.cancel()
        process.terminate()
        process.wait(60)
