"""Train report writers with TRL's trainer: its collator reads scans by a cache, its loss is on report tokens only."""

from typing import TYPE_CHECKING

import datasets
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from argus_processing import ArgusProcessor
from argus_processing.scan_types import ScanReader
from argus_training.training_progress import tell_progress
from modeling_argus import ArgusForConditionalGeneration

from .frozen_vision import NoFrozenCheckpointing, reading_through
from .learning_rates import LearningRates, RatesTrainer
from .sharded_weights import model_of, upcast_trained

if TYPE_CHECKING:
    from peft import LoraConfig


def make_trainer(
    model: ArgusForConditionalGeneration,
    processor: ArgusProcessor,
    config: SFTConfig,
    examples: datasets.DatasetDict,
    images: ScanReader | None = None,
    adapters: "LoraConfig | None" = None,
    rates: LearningRates | None = None,
) -> SFTTrainer:
    """Return TRL's own trainer with its own collator.

    `images` reads scans in place of the processor's image processor, for example a cache. `rates` are learning rates
    beside the one of `config`.

    Raises:
        ValueError: if a setting does not go with a cache, or names no token of the tokenizer.
    """
    # Otherwise the trainer removes the column of lengths before it groups by length.
    if config.train_sampling_strategy in ("group_by_length", "batch_rebalance"):
        config.remove_unused_columns = False
    share_pad_token(model, processor, config)
    trainer = RatesTrainer(
        rates=rates or LearningRates(),
        model=model,
        args=config,
        data_collator=report_collator(processor, config, images),
        train_dataset=examples["train"],
        eval_dataset=examples["validation"] if config.eval_strategy != "no" else None,
        processing_class=processor,
        peft_config=adapters,
    )
    upcast_trained(model_of(trainer))
    tell_progress(trainer)
    trainer.add_callback(NoFrozenCheckpointing(model.model.vision_tower))
    return trainer


def report_collator(
    processor: ArgusProcessor, config: SFTConfig, images: ScanReader | None = None
) -> DataCollatorForVisionLanguageModeling:
    """Return the collator that `SFTTrainer` makes for prompts and completions with images, which reads by `images`.

    Raises:
        ValueError: if `images` is a cache and the trainer shall change the processor's template.
    """
    through = processor if images is None else reading_through(processor, images)
    if through is not processor and config.chat_template_path is not None:
        raise ValueError("chat_template_path goes without caches: write it into the model's chat_template.jinja")
    return DataCollatorForVisionLanguageModeling(
        processor=through,
        max_length=config.max_length,
        completion_only_loss=config.completion_only_loss in (None, True),
        # A recipe's "auto" is a number or None as soon as the settings are made.
        pad_to_multiple_of=None if config.pad_to_multiple_of is None else int(config.pad_to_multiple_of),
        dataset_text_field=config.dataset_text_field,
        assistant_only_loss=config.assistant_only_loss,
    )


def share_pad_token(model: ArgusForConditionalGeneration, processor: ArgusProcessor, config: SFTConfig) -> None:
    """Give tokenizer and model one padding token; `SFTTrainer` does so only where it makes the collator itself.

    Raises:
        ValueError: if the recipe's token is not in the vocabulary.
    """
    tokenizer = processor.tokenizer
    pad_token = config.pad_token or tokenizer.pad_token or tokenizer.eos_token
    if pad_token not in tokenizer.get_vocab():
        raise ValueError(f"pad_token {pad_token!r} is no token of the model's tokenizer")
    tokenizer.pad_token = pad_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
