"""Read the runs file, a YAML file that gives the system, size and resolution of each folder of `argus evaluate`.

The tables, the report comparison and the reader study are made from it:

    runs:
      - {system: M3D, size: 8B, resolution: nr, folder: m3d_8b_nr_ct_rate}
      - {system: Argus, size: 8B, resolution: hr, seed: 0, folder: argus_8b_hr_seed0_ct_rate}

`size` is that of the language model: a name such as 3B, 8B, 70B or tiny. `seed` is that of the training; runs that
differ only in it are averaged in the tables. Both can be left out. Folders are relative to the file. Subset and split
are never written here: they are read from each folder.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from argus_inference.generation import Prediction
from argus_processing.storage.foreign_files import read_json_object, read_yaml
from argus_processing.storage.json_lines import read_json_lines
from argus_processing.storage.typed_json import from_json

RESOLUTIONS = ("nr", "hr")  # normal and high resolution
REQUIRED_KEYS = ("system", "resolution", "folder")
OPTIONAL_KEYS = ("size", "seed")


@dataclass(frozen=True)
class Run:
    """One evaluation: its system, its resolution and its folder; size of the language model and seed, if given."""

    system: str
    resolution: str
    folder: Path
    size: str = ""
    seed: int | None = None

    @property
    def label(self) -> str:
        """Return system and size together, as the rows of Table 2 are named."""
        return label_of(self.system, self.size)

    @property
    def name(self) -> str:
        """Return system, size and resolution together; runs that differ in their seed have the same name."""
        return f"{self.label} {self.resolution}"


def label_of(system: str, size: str) -> str:
    """Return a system's name with its size, such as Argus-8B; without a size, the bare system."""
    return f"{system}-{size}" if size else system


@dataclass(frozen=True)
class RunSettings:
    """The settings of an evaluation's predictions; `dataset` is a hash of scans and references."""

    model_hash: str
    subset: str
    split: str
    dataset: str = ""


def read_runs(path: Path, systems: Collection[str] = ()) -> list[Run]:
    """Read a runs file.

    Args:
        path: the file.
        systems: names of the runs to take. Default: all.

    Raises:
        FileNotFoundError: if the file, or a folder that it names, is not there.
        ValueError: if it does not have the form above, or has no run of a name.
    """
    path = Path(path)
    content = read_yaml(path)
    entries = content.get("runs") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or set(content) != {"runs"}:
        raise ValueError(f"{path}: expected one key, `runs`, with a list of evaluations")
    runs = [_read_run(entry, number, path) for number, entry in enumerate(entries, start=1)]
    if missing := [name for name in systems if name not in {run.name for run in runs}]:
        known = ", ".join(dict.fromkeys(run.name for run in runs))
        raise ValueError(f"{path}: has no run of {', '.join(missing)}; it has {known}")
    return [run for run in runs if not systems or run.name in systems]


def _read_run(entry: Any, number: int, path: Path) -> Run:
    keys = set(entry) if isinstance(entry, dict) else set()
    if not set(REQUIRED_KEYS) <= keys <= {*REQUIRED_KEYS, *OPTIONAL_KEYS}:
        raise ValueError(
            f"{path}: run {number} must have the keys {', '.join(REQUIRED_KEYS)}, and may have "
            f"{' and '.join(OPTIONAL_KEYS)}, got {entry}"
        )
    texts = {key: entry.get(key, "") for key in (*REQUIRED_KEYS, "size")}
    if wrong := next((key for key, text in texts.items() if not isinstance(text, str)), None):
        raise ValueError(f"{path}: {wrong} of run {number} must be a text, got {texts[wrong]}")
    system, size, resolution = texts["system"].strip(), texts["size"].strip(), texts["resolution"]
    if not system or resolution not in RESOLUTIONS:
        raise ValueError(f"{path}: run {number} needs a system's name and a resolution, {' or '.join(RESOLUTIONS)}")
    seed = entry.get("seed")
    if seed is not None and (type(seed) is not int or seed < 0):
        raise ValueError(f"{path}: seed of run {number} must be a whole number from 0, got {seed}")
    folder = path.parent / Path(texts["folder"]).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, named by run {number} of {path}")
    return Run(system, resolution, folder, size, seed)


def read_settings(folder: Path) -> RunSettings:
    """Read the settings of an evaluation's predictions.

    Raises:
        FileNotFoundError: if the folder holds no predictions.
        ValueError: if they do not tell model, subset and split.
    """
    path = Path(folder) / "predictions.jsonl.settings.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; give a folder written by argus evaluate")
    known = {field.name for field in fields(RunSettings)}
    content = {name: value for name, value in read_json_object(path).items() if name in known}
    try:
        return from_json(RunSettings, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; give a folder written by argus evaluate") from None


def read_predictions(folder: Path) -> dict[str, Prediction]:
    """Read an evaluation's predictions by scan id, in the file's order.

    Raises:
        FileNotFoundError: if the folder holds no predictions.
        ValueError: if a line is not a prediction, or there is none.
    """
    path = Path(folder) / "predictions.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; give a folder written by argus evaluate")
    advice = "finish argus evaluate there"
    lines = read_json_lines(path, partial(from_json, Prediction), fault="is not a prediction", advice=advice)
    if not lines:
        raise ValueError(f"{path}: holds no predictions; {advice}")
    return {prediction.scan_id: prediction for prediction in lines}
