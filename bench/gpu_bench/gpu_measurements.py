"""Measure what a GPU is for: training steps, writing, vision towers, evidence, resampling, and parity with the CPU.

Each function yields rows as they are measured, so that nothing is lost if a later one fails or the time is over.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_timing import seconds_of
from torch.nn import functional
from transformers import BatchFeature

from argus_inference.evidence.evidence import EvidenceSettings
from argus_inference.evidence.evidence_memory import plan_evidence
from argus_inference.evidence.explain import supports_of
from argus_inference.evidence.path_gradients import frozen, integrated_gradients, recomputing
from argus_inference.evidence.report_tokens import ReportTokens
from argus_inference.generation import end_tokens
from argus_inference.serving.running_reports import RunningReports
from argus_processing.resampling import PlaneFiller, fill_grid, grid_operators, one_thread, planes_in, scale_hu
from argus_training.planning.flops import NUM_PROMPT_TOKENS, encoder_flops, study_cost, train_step_flops
from modeling_argus import TOWERS, preset_config, preset_vision_config

from .gpu_models import WITH_TRL, free_memory, loss_of, make_batch, peak_memory, random_model, saved_model
from .gpu_timing import NUM_REPORT_TOKENS, Effort, Row, attempt, median_seconds, peak_flops

SCANS_PER_STEP = 16  # of the paper's recipe
# The names of `argus_training.stages.recipe.TRAINABLE_PARTS`, whose module needs TRL; a test compares them.
ALL_PARTS = frozenset({"vision", "connector", "llm"})
SPACING_MM, TARGET_MM, HU_WINDOW = (1.0, 0.7, 0.7), (4.0, 1.0, 1.0), (-1000.0, 1000.0)
PADDING = 0


def training(
    preset: str,
    lora: bool,
    device: str,
    effort: Effort,
    micro_batches: Sequence[int],
    scans: int = SCANS_PER_STEP,
    recompute: bool = True,
) -> Iterator[Row]:
    """Measure steps of stage 2 with so many scans, in micro-batches, as `training/sft.py` takes them.

    bfloat16 autocast, AdamW, layers computed again (`gradient_checkpointing`) or not; with `lora`, adapters on a
    bfloat16 language model.
    """
    config = preset_config(preset)
    free_memory(device)
    model = random_model(config, device, lora)
    if not recompute:
        model.gradient_checkpointing_disable()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0.0, fused=device.startswith("cuda"))
    flops = train_step_flops(config, NUM_PROMPT_TOKENS + NUM_REPORT_TOKENS, NUM_REPORT_TOKENS, ALL_PARTS, lora)

    def measure(micro_batch: int) -> Row:
        batch = make_batch(config, micro_batch, NUM_REPORT_TOKENS, device)

        def step() -> None:
            for _ in range(scans // micro_batch):
                with torch.autocast(torch.device(device).type, torch.bfloat16):
                    loss = loss_of(model, batch) * (micro_batch / scans)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        seconds = median_seconds(step, device, effort)
        peak = peak_flops(device)
        return {
            "tokens_per_scan": batch["input_ids"].shape[1],
            "step_seconds": seconds,
            "samples_per_second": scans / seconds,
            "flops_per_scan": flops,
            "tflops": scans * flops / seconds / 1e12,
            "mfu": None if peak is None else scans * flops / seconds / peak,
            "peak_memory_bytes": peak_memory(device),
        }

    for micro_batch in micro_batches:
        named = {
            "preset": preset,
            "trained": "lora" if lora else "full",
            "micro_batch": micro_batch,
            "recompute": recompute,
            "scans_per_step": scans,
            "trained_parameters": sum(weight.numel() for weight in trained),
            "loss": "TRL's fused output layer" if WITH_TRL else "tiles of labelled tokens",
        }
        yield attempt(named, lambda micro_batch=micro_batch: measure(micro_batch), device)
        optimizer.zero_grad(set_to_none=True)


def writing(
    preset: str, tower: str, device: str, effort: Effort, batch_sizes: Sequence[int], static: bool = False
) -> Iterator[Row]:
    """Measure tower with connector, prefill (those and the first token) and decoding, each for a whole batch.

    With `static`, keys and values have a block of fixed size, and transformers compiles the decoding on a GPU.
    """
    config = preset_config(preset, tower)
    free_memory(device)
    model = random_model(config, device, None)
    cost = study_cost(config)
    cache = {"cache_implementation": "static"} if static else {}

    def measure(batch_size: int) -> Row:
        batch = make_batch(config, batch_size, 0, device)
        batch["pixel_values"] = batch["pixel_values"].to(model.dtype)

        @torch.inference_mode()
        def write(num_tokens: int) -> None:
            limits: Row = {"min_new_tokens": num_tokens, "max_new_tokens": num_tokens}
            model.generate(**batch, **limits, **cache, do_sample=False, pad_token_id=0)

        @torch.inference_mode()
        def encode() -> None:
            model.get_image_features(batch["pixel_values"], return_dict=True)

        encoding = median_seconds(encode, device, effort)
        prefill = median_seconds(lambda: write(1), device, effort)
        first = seconds_of(lambda: write(effort.new_tokens), device)
        whole = median_seconds(lambda: write(effort.new_tokens), device, effort)
        return {
            "encoding_seconds": encoding,
            "prefill_seconds": prefill,
            "first_report_seconds": first,
            "report_seconds": whole,
            "tokens_per_second": batch_size * (effort.new_tokens - 1) / (whole - prefill) if whole > prefill else None,
            "peak_memory_bytes": peak_memory(device),
        }

    for batch_size in batch_sizes:
        torch.compiler.reset()
        named = {"preset": preset, "tower": tower, "batch_size": batch_size, "static_cache": static}
        named |= {"new_tokens": effort.new_tokens, "visual_tokens": cost.visual_tokens, "study_flops": cost.total_flops}
        yield attempt(named, lambda batch_size=batch_size: measure(batch_size), device)


def towers(presets: Sequence[str], names: Sequence[str], device: str, effort: Effort) -> Iterator[Row]:
    """Measure the vision towers alone on one volume in bfloat16: forward, and forward with backward, checkpointed."""
    for preset in presets:
        for name in names:
            config = preset_vision_config(preset, name)
            named = {"tower": name, "preset": preset, "image_size": list(config.image_size)}
            yield attempt(named, lambda config=config, name=name: _measure_tower(config, name, device, effort), device)


def _measure_tower(config: Any, name: str, device: str, effort: Effort) -> Row:
    with torch.device(device):
        tower = TOWERS[name].model_class._from_config(config, dtype=torch.bfloat16).eval()
        volume = torch.rand(1, 1, *config.image_size, dtype=torch.bfloat16)

    def forward() -> torch.Tensor:
        return tower(volume).last_hidden_state

    def both() -> None:
        forward().float().square().mean().backward()
        tower.zero_grad(set_to_none=True)

    with torch.inference_mode():
        tokens = forward().shape[1]
        seconds = median_seconds(forward, device, effort)
    flops, memory = encoder_flops(config), peak_memory(device)
    row = {"tokens": tokens, "flops": flops, "forward_seconds": seconds, "tflops": flops / seconds / 1e12}
    row["forward_peak_memory_bytes"] = memory
    tower.train().gradient_checkpointing_enable({"use_reentrant": False})
    return row | attempt({}, lambda: {"training_seconds": median_seconds(both, device, effort)}, device)


def evidence(preset: str, dtype: torch.dtype, device: str, effort: Effort) -> Iterator[Row]:
    """Measure the gradients of maps of evidence for a report of several sentences: as planned, and by recomputation.

    Alignment of the mean scan and smoothing of maps, on the CPU, are not in it. `planned_bytes` is the formula's
    memory beside the weights.
    """
    config, num_sentences = preset_config(preset), effort.sentences
    free_memory(device)
    model = random_model(config, device, None, dtype)
    batch = make_batch(config, 1, 0, device)
    places = np.array_split(np.arange(effort.new_tokens), num_sentences)
    report = ReportTokens(
        input_ids=torch.cat([batch["input_ids"], batch["input_ids"][:, -1:].expand(-1, effort.new_tokens - 1)], dim=1),
        targets=torch.randint(10, 1000, (effort.new_tokens,), device=device),
        spans=tuple((int(own[0]), int(own[-1]) + 1) for own in places),
        tokens=tuple(tuple(own.tolist()) for own in places),
    )
    scan, reference = batch["pixel_values"], batch["pixel_values"].flip(-1) * 0.5

    def measure(settings: EvidenceSettings) -> Row:
        plan = plan_evidence(model, report.input_ids.shape[1], effort.new_tokens, num_sentences, settings)

        def maps() -> list[torch.Tensor]:
            supports_of(model, report, scan, reference)
            with frozen(model), recomputing(model) if plan.recompute else nullcontext():
                return integrated_gradients(
                    model, report, scan, reference, range(num_sentences), settings.num_steps, plan.steps_at_once
                )

        held = torch.cuda.memory_allocated() if device.startswith("cuda") else None
        is_finite = []

        def checked_maps() -> None:
            # The maps themselves are not kept: they would count in the next call's memory.
            is_finite.append(all(bool(each.isfinite().all()) for each in maps()))

        seconds = median_seconds(checked_maps, device, effort)
        peak = peak_memory(device)
        return {
            "recompute": plan.recompute,
            "steps_at_once": plan.steps_at_once,
            "seconds_per_sentence": seconds / num_sentences,
            "planned_bytes": plan.num_bytes,
            "measured_bytes": None if peak is None or held is None else peak - held,
            "peak_memory_bytes": peak,
            "is_finite": all(is_finite),
        }

    ways = {
        "planned": EvidenceSettings(),
        "recompute, 6 at once": EvidenceSettings(recompute=True, steps_at_once=6),
        "recompute, 1 at once": EvidenceSettings(recompute=True, steps_at_once=1),
    }
    for way, settings in ways.items():
        named = {"preset": preset, "dtype": str(dtype).removeprefix("torch."), "way": way, "sentences": num_sentences}
        yield attempt(named, lambda settings=settings: measure(settings), device)


def resampling(presets: Sequence[str], device: str, effort: Effort) -> Iterator[Row]:
    """Measure the paper's resampling of a scan in memory: on the CPU, its second step on the GPU, and all of it there.

    Each time ends with the whole grid on the device. The scan is random, which changes no time.
    """
    hu = np.random.default_rng(0).integers(-1100, 1100, effort.scan_shape, np.int16)
    for preset in presets:
        grid = tuple(preset_vision_config(preset).image_size)
        named = {"preset": preset, "scan": list(hu.shape), "grid": list(grid), "cpu_threads": torch.get_num_threads()}
        yield attempt(named, lambda grid=grid: _measure_resampling(hu, grid, device, effort), device)


def _measure_resampling(hu: np.ndarray, grid: tuple[int, int, int], device: str, effort: Effort) -> Row:
    operators = grid_operators(hu.shape, SPACING_MM, grid, TARGET_MM, "paper")
    whole = torch.empty(grid)
    planes = planes_in(whole, operators.num_planes)

    @one_thread()
    def first_step() -> None:
        filler = PlaneFiller(operators, HU_WINDOW, planes, lambda plane: scale_hu(plane, HU_WINDOW))
        filler.add(hu, range(len(hu)))

    first = median_seconds(first_step, "cpu", effort)
    kept = planes.clone()

    def second_on_cpu() -> torch.Tensor:
        planes.copy_(kept)
        fill_grid(whole, operators.to_grid)
        return whole.to(device, copy=True)

    to_grid = None if operators.to_grid is None else operators.to_grid.to(device)

    def second_on_device() -> torch.Tensor:
        out = torch.empty(grid, device=device)
        planes_in(out, operators.num_planes).copy_(kept)
        fill_grid(out, to_grid)
        return out

    slices, rows, columns = (each.to(device) for each in (operators.to_slices, operators.rows, operators.columns))

    def all_on_device() -> torch.Tensor:
        scan = torch.from_numpy(hu).to(device).float().clamp_(*HU_WINDOW)
        thick = (slices @ scan.flatten(1)).view(-1, *scan.shape[1:])
        out = torch.empty(grid, device=device)
        planes_in(out, operators.num_planes).copy_(scale_hu(rows @ (thick @ columns.T), HU_WINDOW))
        fill_grid(out, to_grid)
        return out

    expected = second_on_cpu()
    ways = {"second_on_cpu": second_on_cpu, "second_on_device": second_on_device, "all_on_device": all_on_device}
    row: Row = {"first_on_cpu_seconds": first, "has_second_step": to_grid is not None}
    for name, way in ways.items():
        row[f"{name}_difference"] = float((way() - expected).abs().max())
        row[f"{name}_seconds"] = median_seconds(way, device, effort)
    return row


def parity(preset: str, device: str, effort: Effort, folder: Path | None = None, num_scans: int = 8) -> Iterator[Row]:
    """Compare greedy tokens on the device with those of the CPU in float32, of a saved small model or a random one.

    A random model repeats few tokens, so that a saved one says more.
    """
    limits = {"max_new_tokens": effort.new_tokens, "do_sample": False, "pad_token_id": PADDING}
    if folder is None:
        model, config = random_model(preset_config(preset), "cpu", None, torch.float32), preset_config(preset)
        batch, limits["min_new_tokens"] = make_batch(config, num_scans, 0, "cpu"), effort.new_tokens
    else:
        model, batch = saved_model(folder, num_scans)

    @torch.inference_mode()
    def tokens_of(own: Any, place: str) -> torch.Tensor:
        inputs = {name: value.to(place) for name, value in batch.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(own.dtype)
        new = own.generate(**inputs, **limits)[:, inputs["input_ids"].shape[1] :].cpu()
        return functional.pad(new, (0, effort.new_tokens - new.shape[1]), value=PADDING)

    expected = tokens_of(model, "cpu")

    def measure(dtype: torch.dtype) -> Row:
        found = tokens_of(model.to(device, dtype), device)
        is_written, same = expected != PADDING, found == expected
        # The first token that differs changes all later ones: tokens up to it are told beside.
        until = (same.cumprod(dim=1) * is_written).sum(dim=1)
        return {
            "tokens": int(is_written.sum()),
            "equal_tokens": int((same & is_written).sum()),
            "equal_reports": int(same.all(dim=1).sum()),
            "tokens_to_first_difference": until.tolist(),
            "distinct_tokens": int(expected.unique().numel()),
        }

    def measure_together() -> Row:
        rows = [{name: value[place : place + 1] for name, value in batch.items()} for place in range(num_scans)]
        found = write_together(model.to(device, torch.float32), rows, end_tokens(model), effort.new_tokens)
        # `generate` pads a report that has ended, and this does not.
        same = [
            row[: len(own)].tolist() == own and bool((row[len(own) :] == PADDING).all())
            for own, row in zip(found, expected, strict=True)
        ]
        return {"tokens": sum(map(len, found)), "equal_reports": sum(same)}

    name = "random " + preset if folder is None else "saved"
    ways = {"float32": partial(measure, torch.float32), "float32, together": measure_together}
    ways["bfloat16"] = partial(measure, torch.bfloat16)  # the last, because the weights stay rounded
    if folder is None:
        del ways["float32, together"]  # its reports have no end, and `generate` forbids it otherwise
    for way, run in ways.items():
        yield attempt({"model": name, "scans": num_scans, "dtype": way}, run, device)


def write_together(model: Any, rows: Sequence[Row], ends: set[int], limit: int) -> list[list[int]]:
    """Write reports as `argus serve` does: one more begins at each step, and those that are over leave."""
    together, waiting, begun = RunningReports(model, ends), list(rows), []
    while waiting or together.reports:
        if waiting:
            begun.append(together.begin(BatchFeature(waiting.pop(0)), limit))
        together.end([report for report in together.reports if report.is_over()])
        if together.reports:
            together.step()
    return [report.tokens for report in begun]


def together(preset: str, device: str, effort: Effort, counts: Sequence[int]) -> Iterator[Row]:
    """Measure the reports that `argus serve` writes together: reading a prompt, and the steps of so many reports."""
    config = preset_config(preset)
    free_memory(device)
    model = random_model(config, device, None)
    inputs = make_batch(config, 1, 0, device)
    inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)

    def measure(count: int) -> Row:
        running = RunningReports(model, set())

        def begin() -> None:
            running.begin(BatchFeature(dict(inputs)), effort.new_tokens + effort.warmup)

        first, *others = (seconds_of(begin, device) for _ in range(count))
        for _ in range(effort.warmup):
            running.step()
        seconds = seconds_of(lambda: [running.step() for _ in range(effort.new_tokens - 1)], device)
        return {
            "prefill_seconds": float(np.median(others or [first])),
            "step_seconds": seconds / (effort.new_tokens - 1),
            "tokens_per_second": count * (effort.new_tokens - 1) / seconds,
            "peak_memory_bytes": peak_memory(device),
        }

    for count in counts:
        yield attempt({"preset": preset, "reports": count}, lambda count=count: measure(count), device)


def profile(preset: str, lora: bool, device: str, path: Path) -> Iterator[Row]:
    """Write a trace of one scan's training step for chrome://tracing, and name the operations that take most time."""
    config = preset_config(preset)
    free_memory(device)
    model, batch = random_model(config, device, lora), make_batch(config, 1, NUM_REPORT_TOKENS, device)

    def step() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = loss_of(model, batch)
        loss.backward()
        model.zero_grad(set_to_none=True)

    def measure() -> Row:
        step()
        with torch.profiler.profile() as trace:
            seconds = seconds_of(step, device)
        trace.export_chrome_trace(str(path))
        spent = sorted(trace.key_averages(), key=lambda each: each.self_device_time_total or each.self_cpu_time_total)
        largest = [[each.key[:90], each.count, each.self_device_time_total] for each in reversed(spent[-15:])]
        return {"file": path.name, "seconds": seconds, "largest": largest}

    yield attempt({"preset": preset, "trained": "lora" if lora else "full"}, measure, device)
