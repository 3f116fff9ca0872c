"""Find for each test scan the training report that a run of FLIP puts nearest to it."""

from collections.abc import Sequence
from pathlib import Path

import datasets

from argus_inference.preparation import prepare_ahead
from argus_processing.image_processing_argus import ArgusImageProcessor
from argus_processing.storage.progress import progress_bar
from argus_training.pretraining.flip_space import load_flip_space

from .floor_material import FLIPMatches


def flip_matches(run: Path, test: datasets.Dataset, train_reports: Sequence[str], batch_size: int = 4) -> FLIPMatches:
    """Embed training reports and test scans in the space of a run, and match each scan with a report by the cosine.

    Raises:
        FileNotFoundError, ValueError: as `load_flip_space`, or if there are no reports.
    """
    if not train_reports:
        raise ValueError("retrieval needs at least one training report")
    import torch

    space = load_flip_space(run)
    image_processor = ArgusImageProcessor(image_size=space.vision_tower.config.image_size)
    distinct = sorted(set(train_reports))
    reports = space.embed_reports(distinct)
    rows = test.cast_column("image", datasets.Nifti(decode=False))
    batches = [range(start, min(start + batch_size, len(rows))) for start in range(0, len(rows), batch_size)]
    found: list[str] = []

    def read(batch: range) -> torch.Tensor:
        return image_processor(images=[rows[place]["image"] for place in batch])["pixel_values"]

    with progress_bar() as progress:
        prepared = progress.track(prepare_ahead(read, batches), total=len(batches), description="FLIP")
        for _, ready in prepared:
            cosines = space.embed_images(ready.result()) @ reports.T
            found += [distinct[place] for place in cosines.argmax(dim=1).tolist()]
    return FLIPMatches(tuple(found), f"nearest by cosine|FLIP|{len(distinct)} distinct training reports")
