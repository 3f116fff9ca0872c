"""Hold the results of an evaluation, and write and read their file by one pair of functions."""

from dataclasses import dataclass, field
from pathlib import Path

from argus_processing.saved_models.provenance import Provenance
from argus_processing.storage.foreign_files import read_json_object
from argus_processing.storage.typed_json import from_json, to_json
from argus_processing.storage.whole_files import write_json

from ..metrics.significance import PairedTest
from .first_results_format import from_first_format
from .scored_scans import ScoredScans

RESULTS_FILE = "results.json"
FORMAT = 2
MAX_BYTES = 256 << 20  # an early format held every report's scores


@dataclass(frozen=True)
class PartValue:
    """A metric's value on a part of what it scores, such as one label; signature and scale are the metric's."""

    value: float
    low: float | None = None
    high: float | None = None
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricValue:
    """One metric's value on a set of reports.

    Attributes:
        value: None if the metric is missing, or not defined on these reports.
        signature: implementation, version, tokenizer, level and settings.
        low, high: the value's bootstrap interval.
        missing: why the metric could not be computed on the machine, and what to install.
        scale: see `Metric`.
        counts: the number of events that a reader of the value must know about, by name.
        parts: the same metric on parts of what it scores, by name.
    """

    value: float | None
    signature: str
    low: float | None = None
    high: float | None = None
    missing: str | None = None
    scale: int = 100
    counts: dict[str, int] = field(default_factory=dict)
    parts: dict[str, PartValue] = field(default_factory=dict)


@dataclass(frozen=True)
class ControlResults:
    """The values of one floor's reports, by metric.

    Attributes:
        metrics: its own values.
        tests: the model's value minus the floor's, with a paired test, where both are defined.
    """

    metrics: dict[str, MetricValue]
    tests: dict[str, PairedTest] = field(default_factory=dict)


@dataclass(frozen=True)
class SectionResults:
    """The values of one section of the reports, such as the impression, by metric; floors as in the whole.

    Attributes:
        without: by system, the model or a floor, the number of its reports that have no such section.
    """

    metrics: dict[str, MetricValue]
    controls: dict[str, ControlResults] = field(default_factory=dict)
    without: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ScoredReports:
    """Everything that the stored reports decide.

    Attributes:
        n_test: number of reports.
        metrics: the values of the model's own reports, by metric.
        controls: the same by floor, see `FLOORS`.
        counts: numbers of the model's reports that are `empty`, `duplicate`, `truncated` or `unparsed`.
        scans: ids of the scans, with hashes of ids and references; None in results of earlier versions.
        sections: values of findings and impression alone, if the references tell them apart.
    """

    n_test: int
    metrics: dict[str, MetricValue]
    controls: dict[str, ControlResults] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    scans: ScoredScans | None = None
    sections: dict[str, SectionResults] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedWith:
    """The settings with which the model was loaded; see `Loading`, which can only be made where they can be used.

    Attributes:
        engine: name and version of what wrote the reports, if not transformers.
        volume_cache: whether preprocessed volumes were read in place of scans.
    """

    dtype: str | None = None
    bits: int | None = None
    static_cache: bool = False
    trust: bool = False
    device_map: str | None = None
    engine: str | None = None
    volume_cache: bool = False


@dataclass(frozen=True)
class BootstrapSettings:
    """The settings of all intervals."""

    resamples: int
    level: float
    seed: int


@dataclass(frozen=True)
class EvaluationSettings:
    """The settings that the numbers depend on.

    Attributes:
        transformers: its version.
        instruction: None in results of the time when each scan had its own.
    """

    batch_size: int
    max_new_tokens: int
    control_seed: int
    transformers: str
    bootstrap: BootstrapSettings
    instruction: str | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationResults(ScoredReports):
    """The results of a model on a split.

    Attributes:
        model_hash: hash of the model's folder.
        subset, split: names of the data.
        loading: settings for loading the model, if they were not the defaults.
        unreadable: scans that could not be read and are in no score.
        reports_sha256: hash of the stored reports.
        settings: None in results that do not tell them.
        seconds, peak_memory_mb: of the whole run, where they were measured.
        provenance: what the model was made from, without what is of one run; None if its folder does not tell.
        floor_signatures: what decided each floor's reports.
    """

    model_hash: str
    subset: str
    split: str
    loading: LoadedWith | None = None
    unreadable: tuple[str, ...] = ()
    reports_sha256: str = ""
    settings: EvaluationSettings | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    provenance: Provenance | None = None
    floor_signatures: dict[str, str] = field(default_factory=dict)


def write_results(folder: Path, results: EvaluationResults) -> None:
    """Write `results.json` into a folder, whole or not at all."""
    write_json(Path(folder) / RESULTS_FILE, {"format": FORMAT, **to_json(results)})


def read_results(folder: Path) -> EvaluationResults:
    """Read `results.json` of a folder, also in the format of earlier versions.

    Raises:
        FileNotFoundError: if the evaluation is not finished.
        ValueError: if the file is damaged, or was not written by `argus evaluate`.
    """
    path = Path(folder) / RESULTS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; run or finish argus evaluate in this folder")
    content = read_json_object(path, MAX_BYTES, max_values=None)
    form = content.pop("format", 1)
    try:
        if form not in (1, FORMAT):
            raise ValueError(f"is of format {form!r}, which this version does not know")
        return from_json(EvaluationResults, from_first_format(content) if form == 1 else content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; copy it again, or run argus evaluate in this folder again") from None
