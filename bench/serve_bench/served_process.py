"""Run `argus serve` in a process of its own, on a model and scans made for it."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch

from argus_processing.instructions import INSTRUCTIONS

from .peak_memory import peak_mb

LONGEST_WAIT_S = 120.0


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
        """Build a request for the report of a file in the served folder, or of a `data:` address."""
        url = name if name.startswith("data:") else (self.folder / name).as_uri()
        image = {"type": "image_url", "image_url": {"url": url}}
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
        return peak_mb(self.process.pid)

    def resident_mb(self) -> float:
        """Return the memory of the server's own process now, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def family(self) -> list[psutil.Process]:
        """Return the server's process and all that it started."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def memory_mb(self) -> float:
        """Return the memory of these processes now, in MB; what they share is divided among them."""
        return sum(process.memory_full_info().pss for process in self.family()) / 2**20


@contextmanager
def served(model: Path, folder: Path, *options: str, temporary: Path | None = None):
    """Run `argus serve` on a free port while the block runs, with further options and a folder of temporary files."""
    command = [sys.executable, "-m", "argus_cli", "serve", "--model", str(model), "--scans", str(folder)]
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


def build_scans(folder: Path, names: Sequence[str], **options: Any) -> None:
    """Write the CTs of phantoms, drawn with further options of the data set."""
    import shutil

    import datasets

    import argus_processing  # noqa: F401  registers the data set

    with tempfile.TemporaryDirectory() as cache:
        sizes = {"num_train": 1, "num_validation": 1, "num_test": len(names)}
        phantoms = datasets.load_dataset("ct3drrg", "phantom", cache_dir=cache, **sizes, **options)
        rows = phantoms["test"].cast_column("image", datasets.Nifti(decode=False))
        for name, row in zip(names, rows, strict=True):
            shutil.copyfile(row["image"]["path"], folder / name)
