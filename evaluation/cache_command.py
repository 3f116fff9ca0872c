"""`argus cache`: fills a volume cache for a prepared data set, with the preprocessing of a saved model."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import datasets
import torch
from rich.console import Console
from rich.progress import track

from argus_processing.ct_checks import CTReadError
from argus_processing.pretrained import load_image_processor
from argus_processing.volume_cache import VolumeCache

from .report import one_line


def fill_cache(prepared: Path, out: Path, model: Path, workers: int, trust: bool = False) -> list[str]:
    """Preprocess every volume of `prepared` that has no entry yet; returns a line for each that cannot be read.

    Raises:
        ValueError: if the folder is no prepared data set, or holds its volumes itself instead of their paths.
    """
    load_image_processor(model, trust)  # a folder that cannot be used is refused before any volume
    paths = list(volume_paths(prepared))
    fill = partial(fill_one, model, out, trust)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        results = pool.map(fill, paths, chunksize=4) if workers > 1 else map(fill, paths)
        bar = track(results, "Volumes", total=len(paths), console=Console(stderr=True), transient=True)
        return [line for line in bar if line is not None]


def volume_paths(prepared: Path) -> Iterator[str]:
    """Paths of a prepared data set's volumes."""
    splits = datasets.load_dataset("ct3drrg", "all", data_dir=str(prepared))
    for split in splits.values():
        for row in split.select_columns("image").cast_column("image", datasets.Nifti(decode=False)):
            if row["image"]["bytes"] is not None:
                raise ValueError(
                    f"{prepared}: holds its volumes itself; a cache needs files, prepare without embedding"
                )
            yield row["image"]["path"]


def fill_one(model: Path, out: Path, trust: bool, path: str) -> str | None:
    """Make one entry; returns why it could not be made."""
    cache = VolumeCache(out, load_image_processor(model, trust))
    try:
        if not cache.has(path):
            cache.load_into(path, torch.empty(cache.image_processor.image_size))
    except (CTReadError, OSError) as error:
        return one_line(error)
    return None
