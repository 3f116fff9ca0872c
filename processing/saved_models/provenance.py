"""Keep what a model was made from beside it, as `argus.json`: its parts, its data, its trainings and what they ran on.

The file holds no path and nothing of a scan. What another run of the same recipe may have otherwise, such as its time,
stands apart under `runs`: without it, the file of a continued run is that of an uninterrupted one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..storage.foreign_files import ForeignFileError, is_finite, read_json_object, values_of
from ..storage.typed_json import from_json, to_json
from ..storage.whole_files import write_json

PROVENANCE_FILE = "argus.json"
FORMAT = 1
MAX_BYTES = 1 << 20
RANDOM, PRETRAINED = "random weights", "pretrained"
# Kinds of training scans; unknown where a prepared folder does not tell.
PHANTOMS, PATIENTS, UNKNOWN = "phantoms", "patients", "unknown"
NOT_RECORDED = "not recorded"  # origin of a tower that tells nothing of itself
PHANTOMS_ONLY = "trained on phantoms only: it has never seen a patient's scan, and its report of one means nothing"
PHANTOM_REPORTS = "taught to report on phantoms only: what it writes of a patient's scan means nothing"
NEVER_TRAINED = "never trained: its connector has random weights, and its reports mean nothing"
# Such texts stand in tables and on terminals as they are; no absolute path is among them.
TEXT = re.compile(r"(?!/)[\w .,:/()+@-]{0,200}", re.ASCII)


@dataclass(frozen=True)
class TrainedSubset:
    """The scans of one subset that a training used; `kind` is one of phantoms, patients and unknown."""

    name: str
    num_scans: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class TrainingStage:
    """One training of a model or of one of its parts; the same recipe on the same data gives the same one.

    Attributes:
        name: such as "stage 1" or "pretraining: mae".
        parts: names of the parts that it trained.
        subsets: the scans that it trained on.
        data_sha256: hash of the prepared folder's manifest, or of the phantoms' settings.
        recipe_sha256: hash of the settings that decide the weights, without folders and machine.
        num_epochs, num_steps: how far it went.
        batch_size: scans per step, over all processes.
        learning_rate: the highest of the trainer's own.
        has_adapters: whether the language model was trained by low-rank adapters, which are merged into it.
    """

    name: str
    parts: tuple[str, ...]
    subsets: tuple[TrainedSubset, ...]
    data_sha256: str
    recipe_sha256: str
    num_epochs: float
    num_steps: int
    batch_size: int
    learning_rate: float
    has_adapters: bool = False


@dataclass(frozen=True)
class TrainingRun:
    """The machine, the libraries and the time of a stage; the time is None if a part of it was not recorded."""

    hardware: str
    versions: dict[str, str]
    seconds: float | None = None


@dataclass(frozen=True)
class VisionPart:
    """The vision tower of a model.

    Attributes:
        tower: system that it comes from: argus, m3d, radfm or ct2rep.
        weights: random weights or pretrained, when it was put into the model.
        hidden_size, num_parameters: its size.
        source: origin of pretrained weights that no stage tells of; empty if the stages do.
    """

    tower: str
    weights: str
    hidden_size: int
    num_parameters: int
    source: str = ""


@dataclass(frozen=True)
class LanguagePart:
    """The language model of a model.

    Attributes:
        model_type: its architecture.
        num_parameters: its size.
        name: its id on the Hub, if it is known.
        licence: as the Hub names licences, such as llama3.1; empty if it is not known.
        licence_from: where that was read.
        is_trained_here: whether Argus trained it from random weights, so that it has no base model.
    """

    model_type: str
    num_parameters: int
    name: str = ""
    licence: str = ""
    licence_from: str = ""
    is_trained_here: bool = False


@dataclass(frozen=True)
class MeanScanRecord:
    """The mean of training scans beside a model: the number of scans, and hashes of their data and of the file."""

    num_scans: int
    data_sha256: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that is recorded of how a model, or a part for one, was made.

    Attributes:
        vision, language: its parts; None in the folder of the other part alone.
        preset: name of the preset that it was assembled by.
        has_presets_size: whether its parts are as large as the preset's.
        preprocessing: own (of the tower's system), paper (the Argus paper's), or body (the same after a crop to it).
        stages: its trainings and those of its parts, in order.
        runs: machine, libraries and time of each stage.
        mean_scan: the mean of the last stage's scans, if it is in the folder.
    """

    vision: VisionPart | None = None
    language: LanguagePart | None = None
    preset: str = ""
    has_presets_size: bool = False
    preprocessing: str = ""
    stages: tuple[TrainingStage, ...] = ()
    runs: tuple[TrainingRun, ...] = ()
    mean_scan: MeanScanRecord | None = None

    @property
    def knows_only_phantoms(self) -> bool:
        """Return whether there were training scans and each was a phantom; a tower of unknown origin may know more."""
        kinds = {subset.kind for stage in self.stages for subset in stage.subsets}
        return kinds == {PHANTOMS} and not (self.vision and self.vision.source)

    @property
    def limits(self) -> str:
        """Return why reports of patients' scans mean nothing, as the end of "the model was"; empty if it is not known.

        A vision tower may come from elsewhere; to report is learned by the trainings of the connector.
        """
        if self.knows_only_phantoms:
            return PHANTOMS_ONLY
        if self.vision and self.language and not self.trains("connector"):
            return NEVER_TRAINED
        kinds = {subset.kind for stage in self.stages if "connector" in stage.parts for subset in stage.subsets}
        return PHANTOM_REPORTS if kinds == {PHANTOMS} else ""

    @property
    def subsets(self) -> tuple[TrainedSubset, ...]:
        """Return every subset that a stage trained on, with the most scans of any stage."""
        most: dict[tuple[str, str], TrainedSubset] = {}
        for subset in (subset for stage in self.stages for subset in stage.subsets):
            known = most.setdefault((subset.name, subset.kind), subset)
            if subset.num_scans > known.num_scans:
                most[subset.name, subset.kind] = subset
        return tuple(most.values())

    def trains(self, part: str) -> bool:
        """Return whether a stage trained a part."""
        return any(part in stage.parts for stage in self.stages)

    def with_stage(self, stage: TrainingStage, run: TrainingRun) -> "Provenance":
        """Return it with one more training at its end; the mean scan is not that of the new one's scans."""
        return replace(self, stages=(*self.stages, stage), runs=(*self.runs, run), mean_scan=None)

    def without_runs(self) -> "Provenance":
        """Return what another run of the same recipes shares with this one."""
        return replace(self, runs=())


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write `argus.json` into a model's folder, whole or not at all."""
    write_json(folder / PROVENANCE_FILE, {"format": FORMAT, **to_json(provenance)})


