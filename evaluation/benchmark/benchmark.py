"""Evaluate a model on a split: generate reports, write the floors', store every report, score, save."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import transformers

from argus_inference.generation import (
    MAX_NEW_TOKENS,
    Prediction,
    ReportBatches,
    TransformersBatches,
    generate_reports,
    row_of_scan,
)
from argus_inference.model_folder import Loading, hash_model, load_model
from argus_inference.processes import ALONE, Processes
from argus_processing.instructions import INSTRUCTION
from argus_processing.phantom.findings import Finding
from argus_processing.saved_models.provenance import Provenance, read_provenance
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.file_hash import hash_file

from ..floors.flip_matches import flip_matches
from ..floors.floor_material import FLIP, SCANS, FloorMaterial, FloorOptions, FloorReports, ScanFeatures
from ..floors.tower_features import FEATURES_FILE, TowerFeatures
from ..floors.write_floors import floors_to_write, needs, scan_features, write_floors
from ..metrics.metric import Metric
from ..metrics.nlp_metrics import METRICS
from ..metrics.significance import LEVEL, RESAMPLES, SEED
from .controls import blank_image
from .evaluation_results import (
    BootstrapSettings,
    EvaluationResults,
    EvaluationSettings,
    LoadedWith,
    read_results,
    write_results,
)
from .scored_scans import write_manifest
from .scoring import score_stored
from .stored_reports import MODEL, REPORTS_FILE, StoredReport, write_stored_reports

CONTROL_SEED = 0


@dataclass(frozen=True)
class OtherEngine:
    """An engine beside transformers.

    Attributes:
        name: its name and version, kept with predictions and results.
        start: starts it on a model folder.
    """

    name: str
    start: Callable[[Path], ReportBatches]


def evaluate_model(
    model_dir: Path,
    dataset: datasets.Dataset,
    train_reports: Sequence[str],
    out: Path,
    *,
    subset: str = "phantom",
    split: str = "test",
    instruction: str = INSTRUCTION,
    batch_size: int = 4,
    max_new_tokens: int = MAX_NEW_TOKENS,
    metrics: Mapping[str, Metric] = METRICS,
    floors: FloorOptions | None = None,
    loading: Loading | None = None,
    engine: OtherEngine | None = None,
    volume_cache: Path | None = None,
    say: Callable[[str], None] = warnings.warn,
    id_of: Callable[[str], str] = str,
    processes: Processes = ALONE,
) -> EvaluationResults:
    """Evaluate a saved model on a split and write predictions and results into the folder `out`.

    Writes `predictions.jsonl`, `predictions_blank.jsonl` (one line: all blank images are the same), `reports.jsonl`
    (everything that the numbers need, see `recompute`), `test_set.json` and `results.json`, and `features.sqlite` if a
    floor needs it. An interrupted evaluation goes on where it stopped; a finished one can be started with more floors.

    Args:
        model_dir: folder of the saved model.
        dataset: examples with `scan_id`, `image`, `report` and, if the true findings are known, `findings`.
        train_reports: reports of the training split, for the floors.
        out: folder, made if it is not there.
        subset, split: their names, kept in the results.
        instruction: the one that every report is written for; a model is trained with many (`INSTRUCTIONS`).
        batch_size: number of scans whose reports are generated together.
        max_new_tokens: a longer report is cut here and counted as truncated.
        metrics: metrics to compute, by name.
        floors: which floors to compute. Default: those that need no training scans.
        loading: settings for loading the model; if they are not the defaults, they are kept in the results.
        engine: what writes the reports in place of transformers, with the same `loading`.
        volume_cache: folder of preprocessed volumes that are read in place of scans, and written where they lack. They
            are rounded to whole HU, so predictions of a run with and of one without are kept apart.
        say: called with one line for each scan that cannot be read. Such a scan is left out of every score and listed
            in the results as `unreadable`; the next start tries it again.
        id_of: gives the name under which a scan is written, from its `scan_id`.
        processes: those that share the batches of scans; the first one computes the metrics and writes the results.

    Returns what `results.json` holds.

    Raises:
        ValueError: if there are fewer than two scans, a column is missing, `out` holds another model's predictions, or
            another process is writing there.
        ConnectionError: if another of the processes has ended.
    """
    _check_dataset(dataset, instruction, batch_size, max_new_tokens)
    loading, floors = loading or Loading(), floors or FloorOptions()
    names = floors_to_write(floors)
    if loading.device_map is not None and processes.on_this_machine > 1:
        raise ValueError("--device-map spreads one model over all GPUs of a machine: start one process on each machine")
    with _shared_folder(out, processes) as folder:
        model_hash = processes.gather(hash_model(model_dir) if processes.is_main else "")[0]
        told: dict[str, Any] = {"model_hash": model_hash, "subset": subset, "split": split}
        if loading != Loading():
            told["loading"] = loading.to_settings()
        if engine is not None:
            told["engine"] = engine.name
        if volume_cache is not None:
            told["volume_cache"] = True
        batches = engine.start(model_dir) if engine else TransformersBatches(*load_model(model_dir, loading))
        unreadable: list[str] = []

        def leave_out(scan_id: str, reason: str) -> None:
            unreadable.append(id_of(scan_id))
            say(f"{scan_id}: {reason}")

        dataset = dataset.cast_column("image", datasets.Nifti(decode=False))
        generation = _Generation(batches, folder, told, instruction, batch_size, max_new_tokens, id_of, processes)
        try:
            predictions, blank, kept = _generate_all(generation, dataset, leave_out, volume_cache)
        finally:
            batches.close()  # another engine may hold a GPU's whole memory
        left_out = {name for part in processes.gather(unreadable) for name in part}
        features = _features_for(names, generation, floors, kept, say, model_dir, loading)
        if processes.is_main:
            flip = flip_matches(floors.flip, kept, train_reports) if floors.flip and needs(names, FLIP) else None
            material = FloorMaterial(predictions, blank, train_reports, features, flip, CONTROL_SEED)
            written = write_floors(names, material)
            results = EvaluationResults(
                **vars(score_stored(store_reports(folder, predictions, written, kept), metrics)),
                model_hash=model_hash,
                subset=subset,
                split=split,
                loading=_loaded_with(loading, engine, volume_cache),
                unreadable=tuple(name for name in map(id_of, dataset["scan_id"]) if name in left_out),
                reports_sha256=hash_file(folder / REPORTS_FILE),
                settings=generation.to_settings(),
                provenance=provenance_without_runs(model_dir),
                floor_signatures={name: floor.signature for name, floor in written.items()},
            )
            save_evaluation(folder, results)
        processes.wait()
    return results if processes.is_main else read_results(out)


def _loaded_with(loading: Loading, engine: OtherEngine | None, volume_cache: Path | None) -> LoadedWith | None:
    """Return how the model and the volumes were loaded, None if in the usual way."""
    name = engine.name if engine else None
    loaded = LoadedWith(**asdict(loading), engine=name, volume_cache=volume_cache is not None)
    return None if loaded == LoadedWith() else loaded


def save_evaluation(folder: Path, results: EvaluationResults) -> None:
    """Write `test_set.json` and then `results.json` into a folder."""
    if results.scans is not None:
        write_manifest(folder, results.subset, results.split, results.scans)
    write_results(folder, results)


def provenance_without_runs(model_dir: Path) -> Provenance | None:
    """Return what a model was made from, without what is of one run; None if its folder does not tell."""
    provenance = read_provenance(model_dir)
    return provenance and provenance.without_runs()


@contextmanager
def _shared_folder(out: Path, processes: Processes) -> Iterator[Path]:
    """Claim a folder for all processes together: the first one does, and the others wait for it."""
    with claimed_folder(out) if processes.is_main else nullcontext(Path(out)) as folder:
        processes.wait()
        yield folder


@dataclass(frozen=True)
class _Generation:
    """Everything that all reports of an evaluation are generated with."""

    batches: ReportBatches
    folder: Path
    settings: dict[str, Any]
    instruction: str
    batch_size: int
    max_new_tokens: int
    id_of: Callable[[str], str]
    processes: Processes

    def to_settings(self) -> EvaluationSettings:
        """Return the settings that the results tell."""
        bootstrap = BootstrapSettings(RESAMPLES, LEVEL, SEED)
        version = transformers.__version__
        return EvaluationSettings(
            self.batch_size, self.max_new_tokens, CONTROL_SEED, version, bootstrap, self.instruction
        )

    def run(self, dataset: datasets.Dataset, file_name: str, image: str, **options: Any) -> list[Prediction]:
        """Generate a report for each row; `image` is told in the settings that the file keeps."""
        return generate_reports(
            self.batches,
            dataset,
            self.folder / file_name,
            settings=self.settings | {"image": image},
            instruction=self.instruction,
            batch_size=self.batch_size,
            max_new_tokens=self.max_new_tokens,
            id_of=self.id_of,
            processes=self.processes,
            **options,
        )


def _generate_all(
    generation: _Generation,
    dataset: datasets.Dataset,
    leave_out: Callable[[str, str], None],
    volume_cache: Path | None,
) -> tuple[list[Prediction], list[Prediction], datasets.Dataset]:
    """Generate every scan's report and its blank control; also return the rows whose scan could be read."""
    cached = {"image_of": row_of_scan, "volume_cache": volume_cache} if volume_cache else {}
    predictions = generation.run(dataset, "predictions.jsonl", "scan", on_failure=leave_out, **cached)
    if len(predictions) < 2:
        read = f"of {len(dataset)} scans {len(predictions)} could be read"
        raise ValueError(f"{generation.folder}: {read}; an evaluation needs 2")
    # Under the first row, also if it cannot be read: the file then stays the same when such a scan is repaired.
    options = {"image_of": blank_image, "label": "blank control"}
    (blank,) = generation.run(dataset.select([0]), "predictions_blank.jsonl", "blank", **options)
    written = {line.scan_id for line in predictions}
    kept = [index for index, scan_id in enumerate(dataset["scan_id"]) if generation.id_of(scan_id) in written]
    return predictions, [blank] * len(kept), dataset.select(kept)


