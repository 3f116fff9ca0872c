"""Two-stage supervised training of Argus on CT and reports (paper, section 5.1).

accelerate launch training/sft.py --config training/recipes/argus_8b_hr.yaml
python training/sft.py --config training/recipes/argus_3b_nr.yaml --stage 2 --learning_rate 1e-6

The same command started again continues an interrupted run.
"""

import argus_training.program_start  # noqa: F401 - before any library reads the number of threads

# isort: split

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer, TrlParser

import argus_processing  # noqa: F401 - registers the processor and the data set
from argus_processing import ArgusProcessor
from argus_processing.saved_models.pretrained import check_fit, load_processor
from argus_training.recipe_command import parse_recipe, run_command
from argus_training.stages.checkpoints import claim_output, last_whole_checkpoint, own_output
from argus_training.stages.frozen_vision import NoFrozenCheckpointing, reading_through, training_images
from argus_training.stages.lora import ADAPTER_FOLDER, adapter_config, merge_adapter
from argus_training.stages.model_loading import load_for_training
from argus_training.stages.recipe import RecipeArguments, accumulation_steps, set_trainable, stage_config
from argus_training.stages.report_examples import count_cut_reports, report_examples
from argus_training.stages.sharded_weights import check_saved_weights, count_trained, upcast_trained
from modeling_argus import ArgusForConditionalGeneration

if TYPE_CHECKING:
    from peft import LoraConfig


def save_model(trainer: SFTTrainer, folder: Path) -> None:
    """Save the model (or the adapters) and the processor, gathered from all processes, without pickle files.

    Raises:
        ValueError: if a saved tensor is empty.
    """
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        (folder / "training_args.bin").unlink(missing_ok=True)
        check_saved_weights(folder)


def train_stage(
    stage: str, model_path: Path, recipe: RecipeArguments, config: SFTConfig, examples: datasets.DatasetDict
) -> Path:
    """Train one stage from a model folder; return the folder of the trained model.

    A finished stage is not trained again; an interrupted one continues from its last whole checkpoint.
    Adapters are merged into the model in that folder, and also kept beside it in the folder `adapter`.
    """
    output_dir = Path(config.output_dir) / f"stage{stage}"
    done = output_dir / "model"
    if (done / "config.json").exists():
        return done
    settings = recipe.settings_of(stage)
    if recipe.global_batch_size:
        settings = settings | {"gradient_accumulation_steps": accumulation_steps(recipe.global_batch_size, config)}
    own = stage_config(config, settings, str(output_dir))
    processor = load_processor(model_path, own.trust_remote_code)
    own.max_length = recipe.max_text_tokens + processor.num_image_tokens
    model = load_for_training(model_path, recipe, stage, own)
    check_fit(model_path, model, processor)
    set_trainable(model, settings["trainable_parts"])
    adapters = adapter_config(model, recipe, stage)
    images = training_images(model_path, processor.image_processor, recipe, stage, own, examples)
    trainer = make_trainer(model, processor, own, examples, images, adapters)
    announce(stage, trainer, processor, recipe.max_text_tokens)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(output_dir))
    partial = output_dir / "model.partial"
    save_model(trainer, output_dir / ADAPTER_FOLDER if adapters else partial)
    if trainer.is_world_process_zero():
        if adapters:
            merge_adapter(model_path, output_dir / ADAPTER_FOLDER, partial, own.trust_remote_code)
        partial.rename(done)
    trainer.accelerator.wait_for_everyone()
    return done


def announce(stage: str, trainer: SFTTrainer, processor: ArgusProcessor, max_text_tokens: int) -> None:
    """Print, on the first process only, the parameters that the stage trains and the number of reports that are cut."""
    if trainer.is_world_process_zero():
        examples = trainer.train_dataset
        cut = count_cut_reports(examples, processor, max_text_tokens)
        trained = count_trained(trainer.model)
        print(f"stage {stage}: {trained:,} parameters train on {len(examples)} scans, {cut} reports cut")


def make_trainer(
    model: ArgusForConditionalGeneration,
    processor: ArgusProcessor,
    config: SFTConfig,
    examples: datasets.DatasetDict,
    images: Callable | None = None,
    adapters: "LoraConfig | None" = None,
) -> SFTTrainer:
    """Return TRL's own trainer with its own collator; the loss is on report tokens only.

    `images` reads scans in place of the image processor, for example a cache.
    """
    # Otherwise the trainer removes the column of lengths before it groups by length.
    if config.train_sampling_strategy in ("group_by_length", "batch_rebalance"):
        config.remove_unused_columns = False
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"] if config.eval_strategy != "no" else None,
        processing_class=processor,
        peft_config=adapters,
    )
    upcast_trained(trainer.model)
    if images is not None:
        trainer.data_collator.processor = reading_through(processor, images)
    trainer.add_callback(NoFrozenCheckpointing(model.model.vision_tower))
    return trainer


def draw_share(train: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Draw a share of a split, at least one scan; a share of 1 returns the split unchanged."""
    if share == 1:
        return train
    return train.shuffle(seed=seed).select(range(max(1, round(share * len(train)))))


def train(recipe: RecipeArguments, config: SFTConfig) -> Path:
    """Run the recipe's stages one after the other; return the folder of the last model."""
    with own_output(Path(config.output_dir), config):
        return _run_stages(recipe, config)


def _run_stages(recipe: RecipeArguments, config: SFTConfig) -> Path:
    output_dir = Path(config.output_dir)
    claim_output(output_dir, recipe, config)
    splits = load_dataset("ct3drrg", recipe.subset, **recipe.subset_options)
    splits["train"] = draw_share(splits["train"], recipe.train_share, config.seed)
    examples = datasets.DatasetDict({name: report_examples(split) for name, split in splits.items()})
    model_path = Path(recipe.model_name_or_path)
    if recipe.stage == "2" and (output_dir / "stage1" / "model").exists():
        model_path = output_dir / "stage1" / "model"
    for stage in recipe.stages_to_run():
        model_path = train_stage(stage, model_path, recipe, config, examples)
    return model_path


def main() -> None:
    """Parse the recipe and the command line, train, and upload only if `push_to_hub` is set."""
    parser = TrlParser((RecipeArguments, SFTConfig), description=__doc__)
    run_command("sft.py", lambda: train(*parse_recipe(parser)))


if __name__ == "__main__":
    main()
