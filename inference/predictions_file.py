"""Keep generated reports in a file of JSON lines; an interrupted run, of one process or several, continues it."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.json_lines import finished_bytes, json_line, read_finished_lines
from argus_processing.storage.typed_json import from_json
from argus_processing.storage.whole_files import check_can_write, write_json, write_text

OTHER_FOLDER = "give another output folder or move it away"


@dataclass(frozen=True)
class Prediction:
    """One line of a predictions file."""

    scan_id: str
    prediction: str
    reference: str
    num_tokens: int
    truncated: bool


def to_line(prediction: Prediction) -> str:
    """Return a prediction as a line of the file."""
    return json_line(asdict(prediction))


def part_of(path: Path, rank: int) -> Path:
    """Return the file in which one process of several keeps its lines until all have finished."""
    return path.with_name(f"{path.stem}.process-{rank}{path.suffix}")


def continue_predictions(path: Path, settings: dict[str, Any], names: Sequence[str]) -> dict[str, Prediction]:
    """Return the finished lines of an interrupted run by scan id, after checking that they were made under `settings`.

    Raises:
        ValueError: if the file belongs to other settings, or is damaged.
    """
    sidecar = check_can_write(path.with_name(path.name + ".settings.json"))
    if not path.exists() and not _parts_of(path):
        write_json(sidecar, settings)
        return {}
    if not sidecar.exists():
        raise ValueError(f"{path}: has no {sidecar.name} beside it to say which model wrote it; move it away")
    claim_for_settings(sidecar, settings, owned=path, advice=OTHER_FOLDER)
    if path.exists() and (size := finished_bytes(path)) < path.stat().st_size:
        read_predictions(path)
        os.truncate(path, size)
    return put_in_order(path, names)


def put_in_order(path: Path, names: Sequence[str]) -> dict[str, Prediction]:
    """Bring the lines of all processes into one file, in the order of `names`; return them by scan id.

    Lines that are in one file and in order stay untouched.
    """
    parts = _parts_of(path)
    files = [*([path] if path.exists() else []), *parts]
    done = {line.scan_id: line for file in files for line in read_predictions(file)}
    in_order = [done[name] for name in names if name in done]
    if parts or in_order != list(done.values()):
        write_text(path, "".join(map(to_line, in_order)))
    for part in parts:
        part.unlink()
    return done


def read_predictions(path: Path) -> list[Prediction]:
    """Read the whole lines of a predictions file."""
    make = partial(from_json, Prediction)
    return read_finished_lines(path, make, fault="is not a prediction", advice=OTHER_FOLDER)


def _parts_of(path: Path) -> list[Path]:
    return sorted(path.parent.glob(part_of(path, 0).name.replace("-0", "-*")))
