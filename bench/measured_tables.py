"""Write the measured tables in README and docs; they are made from result files and never by hand.

python bench/measured_tables.py README.md docs/ablations.md docs/metrics_under_stress.md

In a document, `<!-- measured: KIND of FILE -->` and `<!-- end of measured -->` mark the place of a table and name its
kind and its result file. The text between the marks is replaced if the file exists, and stays if it does not.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_vision import patch_table, system_table
from gpu_bench.gpu_tables import COLUMNS, part_table, summary_table
from serve_bench.bench_llama_cpp import parity_table, speed_table
from serve_bench.serve_tables import engines_table, load_table

from argus_evaluation.ablations.ablation_results import AblationResults, read_kept
from argus_evaluation.ablations.ablation_table import first_metrics, panel_markdown, runs_text
from argus_evaluation.audit.audit_results import AuditResults
from argus_evaluation.audit.audit_table import compared_audits
from argus_evaluation.benchmark.evaluation_results import EvaluationResults, MetricValue, read_results
from argus_evaluation.benchmark.results_table import floors_in_order
from argus_evaluation.floors.floor_list import missing_floors, title_of
from argus_evaluation.stress.stress_results import read_stress_results
from argus_evaluation.stress.stress_table import stress_markdown
from argus_processing.storage.markdown_table import literal_table, markdown_table
from argus_processing.storage.typed_json import from_json
from argus_processing.storage.whole_files import read_json, write_text

BLOCK = re.compile(
    r"(?P<start><!-- measured: (?P<kind>[a-z ]+?) of (?P<file>\S+) -->\n).*?(?P<end><!-- end of measured -->)",
    re.DOTALL,
)
DEMO_COLUMNS = {
    "finding_f1": "finding F1",
    "laterality_accuracy": "laterality",
    "BLEU-4": "BLEU-4",
    "ROUGE-L": "ROUGE-L",
}
RANKS = (1, 5, 10)


def demo_table(results: EvaluationResults) -> str:
    """Return the demo's scores and those of its floors as a Markdown table."""
    rows = {"tiny Argus": results.metrics}
    rows |= {title_of(name): results.controls[name].metrics for name in floors_in_order(results)}
    lacking = f"\n\n{told}" if (told := missing_floors(results.controls)) else ""
    shown = literal_table(
        ["on held-out phantoms", *DEMO_COLUMNS.values()],
        ([name, *(_number(metrics[metric]) for metric in DEMO_COLUMNS)] for name, metrics in rows.items()),
    )
    return (
        f"{markdown_table(shown)}\n\n{results.n_test} scans, {results.seconds:.0f} s from nothing, "
        f"{results.peak_memory_mb / 1000:.1f} GB at the peak, on two CPU cores.{lacking}"
    )


def _number(metric: MetricValue) -> str:
    """Format a value; a share, which is at most 1, has two digits."""
    return "-" if metric.value is None else f"{metric.value:.{2 if metric.scale == 1 else 1}f}"


def preprocessing_table(results: dict[str, Any]) -> str:
    """Return the comparison of preprocessing with MONAI as a Markdown table."""
    rows = (
        [
            f"to the {resolution} grid",
            f"{row['argus_seconds']:.2f} s",
            f"{row['inflate_seconds']:.2f} s",
            f"{row['monai_seconds']:.2f} s",
            f"{row['times_faster']:.1f}",
            f"{100 * row['memory_share']:.0f}% of MONAI's",
        ]
        for resolution, row in results["summary"].items()
    )
    heads = ("preprocessing of 512 x 512 x 300", "Argus", "inflating alone", "MONAI", "times faster", "memory")
    return markdown_table(literal_table(heads, rows))


def ablation_tables(results: AblationResults) -> str:
    """Return an ablation's panels as Markdown tables, each with the measured order and the paper's."""
    parts = [panel_markdown(first_metrics(results, panel), panel) for panel in results.panels]
    return "\n\n".join([*parts, runs_text(results)])


def mae_table(results: dict[str, Any]) -> str:
    """Return the quality of the reconstruction of hidden patches as a Markdown table."""
    heads = ("3D-MAE, held-out phantoms", "loss on hidden patches", "of predicting each patch's mean", "ratio")
    numbers = (f"{results[name]:.3f}" for name in ("masked_loss", "masked_loss_of_patch_means", "ratio"))
    return markdown_table(literal_table(heads, [[str(results["num_scans"]), *numbers]]))


def retrieval_table(results: dict[str, Any]) -> str:
    """Return the results of retrieval between scans and reports as a Markdown table."""
    rows = (
        [direction.replace("_", " "), *(f"{results[f'{direction}_r@{k}']:.3f}" for k in RANKS)]
        for direction in ("image_to_text", "text_to_image")
    )
    heads = (f"FLIP, {results['num_scans']} held-out phantoms", *(f"R@{k}" for k in RANKS))
    return f"{markdown_table(literal_table(heads, rows))}\n\nChance of R@1: {results['chance_r@1']:.3f}."


