"""Read evidence maps of a report's sentences, and bring them onto the grid of the images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage

from argus_processing.ct_checks import is_usable, read_error, reading_nifti
from argus_processing.storage.foreign_files import read_json_object

from .source_images import SourceImages

JSON_FILE = "evidence.json"
MAX_JSON_BYTES = 1 << 22
MAX_MAPS = 200
LEAST_SHARE = 0.05  # of a map's largest value; less is left out, or every slice would have a faint frame
SAME_PLACE = 1e-2  # voxels
ADVICE = "give the folder that argus report --evidence wrote, or a NIfTI file"


@dataclass(frozen=True)
class EvidenceFile:
    """The file of one map, and the name of what it is evidence for."""

    path: Path
    name: str


def evidence_files(path: Path) -> list[EvidenceFile]:
    """List the maps of a folder that `argus report --evidence` wrote, or the one of a NIfTI file.

    Raises:
        CTReadError, ValueError: if the folder has no `evidence.json`, or it names no maps.
    """
    if not path.is_dir():
        return [EvidenceFile(path, "evidence")]
    content = read_json_object(path / JSON_FILE, MAX_JSON_BYTES)
    found = [*_named(path, content.get("sentences"))]
    if not 1 <= len(found) <= MAX_MAPS:
        raise read_error(path, f"names {len(found)} maps of sentences", ADVICE)
    return found


def _named(folder: Path, sentences: Any) -> Iterator[EvidenceFile]:
    for sentence in sentences if isinstance(sentences, list) else []:
        name = sentence.get("map") if isinstance(sentence, dict) else None
        if name is None:
            continue
        if not isinstance(name, str) or Path(name).name != name:
            raise read_error(folder / JSON_FILE, "names a map outside its folder", ADVICE)
        text = " ".join(str(sentence.get("text") or "").split())
        yield EvidenceFile(folder / name, f"{sentence.get('number')}: {text}" if text else name)


def read_evidence(file: EvidenceFile, source: SourceImages) -> np.ndarray:
    """Read one map on the images' grid.

    Returns:
        `(slice, row, column)` float32 in 0 to 1, 1 at the map's largest value.

    Raises:
        CTReadError: if the file is no map of finite numbers, or is nowhere above nothing on the images.
    """
    with reading_nifti(file.path, ADVICE):
        image = nibabel.Nifti1Image.from_filename(file.path)
        values = np.asarray(image.dataobj, dtype=np.float32)
        affine = np.asarray(image.affine, dtype=np.float64)
    if values.ndim != 3 or not is_usable(affine) or abs(np.linalg.det(affine)) < 1e-6 or not np.isfinite(values).all():
        raise read_error(file.path, "is no evidence map: not three axes of finite numbers in a known place", ADVICE)
    placed = on_the_images(values, affine, source)
    top = float(placed.max())
    if top <= 0:
        raise read_error(file.path, "the evidence lies nowhere on the scan", "give the map of this scan")
    return np.where(placed >= LEAST_SHARE * top, placed / top, 0).astype(np.float32)


def on_the_images(values: np.ndarray, affine: np.ndarray, source: SourceImages) -> np.ndarray:
    """Return values of a map at the images' voxels, `(slice, row, column)`; 0 outside of it."""
    swap = np.eye(4)[[2, 1, 0, 3]]  # from (slice, row, column) to (column, row, slice)
    into = np.linalg.inv(affine) @ source.affine @ swap
    turned = np.round(into[:3, :3])
    if np.abs(into[:3, :3] - turned).max() * max(source.shape) < SAME_PLACE and np.abs(turned).sum() == 3:
        moved = _turned(values, turned)
        corner = into[:3] @ [*((np.array(source.shape) - 1) * (turned.sum(axis=0) < 0)), 1]
        if moved.shape == source.shape and np.abs(corner).max() < SAME_PLACE:
            return moved
    return ndimage.affine_transform(values, into[:3, :3], into[:3, 3], output_shape=source.shape, order=1, cval=0.0)


def _turned(values: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Reorder and flip axes by a matrix of -1, 0 and 1 that leads from the new axes to the old ones."""
    order = np.abs(turn).argmax(axis=0)
    flips = tuple(axis for axis in range(3) if turn[order[axis], axis] < 0)
    return np.flip(values.transpose(order), flips)
