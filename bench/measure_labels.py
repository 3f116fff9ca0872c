"""Measure the reading of CT-RATE's labels on labelled reports, which stay outside the repository.

python bench/measure_labels.py REPORTS.csv [MORE.csv] --seed 20261126 --skip 250
python bench/measure_labels.py REPORTS.csv --backend radbert --models FOLDER

A file has the column `report_text` and a column of 0 and 1 for each label, as CT-CLIP's annotations have. With `--seed`
the reports are shuffled, so that `--skip` and `--take` name parts that were tuned on or kept blind; the order of the
files decides them too.
"""

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.labels import CT_RATE_LABELS, LABEL_BACKENDS
from argus_evaluation.metrics.labels.label_backends import LabelReader, label_reader
from argus_evaluation.metrics.labels.label_scores import F1, MACRO_F1, PRECISION, RECALL, score_labels
from argus_evaluation.metrics.metric import MetricScores
from argus_inference.console.terminal import show

TEXT = "report_text"
Labelled = tuple[str, frozenset[str]]  # a report and its labels


def read_labelled(path: Path) -> list[Labelled]:
    """Read labelled reports.

    Raises:
        ValueError: if a column is missing, or a label is neither 0 nor 1.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or (lacking := {TEXT, *CT_RATE_LABELS} - set(rows[0])):
        what = f"lacks the column {min(lacking)}" if rows else "holds no reports"
        raise ValueError(f"{path}: {what}; it needs {TEXT} and a column for each label of CT-RATE")
    for number, row in enumerate(rows, start=2):
        if wrong := [label for label in CT_RATE_LABELS if row[label] not in ("0", "1")]:
            raise ValueError(f"{path}, row {number}: {wrong[0]} must be 0 or 1, got {row[wrong[0]]!r}")
    return [(row[TEXT], frozenset(label for label in CT_RATE_LABELS if row[label] == "1")) for row in rows]


def choose(reports: Sequence[Labelled], seed: int | None, skip: int, take: int | None) -> list[Labelled]:
    """Return a part of the reports, in the order of a seeded shuffle if there is a seed."""
    chosen = list(reports)
    if seed is not None:
        random.Random(seed).shuffle(chosen)
    return chosen[skip:] if take is None else chosen[skip : skip + take]


def measure(reports: Sequence[Labelled], reader: LabelReader) -> dict[str, MetricScores]:
    """Score the labels that a reader reads against the labels by hand."""
    read = reader.read([text for text, _ in reports])
    return score_labels([each.labels for each in read], [labels for _, labels in reports])


def build_table(scores: dict[str, MetricScores], num_reports: int) -> Table:
    """Build a table of precision, recall and F1 of each label."""
    caption = f"{num_reports} reports; macro-F1 {scores[MACRO_F1].value:.3f}, micro-F1 {scores[F1].value:.3f}"
    table = Table("label", "present", "precision", "recall", "F1", caption=caption)
    for label in CT_RATE_LABELS:
        parts = [scores[name].parts[label] for name in (PRECISION, RECALL, F1)]
        table.add_row(label, str(parts[0].counts["present"]), *(f"{part.value:.3f}" for part in parts))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the files on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, help="shuffle the reports of all files by this seed")
    parser.add_argument("--skip", type=int, default=0, help="leave out this many from the start")
    parser.add_argument("--take", type=int, help="then take only this many")
    parser.add_argument("--backend", choices=list(LABEL_BACKENDS), default="rules")
    parser.add_argument("--models", type=Path, help="folder with the weights of a backend")
    given = parser.parse_args(arguments)
    reports = [report for path in given.files for report in read_labelled(path)]
    chosen = choose(reports, given.seed, given.skip, given.take)
    reader = label_reader(given.backend, ClinicalOptions(folder=given.models, label_backend=given.backend))
    show(build_table(measure(chosen, reader), len(chosen)))


if __name__ == "__main__":
    main()
