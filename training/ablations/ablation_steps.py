"""Train the steps of a cell, each named by everything that decides its result, so that cells share them.

A step's folder is named by its kind and a hash of its settings and of the steps before it. A finished step is not run
again; an interrupted one continues from its last whole checkpoint; two cells with the same first steps share them.
"""

import gc
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import load_dataset
from transformers import TrainingArguments
from trl import SFTConfig

from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.whole_files import write_whole
from argus_training.ablations.ablation_grid import key_of, overlay
from argus_training.ablations.ablation_recipes import TEXT_MODEL, ReportRecipe, divide_settings
from argus_training.assembly.convert_weights import convert_weights
from argus_training.assembly.create import create_model
from argus_training.assembly.language import train_language_model
from argus_training.stages.recipe import RecipeArguments
from argus_training.training_record import data_of
from modeling_argus import preset_vision_config
from modeling_argus.presets_argus import TOWER_PROJECTOR_LAYERS, preset_names

from .. import pretrain, sft

STEP_FILE = "step.json"
# Setting -> its name in step.json and in the hash, which it had first: runs of that time keep their folders.
FIRST_NAMES = {"gradient_checkpointing": "activation_checkpointing"}
# What `create_model` did first, without being told.
FIRST_PROJECTOR_LAYERS = 2
OTHER_GRIDS_FIRST = {("m3d", "nr")}
SHARED_SEED = 0  # for what all seeds of a cell share: language model and vision tower


@dataclass(frozen=True)
class Step:
    """One training, or the assembly of a model: its kind, its settings, and the steps whose results it needs."""

    kind: str
    settings: dict[str, Any]
    needs: tuple["Step", ...] = ()

    @cached_property
    def name(self) -> str:
        """Return the name of the step's folder: kind and hash."""
        said = key_of({"settings": kept_settings(self), "needs": [step.name for step in self.needs]})
        return f"{self.kind}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"

    def with_needs(self) -> list["Step"]:
        """Return this step and all that it needs, in the order they are run, none twice."""
        chain = [step for need in self.needs for step in need.with_needs()] + [self]
        return list({step.name: step for step in chain}.values())


def last_step(settings: dict[str, Any], seed: int, shared_seed: int = SHARED_SEED) -> Step:
    """Plan a cell: return the step whose result is the model to score, with the steps it needs.

    The seed decides the connector's weights and the order of the reports; language model and tower are trained once,
    with `shared_seed`.
    """
    recipe = ReportRecipe(**settings)
    llm, vision = _language(recipe, shared_seed), _vision(recipe, shared_seed)
    # A folder that the recipe names is a setting; a model that is trained first is a step.
    given = {"llm": llm, "vision": vision}
    steps = tuple(part for part in given.values() if isinstance(part, Step))
    paths = {name: part for name, part in given.items() if isinstance(part, str)}
    step = Step("create", {**_assembly(recipe), **paths, "preset": recipe.preset, "seed": seed}, steps)
    training = overlay(recipe.trainer, recipe.sft)
    stages = RecipeArguments(model_name_or_path="", stage=training.pop("stage", "both")).stages_to_run()
    own = {key: training.pop(key) for key in ("stage1", "stage2") if key in training}
    for stage in stages:
        stage_settings = {f"stage{stage}": own[f"stage{stage}"]} if f"stage{stage}" in own else {}
        step = Step("sft", {**recipe.data, **training, **stage_settings, "stage": stage, "seed": seed}, (step,))
    return step


def _language(recipe: ReportRecipe, seed: int) -> Step | str:
    llm = recipe.llms[recipe.llm]
    if "path" in llm:
        return llm["path"]
    return Step("language", {"data": recipe.data, "seed": seed, **overlay(recipe.trainer, llm["train"])})


def _assembly(recipe: ReportRecipe) -> dict[str, Any]:
    """Return the settings of a model's assembly; defaults that were others in earlier versions are among them.

    So a step of that time is not taken for one of today.
    """
    tower, resolution = recipe.create.get("tower", "argus"), preset_names(recipe.preset)[1]
    own: dict[str, Any] = {}
    if (layers := TOWER_PROJECTOR_LAYERS.get(tower)) != FIRST_PROJECTOR_LAYERS:
        own["num_projector_layers"] = layers
    if (tower, resolution) in OTHER_GRIDS_FIRST:
        own["image_size"] = list(preset_vision_config(recipe.preset, tower).image_size)
    return own | recipe.create


def _vision(recipe: ReportRecipe, seed: int) -> Step | str | None:
    if isinstance(recipe.vision, str):
        return recipe.vision.replace("{resolution}", preset_names(recipe.preset)[1])
    if isinstance(recipe.vision, dict):
        system, checkpoint = recipe.vision["convert"], recipe.vision["checkpoint"]
        grid = list(preset_vision_config(recipe.preset, system, recipe.create.get("image_size")).image_size)
        settings = {"system": system, "checkpoint": checkpoint, "preset": recipe.preset, "image_size": grid}
        return Step("convert", settings)
    step = None
    for objective in recipe.vision:
        training = overlay(recipe.trainer, recipe.objectives[objective])
        settings = {**recipe.data, "preset": recipe.preset, "objective": objective, "seed": seed, **training}
        # For this tower "own" and "paper" are one thing, and no setting.
        if recipe.create.get("preprocessing") == "body":
            settings["preprocessing"] = "body"
        step = Step("vision", settings, (step,) if step else ())
    return step


