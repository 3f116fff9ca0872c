"""Run `argus evaluate`: a model on a split, stored numbers checked, other scans, maps of evidence."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import say, tell

if TYPE_CHECKING:
    from argus_evaluation.benchmark.benchmark import OtherEngine
    from argus_evaluation.benchmark.evaluation_results import EvaluationResults
    from argus_evaluation.evidence.evidence_cases import EvidenceCase
    from argus_evaluation.metrics.metric import Metric
    from argus_inference.anonymous_paths import PathNames

Metrics = dict[str, "Metric"]
EVIDENCE_FILE = "evidence.json"
EVIDENCE_LIMITS = (
    "Maps of evidence were validated on phantoms only; no number here says that a map of a patient is right."
)


@dataclass(frozen=True)
class ChosenScans:
    """The scans to evaluate.

    Attributes:
        subset, split: names of the data.
        data_dir: folder of the prepared data.
        phantoms: settings of the phantoms.
        test_set: file with the ids to take. Default: all.
        limit: number of scans to take, from the start. Default: all.
        names: gives opaque names to scans, if they are wanted.
    """

    subset: str
    split: str
    data_dir: Path | None
    phantoms: dict[str, int]
    test_set: Path | None
    limit: int | None
    names: "PathNames | None"


@dataclass(frozen=True)
class ChosenFloors:
    """The floors to compute, as the command takes them; see `FloorOptions`."""

    keys: str
    features: Path | None
    num_scans: int | None
    flip: Path | None


def chosen_engine(
    engine: str,
    loading: Any,
    adapter: Path | None,
    engine_options: Sequence[str],
    text_tokens: int,
    llm: Path | None = None,
) -> "OtherEngine | None":
    """Return the engine that writes the reports, None for transformers.

    Raises:
        FileNotFoundError: if the adapter's folder holds no adapter that peft saved.
        ValueError: if vLLM is missing, an option is not NAME=VALUE, or a GGUF file (`llm`) is given to vLLM.
    """
    if llm is not None:
        if engine == "vllm":
            raise ValueError("--llm runs in llama.cpp; leave out --engine vllm")
        from argus_evaluation.benchmark.benchmark import OtherEngine
        from argus_inference.llama_cpp.llama_cpp_model import llama_cpp_name, start_batches

        return OtherEngine(llama_cpp_name(llm), partial(start_batches, llm=llm))
    if engine != "vllm":
        return None
    from argus_evaluation.benchmark.benchmark import OtherEngine
    from argus_inference.serving.vllm.vllm_engine import TEXT_TOKENS, VllmOptions, check_vllm, parse_engine_options

    most = max(TEXT_TOKENS, 2 * text_tokens)
    options = VllmOptions(loading, adapter, parse_engine_options(engine_options), most)
    check_vllm()  # last, because importing vLLM takes seconds
    from argus_inference.serving.vllm.vllm_batches import start_vllm_batches, vllm_name

    return OtherEngine(vllm_name(options), partial(start_vllm_batches, options=options))


def chosen_metrics(clinical: str, out: Path, models: Path | None, answers: Path | None, **settings: Any) -> Metrics:
    """Return the metrics to compute, and report at once those that cannot be computed.

    Args:
        clinical: keys of the clinical metrics.
        out: folder of the evaluation.
        models: folder of the models.
        answers: file that keeps their answers; default: a file in `out`.
        **settings: further settings of `ClinicalOptions`.
    """
    from argus_evaluation.metrics.clinical.clinical_metrics import clinical_metrics
    from argus_evaluation.metrics.clinical.clinical_weights import ANSWERS, ClinicalOptions
    from argus_evaluation.metrics.nlp_metrics import METRICS

    options = ClinicalOptions(folder=models, answers=answers or out / ANSWERS, **settings)
    asked = clinical_metrics(keys_of(clinical), options)
    for name, metric in asked.items():
        if reason := metric.missing():
            say(f"{name} is missing: {reason}")
    return METRICS | asked


def keys_of(text: str) -> list[str]:
    """Return the keys of a comma-separated option."""
    return [key for key in text.replace(" ", "").split(",") if key]


def evaluate_scans(
    model: Path,
    scans: ChosenScans,
    out: Path,
    metrics: Callable[[], Metrics],
    floors: ChosenFloors,
    **options: Any,
) -> "EvaluationResults":
    """Evaluate a model on the chosen scans and print the tables; `options` are those of `evaluate_model`."""
    from argus_evaluation.benchmark.benchmark import evaluate_model
    from argus_evaluation.benchmark.evaluated_split import load_split
    from argus_evaluation.benchmark.scored_scans import read_test_set, select_scans
    from argus_evaluation.floors.floor_list import choose_floors
    from argus_evaluation.floors.floor_material import FloorOptions
    from argus_inference.processes import joined_processes

    # Before the data are read: both may be mistyped.
    names = choose_floors(keys_of(floors.keys)) or None
    wanted = None if scans.test_set is None else read_test_set(scans.test_set)
    if scans.names is not None:
        options["id_of"] = scans.names.name
    with joined_processes() as processes:
        dataset, train = (
            load_split(scans.subset, split, scans.data_dir, scans.phantoms) for split in (scans.split, "train")
        )
        if scans.test_set is not None and wanted is not None:
            dataset = select_scans(dataset, wanted, scans.test_set, options.get("id_of", str))
        if scans.limit is not None:
            dataset = dataset.select(range(min(scans.limit, len(dataset))))
        results = evaluate_model(
            model,
            dataset,
            list(train.select_columns("report")["report"]),
            out,
            subset=scans.subset,
            split=scans.split,
            metrics=metrics() if processes.is_main else {},
            floors=FloorOptions(names, train, floors.features, floors.num_scans, floors.flip),
            say=say,
            processes=processes,
            **options,
        )
        if processes.is_main:
            show_results(results)
    return results


def show_results(results: "EvaluationResults") -> None:
    """Print the tables of an evaluation, and the signatures of metrics and floors."""
    from argus_evaluation.benchmark.results_table import floor_lines, result_tables, signature_lines
    from argus_inference.console.terminal import show

    for table in result_tables(results):
        show(table)
    tell("\n".join([*signature_lines(results), *floor_lines(results)]))


def check_stored(out: Path, metrics: Metrics) -> int:
    """Compute a stored evaluation again and print the differences; return the exit code."""
    from argus_evaluation.benchmark.recompute import recompute

    done = recompute(out, metrics)
    show_results(done.results)
    for line in done.not_checked:
        say(f"not checked: {line}")
    for line in done.differences:
        say(f"differs: {line}")
    tell(f"{len(done.differences)} differences from {out / 'results.json'}")
    return 2 if done.differences else 0


def score_again(stored: Path, out: Path, metrics: Metrics, test_set: Path | None) -> None:
    """Score the stored reports of an evaluation again, on all of its scans or on those of a file."""
    from argus_evaluation.benchmark.rescoring import score_stored_again

    show_results(score_stored_again(stored, out, metrics, test_set))


def check_evidence(wanted: bool, masks: Path | None, subset: str) -> None:
    """Refuse evidence of scans whose findings nobody knows, before anything is computed.

    Raises:
        ValueError, FileNotFoundError: if the subset has no masks, or their table is wrong.
    """
    if not wanted and masks is None:
        return
    if masks is not None:
        from argus_evaluation.evidence.mask_table import read_mask_table

        read_mask_table(masks)
    elif subset != "phantom":
        raise ValueError(
            f"--evidence needs the voxels of findings, which only phantoms have; for {subset} give --evidence-masks "
            "TABLE.csv with the columns scan, sentence, mask"
        )


def measure_evidence(
    model_dir: Path,
    out: Path,
    loading: Any,
    masks: Path | None,
    split: str,
    phantoms: Mapping[str, Any],
    limit: int | None,
) -> None:
    """Measure a model's maps on the evaluated phantoms, or on the scans of a table; write `evidence.json`, print it.

    Of several processes only the first one does so.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        return
    from argus_evaluation.evidence.evidence_measures import EvidenceMeasure
    from argus_evaluation.evidence.evidence_results import evidence_table, seconds_per_sentence, summarize
    from argus_evaluation.evidence.mask_table import masked_cases, read_mask_table
    from argus_inference.console.terminal import show
    from argus_inference.evidence.evidence import EvidenceSettings
    from argus_inference.model_folder import hash_model, load_model
    from argus_processing.mean_scan.mean_scan_file import read_mean_scan
    from argus_processing.storage.progress import progress_bar
    from argus_processing.storage.whole_files import write_json

    mean = read_mean_scan(model_dir)
    model, processor = load_model(model_dir, loading)
    measure = EvidenceMeasure(model, processor, mean, EvidenceSettings())
    cases = masked_cases(read_mask_table(masks)) if masks else _phantoms(split, phantoms, limit)
    with progress_bar() as progress:
        measured = list(progress.track(measure.measure_all(cases), description="evidence"))
    shares = summarize(measured)
    results = {"model_hash": hash_model(model_dir), "limits": EVIDENCE_LIMITS, "settings": asdict(measure.settings)}
    results |= {name: asdict(share) for name, share in shares.items()}
    results |= {"seconds_per_sentence": seconds_per_sentence(measured), "scans": [asdict(case) for case in measured]}
    write_json(out / EVIDENCE_FILE, results)
    show(evidence_table(shares))
    tell(EVIDENCE_LIMITS)


def _phantoms(split: str, phantoms: Mapping[str, Any], limit: int | None) -> "Iterator[EvidenceCase]":
    from argus_evaluation.evidence.phantom_cases import phantom_case
    from argus_processing.ct3drrg import PhantomConfig

    seeds = PhantomConfig(name="phantom", **phantoms).split_items(split)
    for seed in seeds[:limit]:
        yield phantom_case(seed, phantoms.get("spacing_mm"), phantoms.get("labels"))
