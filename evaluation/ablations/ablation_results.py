"""Write and read the results of an ablation and of its runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from argus_processing.storage.typed_json import from_json, to_json
from argus_processing.storage.whole_files import read_json, write_json

from .ablation_statistics import MeasuredOrder, Summary

ABLATION_FILE = "results.json"


@dataclass(frozen=True, kw_only=True)
class AblationRun:
    """The scores of one cell with one seed.

    Attributes:
        seed: None in the file of a run, whose place tells it.
        metrics: by name; None for a metric that is missing or not defined.
        model_hash, num_scans: of the evaluation, where there was one.
        seconds: of every training and of the scoring, by name; None where they were not recorded.
        model: name of the step that made the model.
        missing: why a metric could not be computed on the machine, and what to install, by metric.
        test_set: first digits of the hash of ids and references that were scored; empty in runs of earlier versions.
    """

    seed: int | None = None
    metrics: dict[str, float | None]
    model_hash: str = ""
    num_scans: int | None = None
    seconds: dict[str, float | None]
    model: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    test_set: str = ""


@dataclass(frozen=True)
class CellResults:
    """One cell: the names of its values by axis, its metrics over seeds, its runs, its recipe."""

    values: dict[str, str]
    summary: dict[str, Summary]
    runs: tuple[AblationRun, ...]
    settings: dict[str, object]


@dataclass(frozen=True)
class PaperOrder:
    """The order of an axis's values in the paper; without an axis, the paper has none."""

    axis: str = ""
    order: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class PanelResults:
    """One plot: the names of the values of its axes, its cells, the measured order of each axis.

    `ours` says what the paper does not have.
    """

    title: str
    axes: dict[str, tuple[str, ...]]
    cells: tuple[CellResults, ...]
    measured: dict[str, MeasuredOrder]
    paper: PaperOrder
    ours: str = ""


@dataclass(frozen=True)
class AblationResults:
    """A whole grid; see `Grid` for its names. `seconds` counts a training that several cells share once."""

    name: str
    title: str
    seeds: tuple[int, ...]
    score: str
    metrics: tuple[str, ...]
    error_bars: str
    panels: tuple[PanelResults, ...]
    num_runs: int
    seconds: float
    versions: dict[str, str]
    seconds_of_this_start: float | None = None


Kept = TypeVar("Kept", AblationRun, AblationResults)


def write_kept(path: Path, kept: AblationRun | AblationResults) -> None:
    """Write a run or a whole ablation to a file."""
    write_json(path, to_json(kept))


def read_kept(path: Path, kind: type[Kept]) -> Kept:
    """Read a run or a whole ablation.

    Raises:
        ValueError: if the file is damaged.
    """
    content = read_json(path)
    try:
        return from_json(kind, content)
    except ValueError as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it and start again") from None