def _features_for(
    names: Sequence[str],
    generation: _Generation,
    floors: FloorOptions,
    kept: datasets.Dataset,
    say: Callable[[str], None],
    model_dir: Path,
    loading: Loading,
) -> ScanFeatures | None:
    """Return the features of training and test scans, None if no floor needs them."""
    if not needs(names, SCANS):
        return None
    batches = generation.batches
    own = isinstance(batches, TransformersBatches)
    model, processor = (batches.model, batches.processor) if own else load_model(model_dir, loading)
    tower = TowerFeatures(
        model,
        processor,
        generation.settings["model_hash"],
        floors.features or generation.folder / FEATURES_FILE,
        generation.batch_size,
        generation.processes,
    )
    return scan_features(tower, floors, kept, CONTROL_SEED, say)


def store_reports(
    out: Path, predictions: Sequence[Prediction], floors: Mapping[str, FloorReports], dataset: datasets.Dataset
) -> list[StoredReport]:
    """Write `reports.jsonl`: for each reference, the reports of the model and of the floors, and the known findings."""
    truths = dataset["findings"] if "findings" in dataset.column_names else [None] * len(predictions)
    reports = [
        StoredReport(
            own.scan_id,
            own.reference,
            {MODEL: own.prediction} | {name: floor.reports[place] for name, floor in floors.items()},
            own.truncated,
            None if truth is None else [Finding(**finding) for finding in truth],
        )
        for place, (own, truth) in enumerate(zip(predictions, truths, strict=True))
    ]
    write_stored_reports(out, reports)
    return reports


def _check_dataset(dataset: datasets.Dataset, instruction: str, batch_size: int, max_new_tokens: int) -> None:
    """Refuse inputs that would make the evaluation fail, before anything is generated."""
    if not instruction.strip():
        raise ValueError("the instruction is empty")
    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError(f"batch size and new tokens must be at least 1, got {batch_size} and {max_new_tokens}")
    if len(dataset) < 2:
        raise ValueError(f"an evaluation needs at least 2 scans (its controls shuffle them), got {len(dataset)}")
    missing = {"scan_id", "image", "report"} - set(dataset.column_names)
    if missing:
        raise ValueError(f"the data set has no column {', '.join(sorted(missing))}; it has {dataset.column_names}")
