"""Measure training and generation at the real sizes on one CUDA GPU, with random weights and no download.

make bench-gpu      (writes runs/bench-gpu/gpu.json and a profile of one training step of each preset)

Training is stage 2 as in `training/sft.py`: bfloat16 autocast, activation checkpointing, a loss that does not store all
logits, AdamW; argus-8b uses LoRA on a bfloat16 language model. A sequence holds the visual tokens, a prompt and a
report of 130 tokens, the usual length in the data sets.
"""

import gc
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from bench_preprocessing import GRIDS, write_scan
from bench_timing import seconds_of, wait_for
from rich.box import SIMPLE
from rich.table import Table
from trl.trainer.utils import add_fused_lm_head

from argus_inference.console.terminal import show
from argus_processing import ArgusImageProcessor
from argus_processing.failures import one_line
from argus_processing.storage.whole_files import check_can_fill, write_json
from argus_training.planning.flops import NUM_PROMPT_TOKENS, study_cost, train_step_flops
from argus_training.stages.recipe import TRAINABLE_PARTS
from modeling_argus import TOWERS, ArgusConfig, ArgusForConditionalGeneration, preset_config

NUM_REPORT_TOKENS = 130
BATCH_SIZES = (1, 16)
# preset -> whether its language model is trained with LoRA
TRAINING = {"argus-3b-nr": False, "argus-3b-hr": False, "argus-8b-nr": True, "argus-8b-hr": True}
INFERENCE = ("argus-8b-nr", "argus-8b-hr")
# Dense bfloat16 operations per second, from NVIDIA's data sheets; the key is a part of the device's name.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}


@dataclass(frozen=True)
class Effort:
    """The amount of measuring: warm-up steps, measured steps, and new tokens of a generation."""

    warmup: int = 2
    steps: int = 8
    new_tokens: int = NUM_REPORT_TOKENS


def check_device(device: str) -> None:
    """Check that the device exists.

    Raises:
        ValueError: if `device` is a CUDA device and there is none.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("make bench-gpu needs a CUDA GPU, and PyTorch finds none; `make bench` measures on the CPU")


def random_model(config: ArgusConfig, device: str, lora: bool | None) -> torch.nn.Module:
    """Make a model with random weights.

    `lora` False: all weights are trained; True: LoRA on a bfloat16 language model; None: the model only generates.
    """
    dtype = torch.float32 if lora is False else torch.bfloat16
    with torch.device(device):
        model = ArgusForConditionalGeneration._from_config(config, dtype=dtype)
    if lora is None:
        return model.eval()
    add_fused_lm_head(model)
    model.train().gradient_checkpointing_enable()
    if not lora:
        return model
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=128, lora_alpha=64, target_modules="all-linear"), model.model.language_model)
    for part in (model.model.vision_tower, model.model.connector):
        part.float().requires_grad_(True)
    model.enable_input_require_grads()
    return model


def make_batch(config: ArgusConfig, batch_size: int, num_report_tokens: int, device: str) -> dict[str, torch.Tensor]:
    """Make random inputs: visual placeholders, a prompt and, for training, a report."""
    num_visual = study_cost(config).visual_tokens
    length = num_visual + NUM_PROMPT_TOKENS + num_report_tokens
    generator = torch.Generator(device).manual_seed(0)
    options = {"generator": generator, "device": device}
    # This range holds neither the placeholder nor an end token of any preset.
    ids = torch.randint(10, 1000, (batch_size, length), **options)
    ids[:, :num_visual] = config.image_token_id
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.rand(batch_size, 1, *config.vision_config.image_size, **options),
    }
    if num_report_tokens:
        batch["labels"] = ids.clone()
        batch["labels"][:, :-num_report_tokens] = -100
    return batch


def bench_training(preset: str, lora: bool, device: str, effort: Effort, profile: Path | None) -> dict[str, Any]:
    """Measure training steps with one sample; `profile` is the file for a trace of one step."""
    config = preset_config(preset)
    model = random_model(config, device, lora)
    batch = make_batch(config, 1, NUM_REPORT_TOKENS, device)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0.0, fused=device.startswith("cuda"))

    def step() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = model(**batch, fused_lm_head=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    _reset_peak(device)
    for _ in range(effort.warmup):
        step()
    seconds = statistics.median(seconds_of(step, device) for _ in range(effort.steps))
    peak_bytes = torch.cuda.max_memory_allocated() if device.startswith("cuda") else None
    if profile is not None:
        with torch.profiler.profile(record_shapes=True) as trace:
            step()
            wait_for(device)
        trace.export_chrome_trace(str(profile))
    parts = frozenset(TRAINABLE_PARTS)
    flops = train_step_flops(config, NUM_PROMPT_TOKENS + NUM_REPORT_TOKENS, NUM_REPORT_TOKENS, parts, lora)
    peak = peak_flops(device)
    return {
        "preset": preset,
        "trained": "lora" if lora else "full",
        "trained_parameters": sum(weight.numel() for weight in trained),
        "tokens": batch["input_ids"].shape[1],
        "step_seconds": seconds,
        "samples_per_second": 1 / seconds,
        "flops_per_sample": flops,
        "mfu": None if peak is None else flops / seconds / peak,
        "peak_memory_bytes": peak_bytes,
    }


def _reset_peak(device: str) -> None:
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_flops(device: str) -> float | None:
    """Return the device's dense bfloat16 operations per second, or None if they are not known."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else ""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


