"""Compute the mean of a stage's training scans, the reference of maps of evidence, into the trained model's folder."""

from pathlib import Path

import datasets
import numpy as np

from argus_processing import ArgusImageProcessor
from argus_processing.mean_scan.mean_scan import MAX_SCANS, MIN_SCANS, mean_of
from argus_processing.mean_scan.mean_scan_file import copy_mean_scan, save_mean_scan
from argus_processing.saved_models.provenance import read_provenance
from argus_processing.storage.progress import progress_bar
from argus_training.training_progress import logger
from argus_training.training_record import TrainingData


def add_mean_scan(
    start: Path, folder: Path, train: datasets.Dataset, image_processor: ArgusImageProcessor, data: TrainingData
) -> None:
    """Write the mean of a stage's training scans into the folder of the model that it trained.

    It is the mean of up to `MAX_SCANS` scans, evenly spread over the split. A stage with fewer than `MIN_SCANS` scans
    gets none, as a mean of so few would show a patient. If the model that the stage started from was trained on the
    same scans, its mean is taken.

    Args:
        start: folder of the model that the stage started from.
        folder: folder of the trained model, with its `argus.json`.
        train: examples with a column `image`.
        image_processor: reads them.
        data: the training split.
    """
    if read_provenance(folder) is None:
        return
    if len(train) < MIN_SCANS:
        logger.info(f"no mean scan: {len(train)} training scans, {MIN_SCANS} are needed")
        return
    before = read_provenance(start)
    if before is not None and before.mean_scan is not None and before.stages[-1].subsets == data.subsets:
        if before.mean_scan.data_sha256 == data.sha256:
            copy_mean_scan(start, folder)
            return
    places = np.unique(np.linspace(0, len(train) - 1, min(MAX_SCANS, len(train))).round().astype(int)).tolist()
    images = train.select_columns(["image"])
    with progress_bar() as progress:
        shown = progress.track(places, total=len(places), description="mean scan")
        mean = mean_of(image_processor.load_volume(images[place]["image"]) for place in shown)
    save_mean_scan(folder, mean, data.sha256)
