"""Runs that can be stopped and started again: whose folder it is, and where to go on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.trainer_utils import sort_checkpoints

from argus_processing.saved_models.weight_files import check_pickled
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.foreign_files import ForeignFileError, read_json_object
from argus_processing.storage.whole_files import write_whole

MAX_STATE_BYTES = 256 << 20  # it holds every logged step
PICKLED = ("*.pt", "*.pth", "*.bin")
RECIPE_FILE = "recipe.json"


def last_whole_checkpoint(output_dir: Path) -> str | None:
    """Return the newest checkpoint that was written to its end, None where there is none.

    The trainer writes `trainer_state.json` last; a checkpoint without it was cut off. transformers reads the states of
    optimizer and generators as tensors alone.

    Raises:
        ForeignFileError: if one of those could inflate to any size.
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
    """Keep other runs out of `output_dir` while the block runs; the first process holds it for all of its run.

    Raises:
        ValueError: if another run is writing into it.
    """
    if config.process_index != 0:
        yield
        return
    with claimed_folder(output_dir):
        yield


def claim_output(output_dir: Path, recipe: Any, config: TrainingArguments) -> None:
    """Write down what this run is, so that another run's checkpoints are never taken for this one's.

    Raises:
        ValueError: if the folder holds a run with other settings.
    """
    path = output_dir / RECIPE_FILE
    said = json.dumps({"recipe": asdict(recipe) | {"stage": None}, "trainer": config.to_json_string()}, indent=1)
    if path.exists() and path.read_text() != said:
        raise ValueError(f"{output_dir}: holds a run with other settings; choose another output_dir or remove it")
    if config.process_index == 0 and not path.exists():
        # Whole at once: another process that looks meanwhile finds all of the text or none.
        write_whole(path, said.encode())