def read_provenance(folder: Path) -> Provenance | None:
    """Read `argus.json` of a model's folder; None if it has none, as folders of earlier versions.

    Raises:
        ForeignFileError: if the file is damaged, of another format, or holds a text that does not belong there.
    """
    path = Path(folder) / PROVENANCE_FILE
    if not path.exists():
        return None
    content = read_json_object(path, MAX_BYTES)
    form = content.pop("format", None)
    if form != FORMAT:
        raise ForeignFileError(f"{path}: is in a format that this version does not know; update Argus")
    for name, value in values_of(path, content):
        if not TEXT.fullmatch(name) or isinstance(value, str) and not TEXT.fullmatch(value) or not is_finite(value):
            raise ForeignFileError(f"{path}: holds a text, path or number that does not belong there; copy it again")
    try:
        provenance = from_json(Provenance, content)
    except ValueError as error:
        raise ForeignFileError(f"{path}: {error}; copy it again") from None
    if len(provenance.runs) not in (0, len(provenance.stages)):
        raise ForeignFileError(f"{path}: has not as many runs as stages; copy it again")
    return provenance


def recordable(text: str) -> str:
    """Return a library's or a device's text with only the letters that `argus.json` takes."""
    return re.sub(r"[^\w .,:/()+@-]", "-", text, flags=re.ASCII).lstrip("/")[:200]


def describe_provenance(provenance: Provenance | None) -> dict[str, str]:
    """Describe in short texts what a model was made from, for answers, results and structured reports.

    There is no entry for what is not recorded; without a provenance there is none at all.
    """
    return {} if provenance is None else dict(_described(provenance))


def _described(provenance: Provenance) -> Iterator[tuple[str, str]]:
    if provenance.stages:
        yield "trained_on", ", ".join(map(describe_subset, provenance.subsets))
        last = provenance.stages[-1]
        yield "stages", ", ".join(stage.name for stage in provenance.stages)
        yield "data_sha256", last.data_sha256
        yield "recipe_sha256", last.recipe_sha256
    if vision := provenance.vision:
        yield "vision_tower", f"{vision.tower}, {vision.weights}{f', {vision.source}' if vision.source else ''}"
    if language := provenance.language:
        yield "language_model", language.name or f"{language.model_type}, {language.num_parameters:,} parameters"
    if provenance.limits:
        yield "limits", provenance.limits


def describe_subset(subset: TrainedSubset) -> str:
    """Return such as "3,000 phantoms" or "24,128 scans of patients (ct-rate)"."""
    kinds = {PHANTOMS: "phantoms", PATIENTS: "scans of patients"}
    counted = f"{subset.num_scans:,} {kinds.get(subset.kind, 'scans')}"
    return counted if subset.name == "phantom" else f"{counted} ({subset.name})"
