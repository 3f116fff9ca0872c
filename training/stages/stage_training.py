"""Train one stage: load the model, freeze what the stage freezes, train, and save a model folder."""

from pathlib import Path

import datasets
from trl import SFTConfig, SFTTrainer

from argus_processing import ArgusProcessor
from argus_processing.saved_models.pretrained import check_fit, load_processor
from argus_training.assembly.model_card import continue_model
from argus_training.training_progress import logger
from argus_training.training_record import TrainingData, record_training, train_on

from .checkpoints import last_whole_checkpoint, output_folder
from .frozen_vision import training_images
from .learning_rates import stage_rates
from .lora import ADAPTER_FOLDER, adapter_config, merge_adapter
from .model_loading import load_for_training
from .recipe import RecipeArguments, accumulation_steps, set_trainable, stage_config
from .report_examples import count_cut_reports
from .report_trainer import make_trainer
from .sharded_weights import count_trained, model_of, save_model
from .training_mean import add_mean_scan


def train_stage(
    stage: str,
    model_path: Path,
    recipe: RecipeArguments,
    config: SFTConfig,
    examples: datasets.DatasetDict,
    data: TrainingData,
) -> Path:
    """Train one stage from a model folder; return the folder of the trained model.

    A finished stage is not trained again; an interrupted one continues from its last whole checkpoint.
    Adapters are merged into the model in that folder, and also kept beside it in the folder `adapter`. `data` describes
    the training split, for the model's provenance.
    """
    output_dir = output_folder(config) / f"stage{stage}"
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
    trainer = make_trainer(model, processor, own, examples, images, adapters, stage_rates(settings))
    announce(stage, trainer, examples["train"], processor, recipe.max_text_tokens)
    clock = train_on(trainer, last_whole_checkpoint(output_dir))
    partial = output_dir / "model.partial"
    save_model(trainer, output_dir / ADAPTER_FOLDER if adapters else partial)
    if trainer.is_world_process_zero():
        if adapters:
            merge_adapter(model_path, output_dir / ADAPTER_FOLDER, partial, own.trust_remote_code)
        record = record_training(
            trainer,
            clock,
            name=f"stage {stage}",
            parts=tuple(settings["trainable_parts"]),
            data=data,
            settings=recipe.deciding_settings(stage),
            has_adapters=adapters is not None,
        )
        continue_model(model_path, partial, record, model.config, processor.image_processor)
        add_mean_scan(model_path, partial, examples["train"], processor.image_processor, data)
        partial.rename(done)
    trainer.accelerator.wait_for_everyone()
    return done


def announce(
    stage: str, trainer: SFTTrainer, examples: datasets.Dataset, processor: ArgusProcessor, max_text_tokens: int
) -> None:
    """Log the number of parameters that the stage trains and of reports that are cut, on the first process only."""
    if trainer.is_world_process_zero():
        cut = count_cut_reports(examples, processor, max_text_tokens)
        trained = count_trained(model_of(trainer))
        logger.info(f"stage {stage}: {trained:,} parameters train on {len(examples)} scans, {cut} reports cut")
