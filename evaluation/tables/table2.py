"""Fill the paper's Table 2 from result files: system-size x subset, each number with the paper's and the difference.

Ours and the paper's are never mixed: a number that could not be computed stays missing, with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from argus_processing.curation.overview.table1 import read_paper_table1

from ..benchmark.run_list import Run
from ..floors.floor_list import FLOORS, title_of
from ..metrics.clinical.stand_ins import STAND_INS
from .paper_table2 import PaperTable2, Resolution, read_paper_table2, read_paper_values
from .run_columns import SubsetRuns, TableNumber, collect_runs, floors_of, read_floor, read_number

Place = tuple[str, str]  # subset and the paper's heading


@dataclass(frozen=True)
class Table2Cell:
    """One place of the table: our number and the paper's; `best` is the best of a block's column, of each apart."""

    ours: TableNumber
    paper: float | None = None
    best: bool = False
    paper_best: bool = False

    @property
    def difference(self) -> float | None:
        """Return ours minus the paper's, if both are there."""
        return None if self.ours.value is None or self.paper is None else self.ours.value - self.paper


@dataclass(frozen=True)
class Table2Row:
    """One system of one size; `has_run` tells whether the runs file names it at this resolution."""

    label: str
    cells: dict[Place, Table2Cell]
    model_hashes: dict[str, dict[str, str]]

    @property
    def has_run(self) -> bool:
        """Return whether the runs file names it at this resolution, for any subset."""
        return bool(self.model_hashes)


@dataclass(frozen=True)
class Table2Block:
    """One resolution: the systems, and the floors that its runs have."""

    resolution: str
    title: Resolution
    rows: tuple[Table2Row, ...]
    floors: tuple[Table2Row, ...] = ()


@dataclass(frozen=True)
class Table2:
    """The whole table.

    Attributes:
        source: where the paper's numbers are printed.
        subsets: headings by subset; the paper's, then others that have a run.
        metrics: names of our metrics by the paper's headings, and stand-ins by their own names, if a run has them.
        blocks: one for each resolution.
        runs: the runs by subset.
    """

    source: str
    subsets: dict[str, str]
    metrics: dict[str, str]
    blocks: tuple[Table2Block, ...]
    runs: tuple[SubsetRuns, ...]

    @property
    def places(self) -> list[Place]:
        """Return the columns."""
        return [(subset, heading) for subset in self.subsets for heading in self.metrics]

    @property
    def rows(self) -> list[tuple[Table2Block, Table2Row]]:
        """Return every row with its block."""
        return [(block, row) for block in self.blocks for row in block.rows]


def build_table2(runs: Sequence[Run]) -> Table2:
    """Fill the table from the runs' `results.json`.

    Args:
        runs: see `run_list.py`; systems, sizes and subsets that are not in the paper follow the paper's.

    Raises:
        FileNotFoundError, ValueError: as `collect_runs`.
    """
    return fill_table2(collect_runs(runs, list(read_paper_table2().subsets)))


def fill_table2(runs: Sequence[SubsetRuns]) -> Table2:
    """Fill the table from runs that were collected by subset."""
    paper = read_paper_table2()
    collected = {found.subset: found for found in runs}
    subsets = paper.subsets | {name: name for name in collected if name not in paper.subsets}
    paper = replace(paper, subsets=subsets, metrics=paper.metrics | _stand_ins(runs))
    labels = list(dict.fromkeys([*paper.rows, *(label for found in runs for _, label in found.columns)]))
    blocks = tuple(
        Table2Block(
            at,
            title,
            tuple(_mark_best([_row(paper, at, label, collected) for label in labels])),
            _floor_rows(paper, at, collected),
        )
        for at, title in paper.resolutions.items()
    )
    return Table2(paper.source, subsets, paper.metrics, blocks, tuple(runs))


def _stand_ins(runs: Sequence[SubsetRuns]) -> dict[str, str]:
    """Return the stand-ins for clinical metrics that a run has; each is a column of its own, under its own name."""
    places = [each.results.metrics for found in runs for place in found.columns.values() for each in place]
    return {name: name for name in STAND_INS if any(name in metrics for metrics in places)}


def _row(paper: PaperTable2, resolution: str, label: str, collected: Mapping[str, SubsetRuns]) -> Table2Row:
    """Return a row with the columns of this layout, which may hold more than the paper's."""
    printed, column = read_paper_values(), (resolution, label)
    cells = {}
    for subset in paper.subsets:
        place = collected[subset].columns.get(column, ()) if subset in collected else ()
        for heading, metric in paper.metrics.items():
            value = printed.get((resolution, label, subset, heading))
            cells[subset, heading] = Table2Cell(read_number(place, metric), value)
    hashes = {subset: found.model_hashes(column) for subset, found in collected.items() if column in found.columns}
    return Table2Row(label, cells, hashes)


def _floor_rows(paper: PaperTable2, resolution: str, collected: Mapping[str, SubsetRuns]) -> tuple[Table2Row, ...]:
    computed = {floor for runs in collected.values() for floor in floors_of(runs, resolution)}
    return tuple(
        Table2Row(
            title_of(floor),
            {
                (subset, heading): Table2Cell(read_floor(collected[subset], resolution, floor, metric))
                for subset in paper.subsets
                if subset in collected
                for heading, metric in paper.metrics.items()
            },
            {},
        )
        for floor in FLOORS
        if floor in computed
    )


def _mark_best(rows: Sequence[Table2Row]) -> list[Table2Row]:
    """Mark the best of each column; numbers that were computed in different ways have no best, nor has a single one."""
    best = {place: _best_of([row.cells[place] for row in rows]) for place in rows[0].cells}
    return [
        Table2Row(
            row.label,
            {
                place: Table2Cell(cell.ours, cell.paper, *_is_best(cell, *best[place]))
                for place, cell in row.cells.items()
            },
            row.model_hashes,
        )
        for row in rows
    ]


def _best_of(cells: Sequence[Table2Cell]) -> tuple[float | None, float | None]:
    ours = [cell.ours for cell in cells if cell.ours.value is not None]
    values = [number.value for number in ours if number.value is not None]
    is_comparable = len(values) > 1 and len({number.signature for number in ours}) == 1
    return max(values) if is_comparable else None, max(
        (cell.paper for cell in cells if cell.paper is not None), default=None
    )


def _is_best(cell: Table2Cell, ours: float | None, paper: float | None) -> tuple[bool, bool]:
    return ours is not None and cell.ours.value == ours, paper is not None and cell.paper == paper


def other_test_sets(table: Table2) -> list[str]:
    """Return the subsets whose scans cannot be the paper's, because their number or their split is another."""
    tests = {name: numbers.test for name, numbers in read_paper_table1().subsets.items()}
    return [
        f"{table.subsets[runs.subset]}: {runs.n_test:,} reports of {runs.split} here, {tests[runs.subset]:,} of test "
        "in the paper, so the differences are of other scans."
        for runs in table.runs
        if runs.subset in tests and (runs.split, runs.n_test) != ("test", tests[runs.subset])
    ]
