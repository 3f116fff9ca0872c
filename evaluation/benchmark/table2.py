"""Fill the paper's Table 2 only from result files: subset x metric, both resolutions, every system.

A number that could not be computed stays missing, with the reason. The paper's own numbers come from the file
`paper_table2.yaml` and are always marked as the paper's. `table2_text.py` writes the table as text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from argus_processing.storage.foreign_files import read_yaml_object
from argus_processing.storage.typed_json import from_json

from .evaluation_results import EvaluationResults, read_results
from .run_list import Run, read_settings

PAPER = Path(__file__).parent / "paper_table2.yaml"
NO_RUN = "no evaluation in the runs file"
NOT_IN_RESULTS = "not among the results; evaluate again with this metric"
NOT_DEFINED = "not defined on these reports"
Place = tuple[str, str, str, str]  # subset, resolution, system, metric
Columns = dict[tuple[str, str], tuple[Run, EvaluationResults]]  # by resolution and system


@dataclass(frozen=True)
class _PaperValue:
    """One number that is printed in the paper."""

    subset: str
    resolution: str
    system: str
    metric: str
    value: float


@dataclass(frozen=True)
class _Layout:
    """The names in the table, and the paper's numbers; `own_metrics`, name to label, are rows of our own runs only."""

    source: str
    subsets: tuple[str, ...]
    resolutions: dict[str, str]
    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    own_metrics: dict[str, str]
    values: tuple[_PaperValue, ...]

    def paper_values(self) -> dict[Place, float]:
        """Return the paper's numbers by place.

        Raises:
            ValueError: if a name is not in the layout, because it would be shown nowhere, or a place comes twice.
        """
        known = [set(names) for names in (self.subsets, self.resolutions, self.systems, self.metrics)]
        values: dict[Place, float] = {}
        for entry in self.values:
            place = (entry.subset, entry.resolution, entry.system, entry.metric)
            if any(name not in names for name, names in zip(place, known, strict=True)) or place in values:
                raise ValueError(f"{', '.join(place)} is not in the table's layout, or comes twice")
            values[place] = float(entry.value)
        return values


@dataclass(frozen=True)
class TableNumber:
    """One number of the table: `value` with its interval, or None with a reason; `paper` is the paper's number."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    missing: str | None = None
    signature: str | None = None
    paper: float | None = None
    scale: int = 100


@dataclass(frozen=True)
class Block:
    """One subset: `cells` by (resolution, system, metric), and the hash of the model behind each column."""

    subset: str
    split: str
    n_test: int
    metrics: tuple[str, ...]
    cells: dict[tuple[str, str, str], TableNumber]
    model_hashes: dict[tuple[str, str], str]

    def signatures(self, metric: str) -> list[str]:
        """Return the signatures of a metric's values; if there is more than one, the values cannot be compared."""
        found = (cell.signature for place, cell in self.cells.items() if place[2] == metric and cell.value is not None)
        return sorted({signature for signature in found if signature})


@dataclass(frozen=True)
class Table2:
    """The whole table; `resolutions` are names by key, `left_out` are the paper's subsets that have no run."""

    source: str
    resolutions: dict[str, str]
    systems: tuple[str, ...]
    blocks: tuple[Block, ...]
    left_out: tuple[str, ...]
    has_paper_values: bool


def build_table2(runs: Sequence[Run], paper: Path = PAPER) -> Table2:
    """Fill the table from the runs' `results.json`.

    Args:
        runs: see `run_list.py`; systems that are not in the paper become further columns.
        paper: file with the layout and the paper's values.

    Raises:
        FileNotFoundError: if a run is not finished.
        ValueError: if two runs fill the same column, or runs of a subset have different scans and so cannot be
            compared.
    """
    layout, printed = _read_layout(paper)
    systems = tuple(dict.fromkeys([*layout.systems, *(run.label for run in runs)]))
    by_subset: dict[str, Columns] = {}
    for run in runs:
        results = read_results(run.folder)
        columns = by_subset.setdefault(results.subset, {})
        if (run.resolution, run.label) in columns:
            raise ValueError(f"{run.folder}: {run.name} comes twice on {results.subset}")
        columns[run.resolution, run.label] = (run, results)
    subsets = sorted(by_subset, key=lambda name: (_rank(name, layout.subsets), name))
    return Table2(
        layout.source,
        layout.resolutions,
        systems,
        tuple(_build_block(subset, by_subset[subset], layout, systems, printed) for subset in subsets),
        tuple(name for name in layout.subsets if name not in by_subset),
        bool(printed),
    )


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _read_layout(path: Path) -> tuple[_Layout, dict[Place, float]]:
    """Read the layout and the paper's numbers."""
    try:
        layout = from_json(_Layout, read_yaml_object(path))
        return layout, layout.paper_values()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _build_block(
    subset: str, columns: Columns, layout: _Layout, systems: Sequence[str], printed: dict[Place, float]
) -> Block:
    split, n_test = _check_same_scans(subset, list(columns.values()))
    rows = {name: name for name in layout.metrics} | {
        name: label
        for name, label in layout.own_metrics.items()
        if any(name in results.metrics and results.metrics[name].value is not None for _, results in columns.values())
    }
    cells = {}
    for resolution in layout.resolutions:
        for system in systems:
            results = columns[resolution, system][1] if (resolution, system) in columns else None
            for name, label in rows.items():
                paper = printed.get((subset, resolution, system, name))
                cells[resolution, system, label] = _read_number(results, name, paper)
    hashes = {column: results.model_hash for column, (_, results) in columns.items()}
    return Block(subset, split, n_test, tuple(rows.values()), cells, hashes)


def _check_same_scans(subset: str, runs: list[tuple[Run, EvaluationResults]]) -> tuple[str, int]:
    """Refuse systems that were not evaluated on the same scans; return the split and the number of scans."""
    seen: dict[tuple[str, int, str], Run] = {}
    for run, results in runs:
        seen.setdefault((results.split, results.n_test, read_settings(run.folder).dataset), run)
    if len(seen) > 1:
        one, other = list(seen.values())[:2]
        raise ValueError(
            f"{one.folder} and {other.folder} are of different scans of {subset}; evaluate both on the same"
        )
    split, n_test, _ = next(iter(seen))
    return split, n_test


def _read_number(results: EvaluationResults | None, name: str, paper: float | None) -> TableNumber:
    if results is None:
        return TableNumber(missing=NO_RUN, paper=paper)
    found = results.metrics.get(name)
    if found is None:
        return TableNumber(missing=NOT_IN_RESULTS, paper=paper)
    reason = (found.missing or NOT_DEFINED) if found.value is None else None
    return TableNumber(found.value, found.low, found.high, reason, found.signature, paper, found.scale)
