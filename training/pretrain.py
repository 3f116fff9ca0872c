"""Pretraining of the 3D vision tower.

accelerate launch training/pretrain.py --config training/recipes/demo_vision.yaml

The result is an `ArgusVisionModel` folder that `argus create --vision` takes. The same command started again goes on
where it was stopped.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import torch
from datasets import load_dataset
from torch import nn
from transformers import Trainer, TrainingArguments, set_seed
from trl import TrlParser

from argus_processing import ArgusImageProcessor
from argus_training.checkpoints import claim_output, last_whole_checkpoint
from argus_training.label_objective import LabelObjective, target_names, target_vector
from modeling_argus import ArgusVisionModel, preset_vision_config


@dataclass
class PretrainArguments:
    """What a pretraining recipe holds beside the trainer's own settings.

    Attributes:
        preset: preset whose vision tower is trained, such as argus-8b-hr.
        objective: what the tower learns from, one of `OBJECTIVES`.
        subset: subset of the ct3drrg data set.
        subset_options: further arguments of `load_dataset`.
    """

    preset: str
    objective: str = "labels"
    subset: str = "phantom"
    subset_options: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise ValueError(f"unknown objective {self.objective!r}; known: {', '.join(OBJECTIVES)}")


def label_objective(tower: ArgusVisionModel, split: datasets.Dataset) -> tuple[nn.Module, Callable[[dict], dict]]:
    """Return the label objective for a split, and what turns a row into its labels."""
    names = target_names(split["findings"])
    return LabelObjective(tower, len(names)), lambda row: {"labels": target_vector(row["findings"], names)}


# An objective is a module (pixel_values, ...) -> loss with `vision_tower`, and a function row -> its other inputs.
OBJECTIVES = {"labels": label_objective}


class PreprocessedScans(torch.utils.data.Dataset):
    """Rows of a split as `pixel_values` and an objective's other inputs; each volume is preprocessed once and kept.

    Kept as float16: a thousandth of the window, far below the noise of a CT.
    """

    def __init__(
        self, split: datasets.Dataset, image_processor: ArgusImageProcessor, inputs_of: Callable[[dict], dict]
    ):
        self.rows = split.cast_column("image", datasets.Nifti(decode=False))
        self.image_processor = image_processor
        self.inputs_of = inputs_of
        self.kept: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        row = self.rows[index]
        if index not in self.kept:
            self.kept[index] = self.image_processor(row["image"]["path"])["pixel_values"][0].half()
        return {"pixel_values": self.kept[index].float(), **self.inputs_of(row)}


def pretrain(recipe: PretrainArguments, config: TrainingArguments) -> Path:
    """Train a preset's vision tower; return the folder that holds it."""
    output_dir = Path(config.output_dir)
    claim_output(output_dir, recipe, config)
    done = output_dir / "model"
    if (done / "config.json").exists():
        return done
    split = load_dataset("ct3drrg", recipe.subset, **recipe.subset_options)["train"]
    set_seed(config.seed)
    tower = ArgusVisionModel(preset_vision_config(recipe.preset))
    objective, inputs_of = OBJECTIVES[recipe.objective](tower, split)
    scans = PreprocessedScans(split, ArgusImageProcessor(image_size=tower.config.image_size), inputs_of)
    trainer = Trainer(model=objective, args=config, train_dataset=scans)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(output_dir))
    if trainer.is_world_process_zero():
        partial = output_dir / "model.partial"
        trainer.accelerator.unwrap_model(trainer.model).vision_tower.save_pretrained(partial)
        partial.rename(done)
    return done


def main() -> None:
    """Parse recipe and command line, and train."""
    parser = TrlParser((PretrainArguments, TrainingArguments), description=__doc__)
    try:
        pretrain(*parser.parse_args_and_config())
    except ValueError as error:
        print(f"pretrain.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
