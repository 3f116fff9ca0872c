"""Compare llama.cpp with transformers: the tokens that they write, and tokens per second.

make bench-llama-cpp                                                     (writes runs/bench/llama_cpp.json)
PYTHONPATH=bench python -m serve_bench.bench_llama_cpp runs/bench runs/demo speed   (only this part; the other stays)

Parity: the demo's model writes the reports of its test scans with transformers in float32, and with llama.cpp for each
type of GGUF file. Speed: a model with the sizes of Llama 3.2 1B and random weights writes as many tokens after the
same prompt, and so does the demo's, one engine after the other, each in a process of its own with all cores. Tokens per
second are of the tokens after the first, so that reading the prompt is left out. The machine's load is written down
beside them.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from argus_inference.console.terminal import show
from argus_processing.storage.whole_files import check_can_fill, write_json

BENCH = Path(__file__).parents[1]
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m")
NUM_SCANS = 16
MOST_TOKENS = 400
NEW_TOKENS = 25
ROUNDS = 3
LLAMA_1B = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
# name in the results -> data type of transformers, or file type of llama.cpp
ENGINES = {
    "transformers float32": "float32",
    "transformers bfloat16": "bfloat16",
    **{f"llama.cpp {kind}": kind for kind in ("f16", "q8_0", "q4_0", "q4_k_m")},
}


def measure_parity(demo: Path) -> dict[str, Any]:
    """Compare the reports of the demo's test scans, token by token."""
    import datasets

    import argus_training
    from argus_evaluation.metrics.phantom_truth import score_findings
    from argus_inference.llama_cpp.export_gguf import export_gguf
    from argus_inference.llama_cpp.llama_cpp_model import load_with_gguf
    from argus_inference.model_folder import load_model
    from argus_processing.phantom.findings import Finding
    from argus_training.ablations.ablation_grid import read_base
    from argus_training.ablations.ablation_steps import subset_options

    recipe = Path(argus_training.__file__).parent / "recipes" / "demo.yaml"
    data = read_base(recipe).recipe["data"]
    test = datasets.load_dataset("ct3drrg", data["subset"], **subset_options(data, demo))["test"]
    test = test.select(range(NUM_SCANS))
    paths = [Path(image["path"]) for image in test.cast_column("image", datasets.Nifti(decode=False))["image"]]
    truths = [[Finding(**finding) for finding in findings] for findings in test["findings"]]
    folder, results = demo / "argus-tiny", {}
    reference = load_model(folder)
    pixels = [reference[1].image_processor(path)["pixel_values"] for path in paths]
    expected = [write_ids(reference, volume) for volume in pixels]
    scores = score_findings(texts_of(reference, expected), truths)
    results["transformers float32"] = compare(expected, expected) | {"finding_f1": value_of(scores)}
    with tempfile.TemporaryDirectory() as place:
        for kind in TYPES:
            path = Path(place) / f"{kind}.gguf"
            export_gguf(folder, path, kind)
            loaded = load_with_gguf(folder, path)
            written = [write_ids(loaded, volume) for volume in pixels]
            scores = score_findings(texts_of(loaded, written), truths)
            told = {"megabytes": path.stat().st_size / 1e6, "finding_f1": value_of(scores)}
            results[f"llama.cpp {kind}"] = compare(expected, written) | told
            print(kind, results[f"llama.cpp {kind}"], flush=True)
    return results


def value_of(scores: dict[str, Any]) -> float:
    """Return the share of findings that reports get right, F1."""
    return float(scores["finding_f1"].value)


def write_ids(loaded: tuple[Any, Any], pixels: torch.Tensor, most_tokens: int = MOST_TOKENS, **settings) -> list[int]:
    """Return the token ids of the greedy report on a volume `(1, 1, D, H, W)`; `settings` are of `generate`."""
    from argus_inference.generation import prompt_of
    from argus_processing.instructions import INSTRUCTION

    model, processor = loaded
    places = processor.image_token * processor.num_image_tokens
    prompt = prompt_of(processor, INSTRUCTION).replace(processor.image_token, places)
    ids = processor.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(
            **ids, pixel_values=pixels.to(model.dtype), max_new_tokens=most_tokens, do_sample=False, **settings
        )
    return tokens[0, ids["input_ids"].shape[1] :].tolist()


def texts_of(loaded: tuple[Any, Any], written: list[list[int]]) -> list[str]:
    """Return the texts of reports."""
    return [loaded[1].tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]


def compare(expected: list[list[int]], written: list[list[int]]) -> dict[str, int | float]:
    """Count equal reports, and tokens that are equal at their place; places that only one has count as unequal."""
    tokens = sum(max(len(one), len(other)) for one, other in zip(expected, written, strict=True))
    equal = sum(a == b for pair in zip(expected, written, strict=True) for a, b in zip(*pair, strict=False))
    same = sum(one == other for one, other in zip(expected, written, strict=True))
    return {
        "reports": len(expected),
        "equal_reports": same,
        "tokens": tokens,
        "equal_tokens": equal,
        "share_of_tokens": equal / tokens,
    }


