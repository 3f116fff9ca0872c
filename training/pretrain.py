"""Pretrain the 3D vision tower: 3D-MAE, Vox2Vec, FLIP, labels, or several one after the other.

accelerate launch training/pretrain.py --config training/recipes/pretrain/mae.yaml
accelerate launch training/pretrain.py --config training/recipes/pretrain/mae_flip.yaml

The result is an `ArgusVisionModel` folder, `model` in the run's folder, that `argus create --vision` takes. The same
command started again continues an interrupted run.
"""

import argus_training.program_start  # noqa: F401 - before any library reads the number of threads

# isort: split

from dataclasses import dataclass, field, replace
from pathlib import Path

import datasets
from datasets import load_dataset
from transformers import TrainingArguments, set_seed

from argus_processing import ArgusImageProcessor
from argus_processing.saved_models.model_folders import VISION_TOWER
from argus_processing.saved_models.pretrained import load_pretrained
from argus_processing.saved_models.provenance import PRETRAINED, Provenance, write_provenance
from argus_processing.storage.typed_json import to_json
from argus_processing.storage.whole_files import write_json
from argus_processing.tower_preprocessing import PREPROCESSINGS, preprocessing_settings
from argus_training.assembly.part_origins import tower_from
from argus_training.pretraining.curves import save_curves
from argus_training.pretraining.objective import Objective, held_out_batches
from argus_training.pretraining.pretrain_trainer import PretrainTrainer
from argus_training.pretraining.pretraining_scans import PreprocessedScans
from argus_training.recipe_command import parse_recipe, recipe_parser, run_command
from argus_training.stages.checkpoints import claim_output, last_whole_checkpoint, output_folder, own_output
from argus_training.training_progress import logger, tell_progress
from argus_training.training_record import TrainingClock, TrainingData, data_of, record_training, train_on
from modeling_argus import ArgusVisionConfig, ArgusVisionModel, preset_vision_config

from .pretraining import flip_objective, label_objective, mae_objective, vox2vec_objective

# name in a recipe -> function (tower, training split, objective_options, seed) that makes an Objective
OBJECTIVES = {
    "labels": label_objective.build,
    "mae": mae_objective.build,
    "vox2vec": vox2vec_objective.build,
    "flip": flip_objective.build,
}


@dataclass
class PretrainArguments:
    """Settings of a pretraining recipe beside the trainer's own.

    Attributes:
        preset: preset whose vision tower is trained, such as argus-8b-hr.
        objective: the pretraining task, one of `OBJECTIVES`.
        objective_options: the objective's own settings, such as `mask_ratio`; see its file.
        vision: settings of the tower that differ from the preset's, such as `patch_size`.
        preprocessing: what is done to every scan: "own" or "paper" (section 3.2), or "body" after a crop to the body.
        start_from: folder of an earlier run, or of a tower, with the initial weights. Default: random weights.
        subset: subset of the ct3drrg data set.
        subset_options: further arguments of `load_dataset`.
        volume_cache: folder of preprocessed volumes (`argus cache`). Default: no folder; a split of up to 2 GB is kept
            in memory, and a larger one is preprocessed each time it is read.
        num_held_out: number of scans of the validation split that are measured, at most; the first ones are used.
    """

    preset: str
    objective: str = "labels"
    objective_options: dict = field(default_factory=dict)
    vision: dict = field(default_factory=dict)
    preprocessing: str = "own"
    start_from: str | None = None
    subset: str = "phantom"
    subset_options: dict = field(default_factory=dict)
    volume_cache: str | None = None
    num_held_out: int = 512

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise ValueError(f"unknown objective {self.objective!r}; known: {', '.join(OBJECTIVES)}")
        if self.preprocessing not in PREPROCESSINGS:
            raise ValueError(f"unknown preprocessing {self.preprocessing!r}; known: {', '.join(PREPROCESSINGS)}")


def starting_tower(recipe: PretrainArguments) -> ArgusVisionModel:
    """Return the tower to train: a new one, or that of an earlier run.

    Raises:
        ValueError: if a setting of `vision` is unknown, or `start_from` holds no tower or one of other sizes.
    """
    config = preset_vision_config(recipe.preset)
    unknown = sorted(name for name in recipe.vision if not hasattr(config, name))
    if unknown:
        raise ValueError(f"vision: no such setting: {', '.join(unknown)}")
    config = ArgusVisionConfig(**config.to_dict() | recipe.vision)
    if recipe.start_from is None:
        return ArgusVisionModel(config)
    folder = start_folder(recipe.start_from)
    if not (folder / "config.json").exists():
        raise ValueError(f"{recipe.start_from}: holds no vision tower; run the first step's recipe before this one")
    tower = load_pretrained(ArgusVisionModel, folder, VISION_TOWER, dtype="float32")
    differing = [name for name in TOWER_SIZES if getattr(tower.config, name) != getattr(config, name)]
    if differing:
        raise ValueError(f"{recipe.start_from}: its {', '.join(differing)} differ from the recipe's")
    return tower


