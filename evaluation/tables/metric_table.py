"""Fill a table of all metrics from result files only: subset x metric, each system that the runs file names."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..benchmark.results_table import METRIC_ROWS
from ..benchmark.run_list import Run
from ..floors.floor_list import title_of
from .paper_table2 import read_paper_table2
from .run_columns import Column, SubsetRuns, TableNumber, collect_runs, floors_of, read_floor, read_number

METRICS = (
    *("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L", "METEOR", "CIDEr"),
    *("Avg. NLP", "Avg. NLP (9)"),
    *("RadGraph-XL simple", "RadGraph-XL partial", "RadGraph-XL complete", "GREEN", "RaTEScore"),
)
# Names under which metrics of findings are shown.
LABELS = {name: label for label, name in METRIC_ROWS.items() if name not in METRICS}


@dataclass(frozen=True)
class MetricBlock:
    """One subset: its runs, the number of each column and metric, and that of each floor and metric."""

    runs: SubsetRuns
    metrics: tuple[str, ...]
    cells: dict[tuple[Column, str], TableNumber]
    floors: dict[str, dict[str, TableNumber]] = field(default_factory=dict)


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
    rows = {name: LABELS.get(name, name) for name in (*METRICS, *_others(runs))}
    cells = {
        (column, label): read_number(runs.columns.get(column, ()), name)
        for column in columns
        for name, label in rows.items()
    }
    floors = {
        title_of(floor): {label: read_floor(runs, None, floor, name) for name, label in rows.items()}
        for floor in floors_of(runs)
    }
    return MetricBlock(runs, tuple(rows.values()), cells, floors)


def _others(runs: SubsetRuns) -> list[str]:
    """Return the names of further metrics of which a run has a value: of findings, of stand-ins."""
    every = [each.results.metrics for place in runs.columns.values() for each in place]
    found = (name for metrics in every for name, metric in metrics.items() if metric.value is not None)
    return [name for name in dict.fromkeys(found) if name not in METRICS]
