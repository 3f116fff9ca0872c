"""The demo: trains and scores a tiny report writer on two cores, with the functions that real training uses."""

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from datasets import load_dataset
from rich.console import Console
from transformers import TrainingArguments
from trl import SFTConfig, TrlParser

from argus_evaluation.benchmark.benchmark import evaluate_model
from argus_evaluation.benchmark.results_table import build_table
from argus_inference.console.terminal import show
from argus_inference.generation import generate_batch
from argus_inference.model_folder import load_model
from argus_inference.preview import save_preview
from argus_processing import CTVolume
from argus_processing.instructions import instruction_for
from argus_processing.read_ct import read_ct_row
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.whole_files import write_json, write_text
from argus_training import pretrain, sft
from argus_training.assembly.create import create_model
from argus_training.assembly.language import train_language_model
from argus_training.stages.recipe import RecipeArguments

RECIPES = Path(sft.__file__).parent / "recipes"
BATCH_SIZE = 20


def run_demo(out: Path) -> dict[str, Any]:
    """Make phantoms, train on them, evaluate on held-out ones and write one report; return the results.

    Writes under `out`: `argus-tiny` (the model folder), `results.json`, `preview.png`, `report.txt` and the folders of
    the steps. When started again after an interruption, it goes on with the first step that is not finished.

    Raises:
        ValueError: if `out` holds a run with other settings.
    """
    with claimed_folder(Path(out)):
        return _run(Path(out))


def _run(out: Path) -> dict[str, Any]:
    started = time.monotonic()
    console = Console(stderr=True)
    with step(console, "phantoms: synthetic chest CTs with known findings"):
        recipe, config = read_recipe("demo.yaml", RecipeArguments, SFTConfig, out / "sft")
        recipe.subset_options |= {"cache_dir": str(out / "data")}
        splits = load_dataset("ct3drrg", recipe.subset, **recipe.subset_options, num_proc=2)
    with step(console, "language: a tiny Llama reads the training reports"):
        language = learn_language(splits["train"], out / "language")
    with step(console, "vision: a small 3D ViT looks at the training scans"):
        vision = learn_vision(out / "vision", recipe.subset_options)
    with step(console, "stage 1 (connector) and stage 2 (vision, connector, language model)"):
        model_dir = learn_reports(out, recipe, config, language, vision)
    with step(console, "evaluation on held-out scans, with controls"):
        train_reports = splits["train"]["report"]
        results = evaluate_model(model_dir, splits["test"], train_reports, out / "evaluation", batch_size=BATCH_SIZE)
    with step(console, "one report with its picture"):
        write_one_report(model_dir, splits["test"], out)
    results |= {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": round(peak_memory_mb(), 1)}
    write_json(out / "results.json", results)
    show(build_table(results))
    return results


@contextmanager
def step(console: Console, name: str) -> Iterator[None]:
    """Print the name of a step at its start and its time at the end."""
    console.rule(f"[bold]{name}")
    started = time.monotonic()
    yield
    console.print(f"{time.monotonic() - started:.0f} s")


def read_recipe(name: str, arguments: type, config: type, output_dir: Path) -> tuple[Any, Any]:
    """Read a recipe as its training script does, but with another output folder."""
    parser = TrlParser((arguments, config))
    return parser.parse_args_and_config(["--config", str(RECIPES / name), "--output_dir", str(output_dir)])


def learn_language(train: datasets.Dataset, out: Path) -> Path:
    """Train the tiny Llama; reuse it if it is already trained."""
    if not (out / "model" / "config.json").exists():
        parser = TrlParser((SFTConfig,))
        (config,) = parser.parse_args_and_config(
            ["--config", str(RECIPES / "demo_language.yaml"), "--output_dir", str(out)]
        )
        train_language_model(train, out / "model", config)
    return out / "model"


def learn_vision(out: Path, subset_options: dict[str, Any]) -> Path:
    """Train the vision tower; reuse it if it is already trained."""
    recipe, config = read_recipe("demo_vision.yaml", pretrain.PretrainArguments, TrainingArguments, out)
    recipe.subset_options = subset_options
    return pretrain.pretrain(recipe, config)


def learn_reports(out: Path, recipe: RecipeArguments, config: SFTConfig, language: Path, vision: Path) -> Path:
    """Assemble the model, train both stages, and copy the trained model to `out`/argus-tiny."""
    start, model_dir = out / "start", out / "argus-tiny"
    if not (start / "config.json").exists():
        create_model("argus-tiny", start, llm=language, vision=vision, dtype="float32")
    recipe.model_name_or_path = str(start)
    trained = sft.train(recipe, config)
    if not model_dir.exists():
        partial = out / "argus-tiny.partial"
        shutil.copytree(trained, partial, dirs_exist_ok=True)
        partial.rename(model_dir)
    return model_dir


def write_one_report(model_dir: Path, test: datasets.Dataset, out: Path) -> None:
    """Write the report of the first test scan as text and as a picture."""
    row = test.cast_column("image", datasets.Nifti(decode=False))[0]
    volume: CTVolume = read_ct_row(row["image"])
    model, processor = load_model(model_dir)
    (report,) = generate_batch(model, processor, [volume], [instruction_for(row["scan_id"])])
    write_text(out / "report.txt", report.text + "\n")
    save_preview(volume, report.text, out / "preview.png")


def peak_memory_mb() -> float:
    """Return the peak memory of this process, or of one of its finished children if that is higher, in MB."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most / 1024
