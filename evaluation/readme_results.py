"""The README's results, written from result files and never by hand.

python -m argus_evaluation.readme_results README.md runs/demo/results.json runs/bench/preprocessing.json \
    [runs/ablation-demo/results.json]
"""

import sys
from pathlib import Path
from typing import Any

from argus_processing.whole_files import read_json, write_text

from .ablation_table import first_metrics, panel_markdown

START, END = "<!-- results: written by argus_evaluation.readme_results -->", "<!-- end of results -->"
CONTROL_NAMES = {"blank": "blank image", "shuffled": "shuffled images", "most_frequent": "most frequent report"}


def demo_table(results: dict[str, Any]) -> str:
    """Return the demonstration's scores and their controls as a Markdown table."""
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


def bench_table(results: dict[str, Any]) -> str:
    """Return preprocessing beside MONAI's idiom as a Markdown table."""
    lines = ["| preprocessing of 512 x 512 x 300 | Argus | MONAI | times faster | memory |", "|---|---|---|---|---|"]
    for resolution, row in results["summary"].items():
        lines.append(
            f"| to the {resolution} grid | {row['argus_seconds']:.2f} s | {row['monai_seconds']:.2f} s "
            f"| {row['times_faster']:.1f} | {100 * row['memory_share']:.0f}% of MONAI's |"
        )
    return "\n".join(lines)


def ablation_tables(results: dict[str, Any]) -> str:
    """Return an ablation's panels as Markdown tables, each with the measured order beside the paper's."""
    parts = [panel_markdown(first_metrics(results, panel), panel) for panel in results["panels"]]
    seeds = len(results["seeds"])
    parts.append(
        f"{results['num_runs']} runs in {results['seconds'] / 60:.0f} minutes on two CPU cores; "
        f"{results['error_bars']} ({seeds} seeds); 95% intervals of paired differences by Student's t."
    )
    return "\n\n".join(parts)


def fill_readme(readme: str, tables: list[str]) -> str:
    """Put tables between the README's two marks.

    Raises:
        ValueError: if the marks are not there.
    """
    if readme.count(START) != 1 or readme.count(END) != 1:
        raise ValueError(f"the README must hold the marks {START} and {END} once")
    before, rest = readme.split(START)
    after = rest.split(END)[1]
    return before + START + "\n" + "\n\n".join(tables) + "\n" + END + after


if __name__ == "__main__":
    path, demo, bench, *ablations = (Path(argument) for argument in sys.argv[1:])
    made = [demo_table(read_json(demo)), bench_table(read_json(bench))]
    made += [ablation_tables(read_json(ablation)) for ablation in ablations]
    write_text(path, fill_readme(path.read_text(), made))
