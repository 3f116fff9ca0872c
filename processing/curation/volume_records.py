"""Store on disk a record of each volume that `argus prepare` has read, so that no volume is read twice."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..ct_volume import CTVolume
from ..failures import is_memory, reason_of
from ..read_ct import read_ct
from ..storage.whole_files import write_whole
from ..storage.worker_pool import DIED

Number = TypeVar("Number", int, float)
SLAB_SLICES = 16  # slices hashed at a time, so that a strided volume is never copied whole


@dataclass(frozen=True)
class VolumeTask:
    """One volume to read.

    Attributes:
        source: name of its source.
        scan_id: id of its scan within the source.
        path: the file.
        record: path of its record.
    """

    source: str
    scan_id: str
    path: str
    record: str


@dataclass(frozen=True)
class VolumeRecord:
    """Record of one volume's file.

    Attributes:
        size, mtime_ns: size and time of the file when it was read; if they change, it is read again.
        error: reason why it cannot be used, in one line; None for a usable volume.
        shape, spacing_mm: (D, H, W) of the canonical volume.
        content_hash: SHA-256 of HU, shape and spacing: equal if the same scan is stored in two ways.
        not_saved: reason why the record could not be stored; the volume is then read again in the next run.
    """

    size: int
    mtime_ns: int
    error: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    content_hash: str | None = None
    not_saved: str | None = None


def record_path(folder: Path, source: str, volume: str) -> Path:
    """Return the path of a volume's record below `folder`; 256 subfolders per source, so that none grows too large."""
    key = hashlib.sha256(f"{source}:{volume}".encode("utf-8", "surrogateescape")).hexdigest()
    return folder / source / key[:2] / f"{key[2:34]}.json"


def load_record(task: VolumeTask) -> VolumeRecord | None:
    """Return the record of an earlier run, if it is complete and its file has not changed since."""
    try:
        record = record_of(json.loads(Path(task.record).read_text(encoding="utf-8")))
        now = os.stat(task.path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if (record.size, record.mtime_ns) == (now.st_size, now.st_mtime_ns) else None


def record_of(stored: dict) -> VolumeRecord:
    """Return the record from its stored JSON."""
    record = VolumeRecord(**{entry.name: stored[entry.name] for entry in fields(VolumeRecord)})
    shape, spacing_mm = stored["shape"], stored["spacing_mm"]
    return replace(record, shape=shape and _triple(shape), spacing_mm=spacing_mm and _triple(spacing_mm))


def record_of_death(task: VolumeTask) -> VolumeRecord:
    """Return the record of a volume whose reading ended its process; it is read again in the next run."""
    return VolumeRecord(0, 0, error=DIED)


def _triple(values: Iterable[Number]) -> tuple[Number, Number, Number]:
    depth, height, width = values
    return depth, height, width


def examine_volume(task: VolumeTask) -> tuple[VolumeTask, VolumeRecord]:
    """Read one volume, store its record and return it; no content of a file raises an error."""
    record, may_pass = _read_record(task.path)
    if may_pass:
        return task, record
    try:
        _save_record(Path(task.record), record)
    except OSError as error:
        record = replace(record, not_saved=_disk_reason(error))
    return task, record


def _read_record(path: str) -> tuple[VolumeRecord, bool]:
    """Read a volume; also return whether a failure may be temporary, such as a missing permission or low memory."""
    size, mtime_ns = 0, 0
    try:
        now = os.stat(path)
        size, mtime_ns = now.st_size, now.st_mtime_ns
        if size == 0:
            return VolumeRecord(size, mtime_ns, error="the file is empty"), False
        volume = read_ct(path)
        record = VolumeRecord(
            size,
            mtime_ns,
            shape=_triple(int(side) for side in volume.hu.shape),
            spacing_mm=_triple(round(side, 4) for side in volume.spacing_mm),
            content_hash=hash_volume(volume),
        )
    except BaseException as error:
        # Without the folder: a record does not depend on the place of the download.
        reason = reason_of(error).removeprefix(f"{path}: ")
        return VolumeRecord(size, mtime_ns, error=reason), isinstance(error, OSError) or is_memory(error)
    return record, False


def _disk_reason(error: OSError) -> str:
    return "the disk is full" if error.errno == errno.ENOSPC else f"cannot be written ({error.strerror})"


def _save_record(path: Path, record: VolumeRecord) -> None:
    write_whole(path, (json.dumps(asdict(record)) + "\n").encode())


def hash_volume(volume: CTVolume) -> str:
    """Compute SHA-256 of a volume's HU (rounded to int16 or float32), shape and spacing in 0.1 micrometres."""
    digest = hashlib.sha256(json.dumps([volume.hu.shape, [round(side, 4) for side in volume.spacing_mm]]).encode())
    for start in range(0, len(volume.hu), SLAB_SLICES):
        slab = volume.hu[start : start + SLAB_SLICES]
        digest.update(np.ascontiguousarray(np.rint(slab), np.float32).data)
    return digest.hexdigest()
