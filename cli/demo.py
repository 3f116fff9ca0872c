"""Run the demo: one cell of an ablation, a tiny report writer trained and scored on two cores."""

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from datasets import load_dataset
from rich.console import Console

import argus_training
from argus_evaluation.benchmark.benchmark import evaluate_model
from argus_evaluation.benchmark.card_results import card_results
from argus_evaluation.benchmark.evaluation_results import EvaluationResults, write_results
from argus_evaluation.benchmark.results_table import result_tables
from argus_evaluation.floors.floor_material import FloorOptions
from argus_inference.console.terminal import show
from argus_inference.generation import generate_batch
from argus_inference.model_folder import load_model
from argus_inference.preview import save_preview
from argus_processing import CTVolume
from argus_processing.instructions import INSTRUCTION
from argus_processing.read_ct import read_ct_row
from argus_processing.storage.card_file import CARD
from argus_processing.storage.claimed_folders import claimed_folder, whole_folder
from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.whole_files import write_json, write_text
from argus_training.ablations.ablation_grid import read_base
from argus_training.ablations.ablation_recipes import ReportRecipe
from argus_training.ablations.ablation_steps import last_step, run_step, subset_options
from argus_training.ablations.step_beside import step_beside
from argus_training.assembly.model_card import model_subject, render_card
from argus_training.stages.checkpoints import RECIPE_FILE

RECIPE = Path(argus_training.__file__).parent / "recipes" / "demo.yaml"
MODEL = "argus-tiny"
OTHER_FOLDER = "remove it or choose another folder"


def run_demo(out: Path, seed: int = 0) -> EvaluationResults:
    """Make phantoms, train on them, evaluate on held-out ones and write one report; return the results.

    Writes under `out`: `argus-tiny` (the model folder, whose card tells the results), `results.json`, `preview.png`,
    `report.txt` and the folders of the steps. When started again after an interruption, it goes on with the first step
    that is not finished. The seed decides all weights and the order of the reports; phantoms are the same for every
    seed.

    Raises:
        ValueError: if `out` holds a run with other settings.
    """
    with claimed_folder(Path(out)):
        return _run(Path(out), seed)


def _run(out: Path, seed: int) -> EvaluationResults:
    started = time.monotonic()
    console = Console(stderr=True)
    settings = read_base(RECIPE).recipe
    recipe = ReportRecipe(**settings)
    claim(settings, seed, out)
    cell = last_step(settings, seed, shared_seed=seed)
    language, vision, *_ = cell.with_needs()
    with timed(console, "phantoms: synthetic chest CTs with known findings"):
        splits = load_dataset("ct3drrg", recipe.data["subset"], **subset_options(recipe.data, out), num_proc=2)
    sides = "a tiny Llama reads the training reports; beside it, a small 3D ViT looks at the training scans"
    with timed(console, sides), step_beside(language, out):
        run_step(vision, out)
    with timed(console, "stage 1 (connector) and stage 2 (vision, connector, language model)"):
        model_dir = copy_model(run_step(cell, out), out / MODEL)
    with timed(console, "evaluation on held-out scans, beside its floors"):
        train, options = splits["train"], dict(recipe.evaluation)
        names, num_scans = tuple(options.pop("floors", ())) or None, options.pop("floor_scans", None)
        floors = FloorOptions(names, train, num_train_scans=num_scans)
        folder = out / "evaluation"
        results = evaluate_model(model_dir, splits["test"], train["report"], folder, floors=floors, **options)
    with timed(console, "one report with its picture"):
        write_one_report(model_dir, splits["test"], out)
    seconds, memory = round(time.monotonic() - started, 1), round(peak_memory_mb(), 1)
    results = replace(results, seconds=seconds, peak_memory_mb=memory)
    write_results(out, results)
    write_text(model_dir / CARD, render_card(model_subject(model_dir), [card_results(results)]))
    for table in result_tables(results):
        show(table)
    return results


def claim(settings: dict[str, Any], seed: int, out: Path) -> None:
    """Write the recipe's settings, and the seed if it is not 0, into `out`, which marks it as the folder of this cell.

    Raises:
        ValueError: if it was made with other settings, or holds a model that nothing tells the settings of.
    """
    path = out / RECIPE_FILE
    if (out / MODEL).exists() and not path.exists():
        raise ValueError(f"{out}: holds a model {MODEL} of unknown settings; {OTHER_FOLDER}")
    said = settings | ({"seed": seed} if seed else {})
    claim_for_settings(path, said, write=partial(write_json, path, said), advice=OTHER_FOLDER)


@contextmanager
def timed(console: Console, name: str) -> Iterator[None]:
    """Print the name of a step at its start and its time at the end."""
    console.rule(f"[bold]{name}")
    started = time.monotonic()
    yield
    console.print(f"{time.monotonic() - started:.0f} s")


def copy_model(trained: Path, model_dir: Path) -> Path:
    """Copy the trained model to the folder that is named in the documentation, unless that is done; return it."""
    if not model_dir.exists():
        with whole_folder(model_dir) as part:
            shutil.copytree(trained, part, dirs_exist_ok=True)
    return model_dir


def write_one_report(model_dir: Path, test: datasets.Dataset, out: Path) -> None:
    """Write the report of the first test scan as text and as a picture."""
    row = test.cast_column("image", datasets.Nifti(decode=False))[0]
    volume: CTVolume = read_ct_row(row["image"])
    model, processor = load_model(model_dir)
    (report,) = generate_batch(model, processor, [volume], [INSTRUCTION])
    write_text(out / "report.txt", report.text + "\n")
    save_preview(volume, report.text, out / "preview.png")


def peak_memory_mb() -> float:
    """Return the peak memory of this process, or of one of its finished children if that is higher, in MB."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most / 1024
