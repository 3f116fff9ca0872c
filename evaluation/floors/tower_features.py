"""Compute a vision tower's features of scans, and keep them in a file, so that no scan is read twice for them."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from argus_inference.generation import device_of
from argus_inference.preparation import prepare_ahead
from argus_inference.processes import ALONE, Processes
from argus_processing.failures import reason_of
from argus_processing.scan_types import ScanReader
from argus_processing.storage.answer_store import answer_once
from argus_processing.storage.progress import progress_bar
from argus_processing.storage.volume_cache import path_of, scan_key, settings_hash
from argus_processing.storage.volume_memory import VolumeMemory, fits_in_memory

FEATURES_FILE = "features.sqlite"
POOLING = "mean of the tower's tokens"
_VERSION = 1  # a new one whenever the numbers change
_CHUNK = 64  # scans whose features are stored together
_TYPE = np.dtype("<f4")


@dataclass(frozen=True)
class TowerFeatures:
    """Reader of the features that a model's vision tower gives of scans.

    Attributes:
        model, processor: as `load_model` returns them.
        model_hash: hash of the model's folder.
        file: SQLite file that keeps features; those of another model, precision or preprocessing are kept apart.
        batch_size: scans that go through the tower together.
        processes: those that share the scans; each has a file of its own.
    """

    model: Any
    processor: Any
    model_hash: str
    file: Path
    batch_size: int = 4
    processes: Processes = ALONE

    def of_scans(self, rows: datasets.Dataset, label: str, say: Callable[[str], None]) -> dict[int, np.ndarray]:
        """Return the features `(C,)` float32 of every row that can be read, by its place.

        Args:
            rows: with `scan_id`, `image` and `report`.
            label: of the progress bar.
            say: called with one line for each scan that cannot be read now; one of an earlier start is not tried again.
        """
        scans = rows.cast_column("image", datasets.Nifti(decode=False))
        own = list(self.processes.share(range(len(scans))))
        answers = dict(zip(own, self._answers(scans, own, label, say), strict=True))
        found = {place: answer for part in self.processes.gather(answers) for place, answer in part.items()}
        return {place: _vector(found[place]) for place in sorted(found) if found[place] is not None}

    def _answers(
        self, scans: datasets.Dataset, places: Sequence[int], label: str, say: Callable[[str], None]
    ) -> list[str | None]:
        """Return the features of the scans at these places as texts, None where a scan cannot be read."""
        names = [_name_of(scans[place]) for place in places]
        by_name = dict(zip(names, places, strict=True))
        rank, file = self.processes.rank, self.file
        if rank:
            file = file.with_name(f"{file.stem}.process-{rank}{file.suffix}")
        file.parent.mkdir(parents=True, exist_ok=True)
        image_processor = self.processor.image_processor
        reader = VolumeMemory(image_processor) if fits_in_memory(len(scans), image_processor) else image_processor
        tower = _Tower(self.model, reader, scans, self.batch_size, say)
        settings = f"{settings_hash(image_processor)}|{self.model.dtype}"
        with progress_bar(self.processes.is_main) as progress:
            return answer_once(
                file,
                f"tower features v{_VERSION}|{self.model_hash[:16]}|{settings}",
                names,
                lambda part: tower.encode([by_name[name] for name in part]),
                _CHUNK,
                lambda chunks: progress.track(chunks, description=label),
            )


@dataclass(frozen=True)
class _Tower:
    """The vision tower with all that it reads scans by."""

    model: Any
    reader: ScanReader
    scans: datasets.Dataset
    batch_size: int
    say: Callable[[str], None]

    def encode(self, places: Sequence[int]) -> list[str | None]:
        """Return the features of the scans at these places as texts."""
        batches = [places[start : start + self.batch_size] for start in range(0, len(places), self.batch_size)]
        found: dict[int, str] = {}
        with closing(prepare_ahead(self.read, batches)) as prepared:
            for batch, ready in prepared:
                found |= self.encode_batch(batch, ready.result)
        return [found.get(place) for place in places]

    def read(self, places: Sequence[int]) -> Any:
        """Return the preprocessed volumes `(B, 1, D, H, W)` of the scans at these places."""
        return self.reader(images=[self.scans[place]["image"] for place in places])["pixel_values"]

    def encode_batch(self, places: Sequence[int], volumes: Callable[[], Any]) -> dict[int, str]:
        """Encode a batch; if that fails, try each scan alone, so that a bad one does not stop others."""
        try:
            return dict(zip(places, map(_text, pooled_features(self.model, volumes())), strict=True))
        except BaseException as error:
            reason = reason_of(error)
        if len(places) == 1:
            self.say(f"{self.scans[places[0]]['scan_id']}: left out of the floors that need scans: {reason}")
            return {}
        alone = (self.encode_batch([place], partial(self.read, [place])) for place in places)
        return {place: text for one in alone for place, text in one.items()}


def pooled_features(model: Any, pixel_values: Any) -> np.ndarray:
    """Return the mean `(B, C)` float32 of the vision tower's tokens of volumes `(B, 1, D, H, W)`."""
    import torch

    with torch.inference_mode():
        tokens = model.model.vision_tower(pixel_values.to(device_of(model), model.dtype)).last_hidden_state
        return tokens.float().mean(dim=1).cpu().numpy()


def _name_of(row: dict[str, Any]) -> str:
    """Return what identifies a scan: its file's path, size and time; of one that lies in the table, id and report."""
    path = path_of(row["image"])
    return scan_key(path) if path else hashlib.sha256(f"{row['scan_id']}\0{row['report']}".encode()).hexdigest()


def _text(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype(_TYPE).tobytes()).decode()


def _vector(text: str | None) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text or ""), dtype=_TYPE)
