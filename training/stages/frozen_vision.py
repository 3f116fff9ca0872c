"""Skip repeated work when the vision tower is frozen: its forward passes and its activation checkpointing."""

import copy
from pathlib import Path

import datasets
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback
from trl import SFTConfig

from argus_processing import ArgusImageProcessor, ArgusProcessor
from argus_processing.scan_types import ScanReader
from argus_processing.storage.volume_cache import VolumeCache
from argus_processing.storage.volume_memory import VolumeMemory, fits_in_memory
from argus_training.training_progress import logger
from modeling_argus.vision_towers_argus import VisionTower

from .feature_cache import FeatureCache, features_folder, fill, load_tower
from .recipe import RecipeArguments


class NoFrozenCheckpointing(TrainerCallback):
    """Callback that turns off activation checkpointing in a frozen tower, where there is nothing to recompute."""

    def __init__(self, tower: VisionTower):
        self.tower = tower

    def on_train_begin(self, args, state, control, **kwargs):
        """Turn off checkpointing if no weight of the tower trains; the trainer has turned it on for the whole model."""
        if not any(weight.requires_grad for weight in self.tower.parameters()):
            self.tower.gradient_checkpointing_disable()


def reading_through(processor: ArgusProcessor, images: ScanReader) -> ArgusProcessor:
    """Return a copy of a processor that reads scans with `images`; the processor saved with the model is unchanged.

    The processor itself is returned if `images` is its own image processor.
    """
    if images is processor.image_processor:
        return processor
    through = copy.copy(processor)
    through.image_processor = images
    return through


def training_images(
    model_path: Path,
    image_processor: ArgusImageProcessor,
    recipe: RecipeArguments,
    stage: str,
    config: SFTConfig,
    examples: datasets.DatasetDict,
) -> ScanReader:
    """Return the reader of a stage's scans: the image processor, or the cache that the recipe names.

    Without a cache, scans that fit into 2 GB are kept in memory.

    If the recipe names a feature cache and the stage freezes the tower, scans missing in the cache are encoded first;
    the processes share this work.

    Raises:
        CTReadError: if a scan cannot be read.
        ValueError: if the cache cannot be used.
    """
    images = VolumeCache(recipe.volume_cache, image_processor) if recipe.volume_cache else image_processor
    splits = ["train"] if config.eval_strategy == "no" else ["train", "validation"]
    if recipe.feature_cache is None or "vision" in recipe.settings_of(stage)["trainable_parts"]:
        # Worker processes would each fill a memory of their own, and lose it with the epoch.
        in_memory = not (recipe.volume_cache or config.dataloader_num_workers or config.chat_template_path)
        num_scans = sum(len(examples[split]) for split in splits)
        return VolumeMemory(image_processor) if in_memory and fits_in_memory(num_scans, image_processor) else images
    scans = [path for split in splits for path in examples[split]["image"]]
    dtype = torch.bfloat16 if config.bf16 else torch.float32
    tower = load_tower(model_path)
    cache = FeatureCache(features_folder(recipe.feature_cache, tower, images, dtype))
    processes = PartialState()
    num_made = fill(
        cache,
        tower,
        images,
        scans[processes.process_index :: processes.num_processes],
        dtype=dtype,
        device=config.device,
        batch_size=config.per_device_train_batch_size,
        num_workers=config.dataloader_num_workers,
        shown=processes.is_main_process,
    )
    processes.wait_for_everyone()
    num_made = sum(gather_object([num_made]))
    if processes.is_main_process:
        logger.info(f"stage {stage}: {num_made} scans through the vision tower, {cache.folder}")
    return cache