def run_step(step: Step, folder: Path) -> Path:
    """Run a step and those it needs under `folder`, unless they are done; return the step's model folder.

    Raises:
        ValueError: if a step's folder holds another step's settings, or the training refuses a setting.
    """
    for each in step.with_needs():
        own = folder / each.name
        claim_step(each, own)
        model = model_of(each, folder)
        if (model / "config.json").exists():
            continue
        started = time.monotonic()
        RUNNERS[each.kind](each, own, [model_of(need, folder) for need in each.needs], folder)
        if PartialState().is_main_process:
            _write_step(each, own, round(time.monotonic() - started, 1))
        PartialState().wait_for_everyone()
    return model_of(step, folder)


def model_of(step: Step, folder: Path) -> Path:
    """Return the folder of a step's model."""
    stage = f"stage{step.settings['stage']}" if step.kind == "sft" else "."
    return folder / step.name / stage / "model"


def seconds_of(step: Step, folder: Path) -> float | None:
    """Return the seconds that a finished step took since its last start; None if they were not recorded."""
    return json.loads((folder / step.name / STEP_FILE).read_text()).get("seconds")


def kept_settings(step: Step) -> dict[str, Any]:
    """Return a step's settings by the names that they have on disk."""
    return {FIRST_NAMES.get(name, name): value for name, value in step.settings.items()}


def claim_step(step: Step, own: Path) -> None:
    """Write a step's settings into its folder, which marks the folder as this step's.

    Raises:
        ValueError: if the folder holds a step with other settings.
    """
    path = own / STEP_FILE
    if PartialState().is_main_process and not path.exists():
        own.mkdir(parents=True, exist_ok=True)
        _write_step(step, own)
    # Every process must wait here, even if it found the file: one that did not would be one barrier ahead of the rest.
    PartialState().wait_for_everyone()
    advice = "remove it or choose another folder"
    claim_for_settings(path, kept_settings(step), settings_in=lambda said: said["settings"], advice=advice)


def _write_step(step: Step, own: Path, seconds: float | None = None) -> None:
    said: dict[str, Any] = {
        "kind": step.kind,
        "settings": kept_settings(step),
        "needs": [need.name for need in step.needs],
    }
    if seconds is not None:
        said["seconds"] = seconds
    write_whole(own / STEP_FILE, json.dumps(said, indent=1).encode())


def subset_options(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the data set options; phantoms are kept beside the steps."""
    options = dict(settings.get("subset_options", {}))
    return options | ({"cache_dir": str(folder / "data")} if settings["subset"] == "phantom" else {})


def _run_language(step: Step, own: Path, needs: list[Path], folder: Path) -> None:
    settings = dict(step.settings)
    data, sizes = settings.pop("data"), settings.pop(TEXT_MODEL, {})
    options = subset_options(data, folder)
    train = load_dataset("ct3drrg", data["subset"], **options)["train"]
    partial = own / "model.partial"
    if PartialState().is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    config = SFTConfig(**settings, output_dir=str(own))
    train_language_model(train, partial, config, data_of(data["subset"], options, train), sizes)
    _finish(partial, own / "model")


def _run_vision(step: Step, own: Path, needs: list[Path], folder: Path) -> None:
    arguments, config = divide_settings(step.settings, pretrain.PretrainArguments)
    arguments |= {"subset_options": subset_options(step.settings, folder)}
    if needs:
        arguments["start_from"] = str(needs[0])
    pretrain.pretrain(pretrain.PretrainArguments(**arguments), TrainingArguments(**config, output_dir=str(own)))
    free_memory()


def _run_convert(step: Step, own: Path, needs: list[Path], folder: Path) -> None:
    if PartialState().is_main_process:
        partial = own / "model.partial"
        shutil.rmtree(partial, ignore_errors=True)
        convert_weights(out=partial, **step.settings)
    _finish(own / "model.partial", own / "model")


def _run_create(step: Step, own: Path, needs: list[Path], folder: Path) -> None:
    if PartialState().is_main_process:
        partial = own / "model.partial"
        shutil.rmtree(partial, ignore_errors=True)
        trained = {
            "llm" if need.kind == "language" else "vision": path for need, path in zip(step.needs, needs, strict=True)
        }
        create_model(out=partial, **step.settings, **trained)
    _finish(own / "model.partial", own / "model")


def _run_sft(step: Step, own: Path, needs: list[Path], folder: Path) -> None:
    arguments, config = divide_settings(step.settings, RecipeArguments)
    arguments |= {"subset_options": subset_options(step.settings, folder), "model_name_or_path": str(needs[0])}
    sft.train(RecipeArguments(**arguments), SFTConfig(**config, output_dir=str(own)))
    free_memory()


def free_memory() -> None:
    """Free the memory of the last training: a trainer and its model refer to each other, on the GPU too."""
    gc.collect()
    torch.cuda.empty_cache()


def _finish(partial: Path, done: Path) -> None:
    """Rename a finished folder to its final name, in one process only."""
    PartialState().wait_for_everyone()
    if PartialState().is_main_process:
        partial.rename(done)
    PartialState().wait_for_everyone()


# kind -> function (step, its folder, model folders of its needs, folder of all steps)
RUNNERS: dict[str, Callable[[Step, Path, list[Path], Path], None]] = {
    "language": _run_language,
    "vision": _run_vision,
    "convert": _run_convert,
    "create": _run_create,
    "sft": _run_sft,
}