def bench_inference(preset: str, tower: str, batch_size: int, device: str, effort: Effort) -> dict[str, Any]:
    """Measure prefill (tower, connector and the first token) and decoding, with a static cache."""
    config = preset_config(preset, tower)
    model = random_model(config, device, None)
    batch = make_batch(config, batch_size, 0, device)
    batch["pixel_values"] = batch["pixel_values"].to(model.dtype)

    def write(num_tokens: int) -> None:
        with torch.inference_mode():
            model.generate(
                **batch,
                min_new_tokens=num_tokens,
                max_new_tokens=num_tokens,
                do_sample=False,
                pad_token_id=0,
                cache_implementation="static",
            )

    _reset_peak(device)
    for count in (1, effort.new_tokens):
        for _ in range(effort.warmup):
            write(count)
    prefill = statistics.median(seconds_of(lambda: write(1), device) for _ in range(effort.steps))
    whole = statistics.median(seconds_of(lambda: write(effort.new_tokens), device) for _ in range(effort.steps))
    cost = study_cost(config)
    return {
        "preset": preset,
        "tower": tower,
        "batch_size": batch_size,
        "visual_tokens": cost.visual_tokens,
        "study_flops": cost.total_flops,
        "prefill_seconds": prefill,
        "report_seconds": whole,
        "tokens_per_second": batch_size * (effort.new_tokens - 1) / (whole - prefill) if whole > prefill else None,
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if device.startswith("cuda") else None,
    }


def bench_preprocessing(grids: dict[str, tuple[int, int, int]], rounds: int) -> list[dict[str, Any]]:
    """Time preprocessing of a 512 x 512 x 300 .nii.gz on the CPU, for each grid."""
    rows: list[dict[str, Any]] = []
    if not grids:
        return rows
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.nii.gz"
        write_scan(scan)
        for name, grid in grids.items():
            processor = ArgusImageProcessor(image_size=grid)
            processor(scan)
            spent = [seconds_of(lambda processor=processor: processor(scan)) for _ in range(rounds)]
            rows.append({"grid": name, "seconds": statistics.median(spent)})
    return rows


def attempt(measure: Callable[..., dict[str, Any]], *arguments: Any, **named: Any) -> dict[str, Any]:
    """Run a measurement; if it does not fit into memory, return that as its result."""
    try:
        return measure(*arguments, **named)
    except torch.OutOfMemoryError as error:
        return {**named, "error": f"out of memory: {one_line(error)}"}


def run_bench(
    out: Path,
    device: str = "cuda",
    training: dict[str, bool] | None = None,
    inference: Sequence[str] = INFERENCE,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    effort: Effort | None = None,
    grids: dict[str, tuple[int, int, int]] | None = None,
) -> dict[str, Any]:
    """Run all measurements, write `gpu.json` and the profiles into `out`, print the tables.

    Raises:
        ValueError: if there is no such device.
    """
    check_device(device)
    out, effort = Path(out), effort or Effort()
    training = TRAINING if training is None else training
    check_can_fill(out)
    results: dict[str, Any] = {
        "hardware": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "peak_flops": peak_flops(device),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
        "effort": asdict(effort),
        "training": [],
        "inference": [],
        "preprocessing": bench_preprocessing(GRIDS if grids is None else grids, effort.steps),
    }
    for preset, lora in training.items():
        profile = out / f"profile_{preset}.json.gz"
        results["training"].append(
            attempt(bench_training, preset=preset, lora=lora, device=device, effort=effort, profile=profile)
            | {"profile": profile.name}
        )
        write_json(out / "gpu.json", _plain(results))
    for preset in inference:
        for tower in TOWERS:
            for batch_size in batch_sizes:
                named = {"preset": preset, "tower": tower, "batch_size": batch_size}
                results["inference"].append(attempt(bench_inference, **named, device=device, effort=effort))
                write_json(out / "gpu.json", _plain(results))
    for table in tables(results):
        show(table)
    return results


def _plain(results: dict[str, Any]) -> dict[str, Any]:
    """Return the results without the values in failed rows that JSON cannot hold."""
    kept = (str, int, float, type(None))
    rows = {
        part: [{name: value for name, value in row.items() if isinstance(value, kept)} for row in results[part]]
        for part in ("training", "inference")
    }
    return results | rows


def tables(results: dict[str, Any]) -> list[Table]:
    """Return the measurements as rich tables."""
    columns = {
        "training": ("preset", "trained", "samples_per_second", "mfu", "peak_memory_bytes", "error"),
        "inference": ("preset", "tower", "batch_size", "visual_tokens", "prefill_seconds", "report_seconds",
                      "tokens_per_second", "error"),
        "preprocessing": ("grid", "seconds"),
    }  # fmt: skip
    made = []
    for part, names in columns.items():
        title = f"{part.capitalize()} on {results['hardware'] if part != 'preprocessing' else 'the CPU'}"
        table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
        for name in names:
            table.add_column(name.replace("_", " "), justify="right", no_wrap=name == names[0])
        for row in results[part]:
            table.add_row(*(_cell(row.get(name)) for name in names))
        made.append(table)
    return made


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else f"{value}"


if __name__ == "__main__":
    try:
        run_bench(Path(sys.argv[1]))
    except ValueError as problem:
        print(f"bench_gpu: {problem}", file=sys.stderr)
        sys.exit(2)
