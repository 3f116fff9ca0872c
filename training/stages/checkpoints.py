"""Continue runs that were stopped: find the last checkpoint and check that a folder is the run's own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.trainer_utils import sort_checkpoints

from argus_processing.saved_models.weight_files import check_pickled
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.foreign_files import ForeignFileError, read_json_object
from argus_processing.storage.whole_files import write_whole

MAX_STATE_BYTES = 256 << 20  # the file holds every logged step
PICKLED = ("*.pt", "*.pth", "*.bin")
RECIPE_FILE = "recipe.json"


def output_folder(config: TrainingArguments) -> Path:
    """Return the folder of a run; transformers names one if the recipe does not.

    Raises:
        ValueError: if there is none.
    """
    if config.output_dir is None:
        raise ValueError("output_dir: name a folder for the run")
    return Path(config.output_dir)


def last_whole_checkpoint(output_dir: Path) -> str | None:
    """Return the newest checkpoint that was written completely, None if there is none.

    The trainer writes `trainer_state.json` last; a checkpoint without it is incomplete. transformers reads the states
    of optimizer and generators as tensors only.

    Raises:
        ForeignFileError: if one of those files has compressed parts, which could grow to any size.
    """
    if not output_dir.is_dir():
        return None
    for checkpoint in reversed(sort_checkpoints(output_dir=str(output_dir))):
        try:
            read_json_object(Path(checkpoint) / "trainer_state.json", MAX_STATE_BYTES, max_values=None)
        except (OSError, ForeignFileError):
            continue
        for pattern in PICKLED:
            for file in Path(checkpoint).glob(pattern):
                check_pickled(file)
        return checkpoint
    return None


@contextmanager
def own_output(output_dir: Path, config: TrainingArguments) -> Iterator[None]:
    """Keep other runs out of `output_dir` while the block runs; the first process holds the lock for all processes.

    Raises:
        ValueError: if another run is writing into the folder.
    """
    if config.process_index != 0:
        yield
        return
    with claimed_folder(output_dir):
        yield


def claim_output(output_dir: Path, recipe: Any, config: TrainingArguments) -> None:
    """Write this run's settings into its folder, so that it never continues from checkpoints of another run.

    Raises:
        ValueError: if the folder holds a run with other settings.
    """
    path = output_dir / RECIPE_FILE
    content = {"recipe": asdict(recipe) | {"stage": None}, "trainer": config.to_json_string()}
    # Written atomically: another process that reads it meanwhile finds the whole text or no file.
    write = partial(write_whole, path, json.dumps(content, indent=1).encode()) if config.process_index == 0 else None
    advice = "choose another output_dir or remove it"
    claim_for_settings(path, _settings_in(content), write=write, settings_in=_settings_in, advice=advice)


def _settings_in(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of recipe and trainer by name; no name is in both."""
    return content["recipe"] | json.loads(content["trainer"])
