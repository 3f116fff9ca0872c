"""Make tables of what `make bench-gpu` measured, for the terminal and for documents."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from argus_processing.storage.markdown_table import literal_table, markdown_table

COLUMNS = {
    "ceilings": ("what", "tflops", "gb_per_second"),
    "training": ("preset", "trained", "micro_batch", "recompute", "samples_per_second", "mfu", "peak_memory_bytes"),
    "writing": ("preset", "tower", "batch_size", "static_cache", "prefill_seconds", "report_seconds",
                "tokens_per_second"),
    "together": ("preset", "reports", "prefill_seconds", "step_seconds", "tokens_per_second", "peak_memory_bytes"),
    "towers": ("tower", "preset", "tokens", "forward_seconds", "training_seconds", "tflops"),
    "resampling": ("preset", "first_on_cpu_seconds", "second_on_cpu_seconds", "second_on_device_seconds",
                   "all_on_device_seconds"),
    "evidence": ("dtype", "way", "steps_at_once", "seconds_per_sentence", "planned_bytes", "measured_bytes"),
    "parity": ("model", "dtype", "tokens", "equal_tokens", "equal_reports"),
    "profiles": ("preset", "file", "seconds"),
    "skipped": ("part", "about"),
}  # fmt: skip


def part_names() -> list[str]:
    """Return the names of the parts."""
    return [name for name in COLUMNS if name != "skipped"]


def tables(results: Mapping[str, Any]) -> list[Table]:
    """Return the measurements as rich tables, with bytes in GB."""
    return [part_table(results, part) for part in COLUMNS if results.get(part)]


def part_table(results: Mapping[str, Any], part: str) -> Table:
    """Return the rows of one part as a rich table."""
    table = Table(title=f"{part.capitalize()} on {results['hardware']}", box=SIMPLE, padding=(0, 1, 0, 0))
    # What an earlier bench did not tell has no column.
    names = [name for name in (*COLUMNS[part], "error") if any(name in row for row in results[part])]
    numbers = {name for name in names for row in results[part] if isinstance(row.get(name), int | float)}
    for name in names:
        heading = name.replace("_bytes", "_GB").replace("_", " ")
        table.add_column(heading, justify="right" if name in numbers else "left", no_wrap=name == names[0])
    for row in results[part]:
        table.add_row(*(_cell(name, row.get(name)) for name in names))
    return table


def _cell(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if name.endswith("_bytes"):
        return f"{value / 1e9:.1f}"
    return _digits(value) if isinstance(value, float) else f"{value}"


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def summary_table(results: Mapping[str, Any]) -> str:
    """Return the first figures of each part as a Markdown table: for a preset and tower the quickest way measured."""
    rows = [*_training_lines(results["training"]), *_writing_lines(results["writing"])]
    rows += _tower_lines(results["towers"])
    first = results["evidence"][0]
    memory, seconds = first["measured_bytes"] / 1e9, first["seconds_per_sentence"]
    held = f"{memory:.1f} GB beside the weights"
    rows.append((f"maps of evidence, {first['preset']}, {first['dtype']}", f"{_digits(seconds)} s a sentence, {held}"))
    shown = literal_table([f"one {results['hardware']}, random weights", "measured"], rows)
    libraries = ", ".join(f"{name} {results['versions'][name]}" for name in ("torch", "transformers"))
    return f"{markdown_table(shown)}\n\nWith {libraries}."


def _training_lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    lines = []
    for preset in dict.fromkeys(row["preset"] for row in rows):
        best = max((row for row in rows if row["preset"] == preset), key=lambda row: row["samples_per_second"])
        trained = {"full": "all weights", "lora": "LoRA"}[best["trained"]]
        told = f"{_digits(best['samples_per_second'])} scans/s, MFU {100 * best['mfu']:.0f}%"
        kept = "" if best.get("recompute", True) else ", nothing computed again"
        lines.append((f"training {preset}, {trained}, {best['micro_batch']} scans at a time{kept}", told))
    return lines


def _writing_lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    lines = []
    for preset, batch in dict.fromkeys((row["preset"], row["batch_size"]) for row in rows):
        own = {row["static_cache"]: row for row in rows if (row["preset"], row["batch_size"]) == (preset, batch)}
        told = [f"{_digits(own[False]['tokens_per_second'])} tokens/s"]
        if True in own:
            told.append(f"{_digits(own[True]['tokens_per_second'])} with --static-cache")
        lines.append((f"writing, {preset}, {batch} {'report' if batch == 1 else 'reports'} at a time", ", ".join(told)))
    return lines


def _tower_lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    lines = []
    for size in dict.fromkeys(tuple(row["image_size"]) for row in rows):
        depth, height, width = size
        milliseconds = [
            f"{row['tower']} {1000 * row['forward_seconds']:.0f} ms ({1000 * row['training_seconds']:.0f} ms)"
            for row in rows
            if tuple(row["image_size"]) == size
        ]
        lines.append((f"tower of {height} x {width} x {depth}, forward (and backward)", "; ".join(milliseconds)))
    return lines
