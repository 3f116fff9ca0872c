"""Compare stage 1 with the vision tower's tokens from a cache to stage 1 without the cache.

make bench          (writes runs/bench/stage1_features.json)

The two take turns in one run. Both train the connector of the same argus-tiny on the same phantoms in the same order,
with the trainer that `training/sft.py` uses. An epoch is timed from the trainer's start to its end; the time to fill
the cache is measured separately.
"""

import platform
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import torch
from bench_timing import seconds_of, timed
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import AutoModelForImageTextToText
from trl import SFTConfig

import argus_processing  # noqa: F401  registers processor and data set
import modeling_argus  # noqa: F401  registers the model
from argus_inference.console.terminal import show
from argus_processing.instructions import INSTRUCTIONS
from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_pretrained, load_processor
from argus_processing.scan_types import ScanReader
from argus_processing.storage.whole_files import check_can_fill, write_json
from argus_training.assembly.create import create_model
from argus_training.assembly.language import tiny_llama
from argus_training.assembly.report_tokenizer import train_tokenizer
from argus_training.stages.frozen_vision import training_images
from argus_training.stages.recipe import RecipeArguments, set_trainable
from argus_training.stages.report_examples import report_examples
from argus_training.stages.report_trainer import make_trainer
from argus_training.training_progress import ProgressLines

ROUNDS = 3
NUM_SCANS = 16
SPACING_MM = (1.0, 0.7, 0.7)  # about 300 slices of 512 x 512, as real scans have
NUM_EPOCHS = 3  # of M3D's stage 1; the saving of such a stage is computed, with the time to fill the cache
SIDES = ("plain", "cached")


def start_model(reports: list[str], folder: Path) -> Path:
    """Assemble an argus-tiny with random weights whose tokenizer knows the reports' words."""
    tokenizer = train_tokenizer([*INSTRUCTIONS, *reports], vocab_size=1024)
    tiny_llama(tokenizer, seed=0).save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    return create_model("argus-tiny", folder / "model", llm=folder / "llm", dtype="float32")


def train_epoch(
    model_path: Path, examples: datasets.DatasetDict, config: SFTConfig, images: ScanReader | None
) -> tuple[float, list[float]]:
    """Train one epoch from the model folder; return its seconds and the losses of its steps."""
    processor = load_processor(model_path)
    model = load_pretrained(AutoModelForImageTextToText, model_path, REPORT_WRITER, dtype=torch.float32)
    set_trainable(model, ["connector"])
    trainer = make_trainer(model, processor, config, examples, images)
    trainer.remove_callback(ProgressLines)
    seconds = seconds_of(trainer.train)
    return seconds, [line["loss"] for line in trainer.state.log_history if "loss" in line]


def epoch_config(folder: Path, batch_size: int) -> SFTConfig:
    """Return the settings of one epoch of stage 1."""
    return SFTConfig(
        output_dir=str(folder / "run"),
        per_device_train_batch_size=batch_size,
        num_train_epochs=1,
        learning_rate=2e-3,
        logging_steps=1,
        save_strategy="no",
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        max_length=None,
        seed=0,
    )


def measure(folder: Path, num_scans: int, rounds: int, spacing_mm: tuple[float, float, float]) -> dict[str, Any]:
    """Fill the cache once and train epochs of both sides in turn; return seconds, losses and their difference."""
    sizes = {"num_train": num_scans, "num_validation": 1, "num_test": 1, "spacing_mm": spacing_mm}
    train = datasets.load_dataset("ct3drrg", "phantom", cache_dir=str(folder / "data"), **sizes)["train"]
    model_path = start_model(train["report"], folder)
    examples = datasets.DatasetDict({"train": report_examples(train)})
    config = epoch_config(folder, batch_size=8)
    processor = load_processor(model_path).image_processor
    recipe = RecipeArguments(str(model_path), feature_cache=str(folder / "features"))
    fill_seconds, cache = timed(lambda: training_images(model_path, processor, recipe, "1", config, examples))
    sources = {"plain": None, "cached": cache}
    for side in SIDES:
        train_epoch(model_path, {"train": examples["train"].select(range(8))}, config, sources[side])  # warms up
    seconds, losses = {side: [] for side in SIDES}, {}
    for _ in track(range(rounds), "stage 1", console=Console(stderr=True)):
        for side in SIDES:
            spent, losses[side] = train_epoch(model_path, examples, config, sources[side])
            seconds[side].append(spent)
    medians = {side: statistics.median(seconds[side]) for side in SIDES}
    pairs = zip(losses["plain"], losses["cached"], strict=True)
    stage = {"plain": NUM_EPOCHS * medians["plain"], "cached": fill_seconds + NUM_EPOCHS * medians["cached"]}
    return {
        "scans": num_scans,
        "scan_bytes": sum(Path(path).stat().st_size for path in examples["train"]["image"]) // num_scans,
        "epoch_seconds": seconds,
        "fill_seconds": fill_seconds,
        "epoch_times_faster": medians["plain"] / medians["cached"],
        "stage_epochs": NUM_EPOCHS,
        "stage_times_faster": stage["plain"] / stage["cached"],
        "losses": losses,
        "largest_loss_difference": max(abs(plain - cached) for plain, cached in pairs),
    }


def run_bench(
    out: Path,
    num_scans: int = NUM_SCANS,
    rounds: int = ROUNDS,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> dict[str, Any]:
    """Measure both sides, write `stage1_features.json` into `out` and print the table."""
    check_can_fill(out)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), num_scans, rounds, spacing_mm)
    results = {
        "machine": {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
        "model": "argus-tiny",
        **measured,
    }
    write_json(out / "stage1_features.json", results)
    show(stage_table(results))
    return results


def stage_table(results: dict[str, Any]) -> Table:
    """Return the measurement as a rich table."""
    table = Table(title=f"Stage 1 of argus-tiny on {results['scans']} phantoms, seconds")
    for column in ("", "without", "with the cache", "times faster"):
        table.add_column(column, justify="right")
    plain, cached = (statistics.median(results["epoch_seconds"][side]) for side in SIDES)
    epochs, fill = results["stage_epochs"], results["fill_seconds"]
    table.add_row("an epoch", f"{plain:.1f}", f"{cached:.1f}", f"{results['epoch_times_faster']:.1f}")
    table.add_row(
        f"{epochs} epochs and the filling",
        f"{epochs * plain:.1f}",
        f"{fill + epochs * cached:.1f}",
        f"{results['stage_times_faster']:.1f}",
    )
    table.caption = f"largest difference of a step's loss: {results['largest_loss_difference']:.1e}"
    return table


if __name__ == "__main__":
    run_bench(Path(sys.argv[1]))
