"""Table 2 of the paper, filled only from result files: subset x metric, both resolutions, every system.

A number that could not be computed stays missing, with the reason. The paper's own numbers come from the file
`paper_table2.yaml` and are always marked as the paper's. `table2_text.py` writes the table as text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .run_list import Run, read_results, read_settings

PAPER = Path(__file__).parent / "paper_table2.yaml"
FINDING_F1 = "finding F1"
NO_RUN = "no evaluation in the runs file"
NOT_IN_RESULTS = "not among the results; evaluate again with this metric"
Place = tuple[str, str, str, str]  # subset, resolution, system, metric


@dataclass(frozen=True)
class Cell:
    """One number of the table: `value` with its interval, or None with a reason; `paper` is the paper's number."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    missing: str | None = None
    signature: str | None = None
    paper: float | None = None


@dataclass(frozen=True)
class Block:
    """One subset: `cells` by (resolution, system, metric), and the hash of the model behind each column."""

    subset: str
    split: str
    n_test: int
    metrics: tuple[str, ...]
    cells: dict[tuple[str, str, str], Cell]
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
    layout = yaml.safe_load(paper.read_text(encoding="utf-8"))
    printed = _paper_values(layout, paper)
    systems = tuple(dict.fromkeys([*layout["systems"], *(run.system for run in runs)]))
    by_subset: dict[str, dict[tuple[str, str], tuple[Run, dict[str, Any]]]] = {}
    for run in runs:
        results = read_results(run.folder)
        columns = by_subset.setdefault(results["subset"], {})
        if (run.resolution, run.system) in columns:
            raise ValueError(f"{run.folder}: {run.name} comes twice on {results['subset']}")
        columns[run.resolution, run.system] = (run, results)
    subsets = sorted(by_subset, key=lambda name: (*_rank(name, layout["subsets"]), name))
    return Table2(
        layout["source"],
        layout["resolutions"],
        systems,
        tuple(_build_block(subset, by_subset[subset], layout, systems, printed) for subset in subsets),
        tuple(name for name in layout["subsets"] if name not in by_subset),
        bool(printed),
    )


def _rank(name: str, order: Sequence[str]) -> tuple[int]:
    return (order.index(name) if name in order else len(order),)


def _paper_values(layout: dict[str, Any], path: Path) -> dict[Place, float]:
    """Read the paper's numbers; refuse a name that is not in the layout, because it would be shown nowhere."""
    known = [set(layout[key]) for key in ("subsets", "resolutions", "systems", "metrics")]
    values: dict[Place, float] = {}
    for entry in layout["values"]:
        place = tuple(entry[key] for key in ("subset", "resolution", "system", "metric"))
        if any(name not in names for name, names in zip(place, known, strict=True)) or place in values:
            raise ValueError(f"{path}: {entry} is not in the table's layout, or comes twice")
        values[place] = float(entry["value"])
    return values


def _build_block(
    subset: str,
    columns: dict[tuple[str, str], tuple[Run, dict[str, Any]]],
    layout: dict[str, Any],
    systems: Sequence[str],
    printed: dict[Place, float],
) -> Block:
    split, n_test = _check_same_scans(subset, list(columns.values()))
    metrics = tuple(layout["metrics"])
    if any(results.get("finding_f1") is not None for _, results in columns.values()):
        metrics += (FINDING_F1,)
    cells = {}
    for resolution in layout["resolutions"]:
        for system in systems:
            results = columns[resolution, system][1] if (resolution, system) in columns else None
            for metric in metrics:
                paper = printed.get((subset, resolution, system, metric))
                cells[resolution, system, metric] = _read_cell(results, metric, paper)
    hashes = {column: results["model_hash"] for column, (_, results) in columns.items()}
    return Block(subset, split, n_test, metrics, cells, hashes)


def _check_same_scans(subset: str, runs: list[tuple[Run, dict[str, Any]]]) -> tuple[str, int]:
    """Refuse systems that were not evaluated on the same scans; return the split and the number of scans."""
    seen = {}
    for run, results in runs:
        scans = (results["split"], results["n_test"], read_settings(run.folder).get("dataset"))
        seen.setdefault(scans, run)
    if len(seen) > 1:
        one, other = list(seen.values())[:2]
        raise ValueError(
            f"{one.folder} and {other.folder} are of different scans of {subset}; evaluate both on the same"
        )
    split, n_test, _ = next(iter(seen))
    return split, n_test


def _read_cell(results: dict[str, Any] | None, metric: str, paper: float | None) -> Cell:
    if results is None:
        return Cell(missing=NO_RUN, paper=paper)
    if metric == FINDING_F1:
        low, high = (results.get("intervals") or {}).get("finding_f1") or (None, None)
        value = results.get("finding_f1")
        return Cell(value, low, high, NOT_IN_RESULTS if value is None else None, "argus findings|phantom truth", paper)
    found = results["metrics"].get(metric)
    if found is None:
        return Cell(missing=NOT_IN_RESULTS, paper=paper)
    if found["value"] is None:
        return Cell(missing=found.get("missing") or "not defined", signature=found.get("signature"), paper=paper)
    return Cell(found["value"], found.get("low"), found.get("high"), None, found.get("signature"), paper)