# Measures of maps of evidence, as rows of their table.
EVIDENCE_ROWS = {
    "pointing": "peak within one voxel of the finding",
    "within_8_mm": "peak within 8 mm",
    "overlap": "intersection over union with the finding, above half of the peak",
    "pointing_among_unknown_findings": "peak within one voxel, beside findings that the model never learned",
    "chance": "chance: a point drawn in the body, within one voxel",
    "no_model": "no model: largest difference from the mean, within one voxel",
    "other_sentence": "another sentence's peak, within one voxel",
    "random_tower": "random tower, within one voxel",
    "absent_finding_has_map": "sentence about a finding that the scan does not have gets a map",
    "deletion": "deleting the map's top removes the statement",
    "deletion_elsewhere": "deleting as much elsewhere removes it",
    "has_map": "true statements with a map",
    "pointing_moved": "moved scans: peak within one voxel",
    "pointing_shifted": "shifted by up to 40 mm",
    "pointing_cropped": "cropped by up to 40 mm a side",
    "pointing_enlarged": "enlarged by up to 40 mm a side",
    "within_8_mm_moved": "moved scans: peak within 8 mm",
    "chance_moved": "moved scans: chance",
    "no_model_moved": "moved scans: no model",
    "has_map_moved": "moved scans: true statements with a map",
    "pointing_moved_true_reports": "moved scans, their true reports: peak within one voxel",
    "has_map_moved_true_reports": "moved scans, their true reports: sentences with a map",
}


def evidence_table(results: dict[str, Any]) -> str:
    """Return the measures of maps of evidence as a Markdown table."""
    rows = (
        [text, f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", str(row["n"])]
        for name, text in EVIDENCE_ROWS.items()
        if (row := results.get(name)) is not None
    )
    table = markdown_table(literal_table(("on phantoms", "value", "95% interval", "sentences"), rows))
    return f"{table}\n\n{results['seconds_per_sentence']:.2f} s a map, on one CPU core."


def audit_table(results: dict[str, Any]) -> str:
    """Return the audits of several writers as a Markdown table."""
    audits = {name: from_json(AuditResults, audit) for name, audit in results["audits"].items()}
    subjects, seconds = ({getattr(audit, name) for audit in audits.values()} for name in ("num_subjects", "seconds"))
    told = f"{max(subjects)} phantoms; the longest of them took {max(seconds):.0f} s."
    return f"{markdown_table(compared_audits(audits))}\n\n{told}"


def read_demo(path: Path) -> EvaluationResults:
    """Read the results of a demo, refusing those of an evaluation that was not timed."""
    results = read_results(path.parent)
    if results.seconds is None or results.peak_memory_mb is None:
        raise ValueError(f"{path}: tells no time and no memory; run make demo")
    return results


# kind, as the mark in a document names it -> function (the result file) -> Markdown
TABLES: dict[str, Callable[[Path], str]] = {
    "demo": lambda path: demo_table(read_demo(path)),
    "preprocessing": lambda path: preprocessing_table(read_json(path)),
    "ablation": lambda path: ablation_tables(read_kept(path, AblationResults)),
    "masked reconstruction": lambda path: mae_table(read_json(path)),
    "retrieval": lambda path: retrieval_table(read_json(path)),
    "patch embedding": lambda path: markdown_table(patch_table(read_json(path)["patch_embedding"])),
    "metrics under stress": lambda path: stress_markdown(read_stress_results(path)),
    "evidence": lambda path: evidence_table(read_json(path)),
    "audits": lambda path: audit_table(read_json(path)),
    "systems": lambda path: markdown_table(system_table(read_json(path)["systems"])),
    "llama parity": lambda path: markdown_table(parity_table(read_json(path))),
    "llama speed": lambda path: markdown_table(speed_table(read_json(path))),
    "serving load": lambda path: load_table(read_json(path)),
    "engines": lambda path: engines_table(read_json(path)),
    "gpu summary": lambda path: summary_table(read_json(path)),
}
TABLES |= {f"gpu {part}": lambda path, part=part: markdown_table(part_table(read_json(path), part)) for part in COLUMNS}


def fill(document: str) -> str:
    """Return a document with new tables wherever the result file exists.

    Raises:
        ValueError: if it has no mark, a mark has an unknown kind, or a result file is damaged.
    """
    if not BLOCK.search(document):
        raise ValueError("no mark for a measured table")
    return BLOCK.sub(_filled, document)


def _filled(block: re.Match) -> str:
    kind, path = block["kind"], Path(block["file"])
    if kind not in TABLES:
        raise ValueError(f"no table of kind {kind!r}; known: {', '.join(TABLES)}")
    return f"{block['start']}{TABLES[kind](path)}\n{block['end']}" if path.exists() else block[0]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            write_text(Path(name), fill(Path(name).read_text(encoding="utf-8")))
        except (ValueError, KeyError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            sys.exit(2)