def start_folder(start_from: str) -> Path:
    """Return the folder of the tower that `start_from` names by itself or by its run."""
    folder = Path(start_from)
    return folder / "model" if (folder / "model" / "config.json").exists() else folder


TOWER_SIZES = (
    "image_size",
    "patch_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)


def held_out_split(splits: datasets.DatasetDict, num_held_out: int) -> datasets.Dataset | None:
    """Return the first scans of the validation split, None if there is no such split."""
    if "validation" not in splits:
        return None
    return splits["validation"].select(range(min(num_held_out, len(splits["validation"]))))


def pretrain(recipe: PretrainArguments, config: TrainingArguments) -> Path:
    """Train a preset's vision tower; return the folder that holds it.

    The run's folder also gets `curves.json` and `curves.png` and, if there is a validation split, `results.json` with
    the objective's measurements on it, and the objective's pictures.
    """
    if config.push_to_hub:
        raise ValueError("push_to_hub is for training/sft.py; a tower is uploaded as a part of the model made from it")
    with own_output(output_folder(config), config):
        return _run(recipe, config)


def _run(recipe: PretrainArguments, config: TrainingArguments) -> Path:
    output_dir = output_folder(config)
    # The main process claims the folder and prepares the data first; the others then find both.
    with config.main_process_first(local=False, desc="data"):
        claim_output(output_dir, recipe, config)
        done = output_dir / "model"
        if (done / "config.json").exists():
            return done
        splits = load_dataset("ct3drrg", recipe.subset, **recipe.subset_options)
    set_seed(config.seed)
    tower = starting_tower(recipe)
    objective = OBJECTIVES[recipe.objective](tower, splits["train"], recipe.objective_options, config.seed)
    image_processor = ArgusImageProcessor(
        **preprocessing_settings("argus", tower.config.image_size, recipe.preprocessing)
    )
    held_out = held_out_split(splits, recipe.num_held_out)
    scans, held_out_scans = (
        split and PreprocessedScans(split, image_processor, objective.inputs_of, recipe.volume_cache)
        for split in (splits["train"], held_out)
    )
    trainer = PretrainTrainer(
        model=objective.module,
        args=config,
        train_dataset=scans,
        eval_dataset=held_out_scans if config.eval_strategy != "no" else None,
    )
    tell_progress(trainer)
    clock = train_on(trainer, last_whole_checkpoint(output_dir))
    if trainer.is_world_process_zero():
        data = data_of(recipe.subset, recipe.subset_options, splits["train"])
        provenance = provenance_of(trainer, clock, recipe, tower, data)
        finish(trainer, objective, held_out_scans, f"{recipe.objective}, {recipe.preset}", provenance)
    trainer.accelerator.wait_for_everyone()
    return done


def provenance_of(
    trainer: PretrainTrainer,
    clock: TrainingClock,
    recipe: PretrainArguments,
    tower: ArgusVisionModel,
    data: TrainingData,
) -> Provenance:
    """Return the provenance of a trained tower: that of the one it started from, with this training."""
    start = None if recipe.start_from is None else start_folder(recipe.start_from)
    settings = {name: value for name, value in to_json(recipe).items() if name != "num_held_out"}
    name = f"pretraining: {recipe.objective}"
    record = record_training(trainer, clock, name=name, parts=("vision",), data=data, settings=settings)
    return replace(tower_from(start, tower, "argus", PRETRAINED), preset=recipe.preset).with_stage(*record)


def finish(
    trainer: PretrainTrainer,
    objective: Objective,
    held_out: PreprocessedScans | None,
    title: str,
    provenance: Provenance,
) -> None:
    """Write the curves, the measurements on held-out scans, what is kept beside the tower and, last, the tower."""
    output_dir = Path(trainer.args.output_dir)
    save_curves(trainer.state.log_history, output_dir, title)
    module = trainer.accelerator.unwrap_model(trainer.model).eval()
    if held_out is not None:
        batches = held_out_batches(held_out, trainer.args.per_device_eval_batch_size, trainer.args.device)
        results = objective.show(module, batches, output_dir)
        if results:
            write_json(output_dir / "results.json", results)
            logger.info("held-out scans: " + ", ".join(f"{name} {value:.4g}" for name, value in results.items()))
    objective.keep(module, output_dir)
    partial = output_dir / "model.partial"
    module.vision_tower.save_pretrained(partial)
    write_provenance(partial, provenance)
    partial.rename(output_dir / "model")


def main() -> None:
    """Parse the recipe and the command line, and pretrain the tower."""
    parser = recipe_parser(PretrainArguments, TrainingArguments, description=__doc__)
    run_command("pretrain.py", lambda: pretrain(*parse_recipe(parser)))


if __name__ == "__main__":
    main()
