"""Convert the results of an evaluation for a model's card: its table, its controls, and entries of the metadata."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from argus_processing.ct3drrg import NAME
from argus_processing.storage.markdown_table import markdown_table
from argus_training.assembly.model_card import CardResults

from ..floors.floor_list import missing_floors
from .evaluation_results import RESULTS_FILE, EvaluationResults, MetricValue, read_results
from .results_table import result_tables, signature_lines, test_set_line

TASK = "image-text-to-text"
CONTROLS_TOLD = (
    "The floors need no report writer: constant reports of the training data, sentences by the labels of a linear "
    "classifier, the report of the nearest training scan, and the same model shown a blank image or other scans. p is "
    "that of the difference from the best floor. A model that ignores the scan scores no better than they do."
)


def read_card_results(path: Path, model_hash: str) -> CardResults:
    """Read the results of a model for its card.

    Args:
        path: `results.json`, or the folder that holds it.
        model_hash: hash of the model's folder.

    Raises:
        FileNotFoundError, ValueError: if there are none, they are damaged, or belong to another model.
    """
    folder = path if path.is_dir() else path.parent
    if path != folder and path.name != RESULTS_FILE:
        raise ValueError(f"{path}: results have the name {RESULTS_FILE}; give such a file or its folder")
    results = read_results(folder)
    if results.model_hash != model_hash:
        raise ValueError(
            f"{path}: is of another model ({results.model_hash[:12]}, this one is {model_hash[:12]}); "
            "run argus evaluate with this one"
        )
    return card_results(results)


def card_results(results: EvaluationResults) -> CardResults:
    """Return the results as a card shows them."""
    left_out = f", {len(results.unreadable)} more could not be read" if results.unreadable else ""
    counts = ", ".join(f"{count} {name}" for name, count in results.counts.items())
    # Why a metric is missing on a machine may name its folders.
    computed = replace(results, metrics={name: one for name, one in results.metrics.items() if one.missing is None})
    lacking = f"{told} " if (told := missing_floors(results.controls)) else ""
    scans = f" The {test_set_line(results.scans)}." if results.scans else ""
    return CardResults(
        heading=f"{results.subset}, split {results.split}: {results.n_test} reports{left_out}",
        table="\n\n".join(map(markdown_table, result_tables(results))),
        controls=f"{CONTROLS_TOLD} {lacking}Of {results.n_test} reports: {counts}.{scans}",
        signatures=tuple(signature_lines(computed)),
        entries=tuple(_entries(results)),
    )


def _entries(results: EvaluationResults) -> Iterator[EvalResult]:
    """Yield one entry of the metadata for each metric that has a value."""
    for name, metric in results.metrics.items():
        if metric.value is not None:
            yield EvalResult(
                task_type=TASK,
                task_name="reports from 3D CT",
                dataset_type=NAME,
                dataset_name=f"CT-3DRRG {results.subset}",
                dataset_config=results.subset,
                dataset_split=results.split,
                metric_type=re.sub(r"[^a-z0-9-]+", "_", name.lower()).strip("_"),
                metric_name=name,
                metric_value=round(metric.value, 4),
                metric_args=_arguments(results, name, metric),
            )


def _arguments(results: EvaluationResults, name: str, metric: MetricValue) -> dict[str, Any]:
    """Return what a reader of a value must know: implementation, scale, number of reports, interval and controls."""
    told: dict[str, Any] = {"signature": metric.signature, "scale": metric.scale, "reports": results.n_test}
    if metric.low is not None and metric.high is not None:
        told["interval_95"] = [round(metric.low, 4), round(metric.high, 4)]
    found = {control: scores.metrics.get(name) for control, scores in results.controls.items()}
    known = {control: round(one.value, 4) for control, one in found.items() if one and one.value is not None}
    scans = {"references_sha256": results.scans.references_sha256} if results.scans else {}
    return told | scans | ({"controls": known} if known else {})
