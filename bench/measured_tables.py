"""Writer of the measured tables in README and docs; they are made from result files and never by hand.

python bench/measured_tables.py README.md docs/ablations.md

In a document, `<!-- measured: KIND of FILE -->` and `<!-- end of measured -->` mark the place of a table and name its
kind and its result file. The text between the marks is replaced if the file exists, and stays if it does not.
"""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_vision import patch_table, system_table
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from argus_evaluation.ablations.ablation_table import first_metrics, panel_markdown, runs_text
from argus_processing.storage.whole_files import read_json, write_text

BLOCK = re.compile(
    r"(?P<start><!-- measured: (?P<kind>[a-z ]+?) of (?P<file>\S+) -->\n).*?(?P<end><!-- end of measured -->)",
    re.DOTALL,
)
CONTROL_NAMES = {"blank": "blank image", "shuffled": "shuffled images", "most_frequent": "most frequent report"}


def demo_table(results: dict[str, Any]) -> str:
    """Return the demo's scores and its controls as a Markdown table."""
    rows = [("tiny Argus", results), *((CONTROL_NAMES[name], row) for name, row in results["controls"].items())]
    lines = ["| on held-out phantoms | finding F1 | laterality | BLEU-4 | ROUGE-L |", "|---|---|---|---|---|"]
    for name, row in rows:
        sided = row["laterality_accuracy"]
        words = (row["metrics"][metric]["value"] for metric in ("BLEU-4", "ROUGE-L"))
        cells = [
            f"{row['finding_f1']:.2f}",
            "-" if sided is None else f"{sided:.2f}",
            *(f"{value:.1f}" for value in words),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(
        f"\n{results['n_test']} scans, {results['seconds']:.0f} s from nothing, "
        f"{results['peak_memory_mb'] / 1000:.1f} GB at the peak, on two CPU cores."
    )
    return "\n".join(lines)


def preprocessing_table(results: dict[str, Any]) -> str:
    """Return the comparison of preprocessing with MONAI as a Markdown table."""
    lines = ["| preprocessing of 512 x 512 x 300 | Argus | MONAI | times faster | memory |", "|---|---|---|---|---|"]
    for resolution, row in results["summary"].items():
        lines.append(
            f"| to the {resolution} grid | {row['argus_seconds']:.2f} s | {row['monai_seconds']:.2f} s "
            f"| {row['times_faster']:.1f} | {100 * row['memory_share']:.0f}% of MONAI's |"
        )
    return "\n".join(lines)


def ablation_tables(results: dict[str, Any]) -> str:
    """Return an ablation's panels as Markdown tables, each with the measured order and the paper's."""
    parts = [panel_markdown(first_metrics(results, panel), panel) for panel in results["panels"]]
    return "\n\n".join([*parts, runs_text(results)])


def mae_table(results: dict[str, Any]) -> str:
    """Return the quality of the reconstruction of hidden patches as a Markdown table."""
    return (
        "| 3D-MAE, held-out phantoms | loss on hidden patches | of predicting each patch's mean | ratio |\n"
        "|---|---|---|---|\n"
        f"| {results['num_scans']} | {results['masked_loss']:.3f} | {results['masked_loss_of_patch_means']:.3f} "
        f"| {results['ratio']:.3f} |"
    )


def retrieval_table(results: dict[str, Any]) -> str:
    """Return the results of retrieval between scans and reports as a Markdown table."""
    lines = [f"| FLIP, {results['num_scans']} held-out phantoms | R@1 | R@5 | R@10 |", "|---|---|---|---|"]
    for direction in ("image_to_text", "text_to_image"):
        recalls = " | ".join(f"{results[f'{direction}_r@{k}']:.3f}" for k in (1, 5, 10))
        lines.append(f"| {direction.replace('_', ' ')} | {recalls} |")
    return "\n".join(lines) + f"\n\nChance of R@1: {results['chance_r@1']:.3f}."


def markdown_of(table: Table) -> str:
    """Convert a rich table to a Markdown table without its title."""
    table.title, table.box = None, MARKDOWN
    console = Console(file=io.StringIO(), width=1000)
    console.print(table)
    return "\n".join(line.strip() for line in console.file.getvalue().strip().splitlines())


# kind, as the mark in a document names it -> function (the result file) -> Markdown
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "demo": demo_table,
    "preprocessing": preprocessing_table,
    "ablation": ablation_tables,
    "masked reconstruction": mae_table,
    "retrieval": retrieval_table,
    "patch embedding": lambda results: markdown_of(patch_table(results["patch_embedding"])),
    "systems": lambda results: markdown_of(system_table(results["systems"])),
}


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
    return f"{block['start']}{TABLES[kind](read_json(path))}\n{block['end']}" if path.exists() else block[0]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            write_text(Path(name), fill(Path(name).read_text(encoding="utf-8")))
        except (ValueError, KeyError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            sys.exit(2)