class Clock:
    """A streamer that keeps the time of each token, and that of the processor: of all threads together."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.processor_times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """Keep the time; the first call brings the prompt."""
        self.times.append(time.perf_counter())
        self.processor_times.append(time.process_time())

    def end(self) -> None:
        """Do nothing more."""


def write_timed(folder: str, engine: str, file: str) -> dict[str, float]:
    """Write NEW_TOKENS tokens after a prompt with an empty scan; return the seconds of prompt and tokens."""
    from argus_inference.llama_cpp.llama_cpp_model import load_with_gguf
    from argus_inference.model_folder import Loading, load_model

    torch.set_num_threads(os.cpu_count() or 1)
    if engine.startswith("transformers"):
        loaded = load_model(Path(folder), Loading(dtype=ENGINES[engine]))
    else:
        loaded = load_with_gguf(Path(folder), Path(file))
    pixels = torch.zeros(1, 1, *loaded[1].image_processor.image_size)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        clock = Clock()
        write_ids(loaded, pixels, NEW_TOKENS, min_new_tokens=NEW_TOKENS, streamer=clock)
        seconds, of_processor = (times[-1] - times[1] for times in (clock.times, clock.processor_times))
        if not best or seconds < best["token_seconds"]:
            best = {"prompt_seconds": clock.times[1] - clock.times[0], "token_seconds": seconds}
            best["processor_seconds"] = of_processor
    return best | {"tokens_per_second": (NEW_TOKENS - 1) / best["token_seconds"]}


def measure_speed(demo: Path) -> dict[str, Any]:
    """Measure all engines with a model of 1.2 billion parameters, and with the demo's."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=demo.parent) as place:
        folders = {"Llama 3.2 1B, random": build_model(Path(place)), "argus-tiny": demo / "argus-tiny"}
        for name, folder in folders.items():
            results[name] = measure_engines(folder.resolve(), Path(place))
    return results


def measure_engines(folder: Path, place: Path) -> dict[str, Any]:
    """Measure each engine with a model, in a process of its own."""
    from argus_inference.llama_cpp.export_gguf import export_gguf

    rows: dict[str, Any] = {}
    for engine, kind in ENGINES.items():
        file = place / "llm.gguf"
        if engine.startswith("llama.cpp"):
            export_gguf(folder, file, kind)
        program = "import sys, json, serve_bench.bench_llama_cpp as b; print(json.dumps(b.write_timed(*sys.argv[1:])))"
        load = os.getloadavg()[0]
        command = [sys.executable, "-c", program, str(folder), engine, str(file.resolve())]
        done = subprocess.run(command, cwd=BENCH, stdout=subprocess.PIPE, text=True, check=True)
        rows[engine] = json.loads(done.stdout.splitlines()[-1]) | {"load_before": load}
        if engine.startswith("llama.cpp"):
            rows[engine]["megabytes"] = file.stat().st_size / 1e6
        print(engine, rows[engine], flush=True)
    return rows


def build_model(folder: Path) -> Path:
    """Assemble a model with Llama 3.2 1B's sizes and random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from argus_processing.instructions import INSTRUCTIONS
    from argus_training.assembly.create import create_model
    from argus_training.assembly.report_tokenizer import train_tokenizer

    tokenizer = train_tokenizer([*INSTRUCTIONS, "No lung nodule."], vocab_size=400)
    torch.manual_seed(0)
    marks = {f"{mark}_token_id": getattr(tokenizer, f"{mark}_token_id") for mark in ("bos", "eos", "pad")}
    language_model = LlamaForCausalLM(LlamaConfig(**LLAMA_1B, **marks))
    language_model.save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    del language_model
    model = create_model("argus-tiny", folder / "model", llm=folder / "llm", dtype="float32")
    shutil.rmtree(folder / "llm")
    return model


def run_bench(out: Path, demo: Path, *parts: str) -> None:
    """Measure both parts, or those that are named, write them into `llama_cpp.json` in `out`, print them."""
    check_can_fill(out)
    path = out / "llama_cpp.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for part, measure in (("parity", measure_parity), ("speed", measure_speed)):
        if not parts or part in parts:
            load = os.getloadavg()[0]
            results[part] = {"measured": measure(demo), "load_before": load, "load_after": os.getloadavg()[0]}
            results["machine"] = {"cores": os.cpu_count(), "processor": platform.processor(), "versions": versions()}
            write_json(path, results)
    for table in (parity_table(results), speed_table(results)):
        show(table)


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the numbers."""
    return {name: version(name) for name in ("llama-cpp-python", "gguf", "torch", "transformers")}


def parity_table(results: dict[str, Any]) -> Table:
    """Return the agreement with transformers as a table."""
    table = Table("the demo's model", "file", "equal tokens", "equal reports", "finding F1")
    for name, row in results.get("parity", {}).get("measured", {}).items():
        size = f"{row['megabytes']:.1f} MB" if "megabytes" in row else "-"
        equal = f"{row['equal_tokens']:,} of {row['tokens']:,} ({row['share_of_tokens']:.1%})"
        table.add_row(name, size, equal, f"{row['equal_reports']} of {row['reports']}", f"{row['finding_f1']:.3f}")
    return table


def speed_table(results: dict[str, Any]) -> Table:
    """Return tokens per second as a table."""
    ratios = ("times as fast", "by processor time")
    table = Table("model", "engine", "file", "prompt", "tokens a second", *ratios, "load")
    for model, engines in results.get("speed", {}).get("measured", {}).items():
        baseline = engines["transformers float32"]
        for name, row in engines.items():
            table.add_row(
                model,
                name,
                f"{row['megabytes']:,.0f} MB" if "megabytes" in row else "-",
                f"{row['prompt_seconds']:.2f} s",
                f"{row['tokens_per_second']:.1f}",
                *(f"{baseline[kept] / row[kept]:.1f}" for kept in ("token_seconds", "processor_seconds")),
                f"{row['load_before']:.1f}",
            )
    return table


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
