"""Fill a table of all metrics from result files only: subset x metric, each system that the runs file names."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..benchmark.evaluation_results import MetricValue
from ..benchmark.run_list import Run
from .paper_table2 import read_paper_table2
from .run_columns import Column, SubsetRuns, TableNumber, collect_runs, read_number

METRICS = (
    *("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L", "METEOR", "CIDEr"),
    *("Avg. NLP", "Avg. NLP (9)"),
    *("RadGraph-XL simple", "RadGraph-XL partial", "RadGraph-XL complete", "GREEN", "RaTEScore"),
)
# Rows only where a run has them, with the names they are shown under.
OWN_METRICS = {"finding_f1": "finding F1"}


@dataclass(frozen=True)
class MetricBlock:
    """One subset: its runs, and the number of each column and metric."""

    runs: SubsetRuns
    metrics: tuple[str, ...]
    cells: dict[tuple[Column, str], TableNumber]


@dataclass(frozen=True)
class MetricTable:
    """The whole table; `resolutions` are names by key, `columns` are in the paper's order of systems and sizes."""

    resolutions: dict[str, str]
    columns: tuple[Column, ...]
    blocks: tuple[MetricBlock, ...]


def build_metric_table(runs: Sequence[Run]) -> MetricTable:
    """Fill the table from the runs' `results.json`.

    Raises:
        FileNotFoundError, ValueError: as `collect_runs`.
    """
    paper = read_paper_table2()
    subsets = collect_runs(runs, list(paper.subsets))
    labels = list(dict.fromkeys([*paper.rows, *(run.label for run in runs)]))
    named = {(run.resolution, run.label) for run in runs}
    columns = tuple((at, label) for at in paper.resolutions for label in labels if (at, label) in named)
    blocks = tuple(_build_block(subset, columns) for subset in subsets)
    return MetricTable({at: each.name for at, each in paper.resolutions.items()}, columns, blocks)


def _build_block(runs: SubsetRuns, columns: Sequence[Column]) -> MetricBlock:
    every = [each.results.metrics for place in runs.columns.values() for each in place]
    own = {name: label for name, label in OWN_METRICS.items() if any(_has(metrics.get(name)) for metrics in every)}
    rows = {name: name for name in METRICS} | own
    cells = {
        (column, label): read_number(runs.columns.get(column, ()), name)
        for column in columns
        for name, label in rows.items()
    }
    return MetricBlock(runs, tuple(rows.values()), cells)


def _has(found: MetricValue | None) -> bool:
    return found is not None and found.value is not None
