"""Describe a training for the provenance of its model: data, recipe, machine, libraries and time."""

import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from argus_processing.ct3drrg import PhantomConfig
from argus_processing.curation.prepared_folder import MANIFEST, read_manifest
from argus_processing.phantom.files import PHANTOM_VERSION
from argus_processing.saved_models.provenance import (
    PATIENTS,
    PHANTOMS,
    UNKNOWN,
    TrainedSubset,
    TrainingRun,
    TrainingStage,
    recordable,
)
from argus_processing.storage.file_hash import hash_file
from argus_processing.storage.whole_files import read_json, write_json

PHANTOM = "phantom"  # the subset whose scans are made when it is loaded
PHANTOM_SETTINGS = ("seed", "num_train", "num_validation", "num_test", "spacing_mm", "labels")
SECONDS_FILE = "seconds.json"  # in each checkpoint
LIBRARIES = ("argus-ct", "torch", "transformers", "trl", "accelerate", "datasets")
# Beginnings of the trainer's settings of the machine, the run's folder and its log, which decide no weight.
_OF_THE_MACHINE = (
    *("output_dir", "run_name", "project", "trackio_", "hub_", "push_to_hub", "report_to", "log_", "logging_"),
    *("disable_tqdm", "do_", "eval_", "save_", "include_", "skip_memory_metrics", "resume_from", "restore_callback"),
    *("use_cpu", "local_rank", "ddp_", "fsdp", "deepspeed", "parallelism_config", "accelerator_config", "enable_jit"),
    *("gradient_checkpointing", "activation_checkpointing", "torch_compile", "torch_empty_cache", "dataset_num_proc"),
    *("dataloader_num_workers", "dataloader_pin", "dataloader_persistent", "dataloader_prefetch", "dataloader_multi"),
    # A step's examples over all processes stand beside them.
    *("per_device_", "gradient_accumulation_steps", "auto_find_batch_size", "remove_unused_columns"),
)
_TOKENS = ("eos_token", "pad_token")  # transformers hides every setting of such a name
# A recipe's settings that name folders, or stand elsewhere in the record.
FOLDERS = ("model_name_or_path", "start_from", "subset", "subset_options", "volume_cache", "feature_cache")


@dataclass(frozen=True)
class TrainingData:
    """The scans that a training uses, and the hash that identifies where they come from."""

    subsets: tuple[TrainedSubset, ...]
    sha256: str


def data_of(subset: str, options: Mapping[str, Any], train: datasets.Dataset) -> TrainingData:
    """Describe the training split of a subset that was loaded with these options.

    Whether scans of a prepared folder are phantoms is told by its manifest; one of before does not tell.
    """
    if subset == PHANTOM:
        return TrainingData((TrainedSubset(subset, len(train), PHANTOMS),), _phantom_hash(options))
    folder = Path(options["data_dir"]).expanduser()
    phantoms = read_manifest(folder).get("phantoms")
    subsets = (
        TrainedSubset(name, count, UNKNOWN if phantoms is None else PHANTOMS if name in phantoms else PATIENTS)
        for name, count in sorted(Counter(train["source"]).items())
    )
    return TrainingData(tuple(subsets), hash_file(folder / MANIFEST))


def _phantom_hash(options: Mapping[str, Any]) -> str:
    settings = {name: options.get(name, getattr(PhantomConfig, name)) for name in PHANTOM_SETTINGS}
    return _hash({"version": PHANTOM_VERSION, **settings})


def recipe_hash(settings: Mapping[str, Any], config: TrainingArguments) -> str:
    """Return the SHA-256 (hex) of all settings that decide the weights; the same on every machine and in every folder.

    Args:
        settings: those of the recipe beside the trainer's; its folders are left out.
        config: the trainer's; those that have their default value are left out.
    """
    own = {name: value for name, value in settings.items() if name not in FOLDERS}
    return _hash({"recipe": own, "trainer": _deciding(config), "batch_size": batch_size_of(config)})


def _deciding(config: TrainingArguments) -> dict[str, Any]:
    defaults = {field.name: _plain(field.default) for field in fields(config) if field.default is not MISSING}
    given = config.to_dict() | {name: getattr(config, name) for name in _TOKENS if hasattr(config, name)}
    return {
        name: value
        for name, value in given.items()
        if not name.startswith(_OF_THE_MACHINE) and (name not in defaults or value != defaults[name])
    }


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def batch_size_of(config: TrainingArguments) -> int:
    """Return the number of examples in a step, over all processes."""
    return config.per_device_train_batch_size * config.gradient_accumulation_steps * config.world_size


class TrainingClock(TrainerCallback):
    """Callback that counts the seconds of a training; each checkpoint keeps them for a run that goes on from there.

    Args:
        checkpoint: the one that the training goes on from. Default: it starts anew.
    """

    def __init__(self, checkpoint: str | Path | None = None):
        self._before: float | None = 0.0
        self._started: float | None = None
        if checkpoint is not None:
            path = Path(checkpoint) / SECONDS_FILE
            self._before = read_json(path)["seconds"] if path.exists() else None

    @property
    def seconds(self) -> float | None:
        """Return the seconds so far; None if the checkpoint kept none, as if it was cut off or is of before."""
        if self._before is None or self._started is None:
            return self._before
        return round(self._before + time.monotonic() - self._started, 1)

    def on_train_begin(self, args, state, control, **kwargs):
        """Start the clock."""
        self._started = time.monotonic()

    def on_save(self, args, state, control, **kwargs):
        """Write the seconds beside the checkpoint's own files."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and self.seconds is not None and folder.is_dir():
            write_json(folder / SECONDS_FILE, {"seconds": self.seconds})


def train_on(trainer: Trainer, checkpoint: str | None) -> TrainingClock:
    """Train, from a checkpoint if there is one; return the clock that was running."""
    clock = TrainingClock(checkpoint)
    trainer.add_callback(clock)
    trainer.train(resume_from_checkpoint=checkpoint)
    return clock


def record_training(
    trainer: Trainer,
    clock: TrainingClock,
    *,
    name: str,
    parts: tuple[str, ...],
    data: TrainingData,
    settings: Mapping[str, Any],
    has_adapters: bool = False,
) -> tuple[TrainingStage, TrainingRun]:
    """Return what is recorded of a training that has ended; for `settings` see `recipe_hash`."""
    config, state = trainer.args, trainer.state
    stage = TrainingStage(
        name=name,
        parts=parts,
        subsets=data.subsets,
        data_sha256=data.sha256,
        recipe_sha256=recipe_hash(settings, config),
        num_epochs=round(float(state.epoch or 0), 2),
        num_steps=state.global_step,
        batch_size=batch_size_of(config),
        learning_rate=config.learning_rate,
        has_adapters=has_adapters,
    )
    return stage, TrainingRun(recordable(hardware_of(config)), versions(), clock.seconds)


def hardware_of(config: TrainingArguments) -> str:
    """Return the number of processes and the device of each, such as "8 x NVIDIA H100 80GB HBM3"."""
    if config.device.type == "cuda":
        device = torch.cuda.get_device_name(config.device)
    else:
        threads = torch.get_num_threads()
        device = f"{config.device.type} {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{config.world_size} x {device}"


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the weights."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = recordable(version(name))
    return found
