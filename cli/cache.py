"""Run `argus cache`: fill a cache of a prepared data set's volumes, preprocessed as a saved model does."""

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets
import torch

from argus_processing.failures import reason_of
from argus_processing.saved_models.pretrained import load_image_processor
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.progress import progress_bar
from argus_processing.storage.volume_cache import VolumeCache
from argus_processing.storage.worker_pool import DIED, run_in_workers


def fill_cache(prepared: Path, out: Path, model: Path, workers: int, trust: bool = False) -> list[str]:
    """Preprocess every volume of `prepared` that has no entry yet; return a line for each that cannot be read.

    Raises:
        ValueError: if the folder is not a prepared data set, if its volumes are embedded instead of given by path, or
            if another process fills the same cache.
        OSError: if the disk takes no more entries.
    """
    # Done first, so that a folder that cannot be used is refused before any volume is read.
    folder = VolumeCache(out, load_image_processor(model, trust)).folder
    paths = list(volume_paths(prepared))
    if not paths:
        raise ValueError(f"{prepared}: holds no volumes; see what argus prepare said of them")
    with claimed_folder(folder), progress_bar() as progress:
        results = run_in_workers(partial(fill_one, model, out, trust), paths, workers)
        bar = progress.track(results, total=len(paths), description="volumes")
        reasons = {path: f"{path}: {DIED}" if reason is None else reason for path, reason in bar}
    return [reasons[path] for path in paths if reasons[path]]


def volume_paths(prepared: Path) -> Iterator[str]:
    """Yield the paths of a prepared data set's volumes."""
    splits = datasets.load_dataset("ct3drrg", "all", data_dir=str(prepared))
    for split in splits.values():
        for row in split.select_columns("image").cast_column("image", datasets.Nifti(decode=False)):
            if row["image"]["bytes"] is not None:
                raise ValueError(
                    f"{prepared}: holds its volumes itself; a cache needs files, prepare without embedding"
                )
            yield row["image"]["path"]


def fill_one(model: Path, out: Path, trust: bool, path: str) -> str:
    """Make one entry; return the reason if its scan cannot be read, else an empty text.

    Raises:
        OSError: if the entry cannot be written, because then no other entry could be either.
    """
    cache = VolumeCache(out, load_image_processor(model, trust))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            if not cache.has(path):
                cache.load_into(path, torch.empty(cache.image_processor.image_size))
        except BaseException as error:
            reason = reason_of(error)
            return reason if path in reason else f"{path}: {reason}"
    if not cache.has(path):
        raise OSError(str(said[-1].message) if said else f"{cache.folder}: takes no entry")
    return ""
