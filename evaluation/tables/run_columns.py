"""Collect the evaluations of a runs file by subset, resolution and system, and read the numbers of a table from them.

Runs of one system, size and resolution on one subset that differ only in their seed share a column: its numbers are the
means over the seeds, with the sample standard deviation. A number that could not be computed stays missing, with the
reason.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..benchmark.evaluation_results import EvaluationResults, read_results
from ..benchmark.run_list import Run, read_settings
from ..benchmark.scored_scans import difference
from ..floors.floor_list import FLOORS

NO_RUN = "no evaluation in the runs file"
NOT_IN_RESULTS = "not among the results; evaluate again with this metric"
NO_FLOOR = "no run has this floor"
NOT_DEFINED = "not defined on these reports"
Column = tuple[str, str]  # resolution and label of a system


@dataclass(frozen=True)
class SeedResults:
    """The results of one run."""

    run: Run
    results: EvaluationResults

    @property
    def seed(self) -> str:
        """Return the seed as text, empty if the runs file gives none."""
        return "" if self.run.seed is None else str(self.run.seed)


@dataclass(frozen=True)
class SubsetRuns:
    """The runs on the same scans of one subset, by column: one run, or one for each seed."""

    subset: str
    split: str
    n_test: int
    columns: dict[Column, tuple[SeedResults, ...]]

    def model_hashes(self, column: Column) -> dict[str, str]:
        """Return the hash of the model of each seed."""
        return {each.seed: each.results.model_hash for each in self.columns.get(column, ())}


@dataclass(frozen=True)
class TableNumber:
    """One number of a table: `value`, or None with the reason in `missing`.

    Attributes:
        low, high: the bootstrap interval of one run's value.
        sd: the sample standard deviation over seeds, if the value is their mean.
        by_seed: the value of each seed, if there are several.
        signature, scale: see `MetricValue`.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    missing: str | None = None
    signature: str | None = None
    scale: int = 100
    sd: float | None = None
    by_seed: dict[str, float] = field(default_factory=dict)


def collect_runs(runs: Sequence[Run], order: Sequence[str]) -> list[SubsetRuns]:
    """Read the results of all runs, by subset.

    Args:
        runs: see `run_list.py`.
        order: the first subsets; others follow by name.

    Raises:
        FileNotFoundError: if a run is not finished.
        ValueError: if runs of a subset have different scans, or runs in one place are not of different seeds.
    """
    by_subset: dict[str, dict[Column, list[SeedResults]]] = {}
    for run in runs:
        results = read_results(run.folder)
        place = by_subset.setdefault(results.subset, {}).setdefault((run.resolution, run.label), [])
        place.append(SeedResults(run, results))
    names = sorted(by_subset, key=lambda name: (order.index(name) if name in order else len(order), name))
    return [_checked(name, by_subset[name]) for name in names]


def _checked(subset: str, columns: Mapping[Column, Sequence[SeedResults]]) -> SubsetRuns:
    """Refuse runs on different scans, and runs in one place that are not of different seeds and models."""
    every = [each for place in columns.values() for each in place]
    is_told = all(each.results.scans for each in every)
    first = every[0]
    for each in every[1:]:
        if _test_set(each, is_told) != _test_set(first, is_told):
            told = difference(first.results.scans, each.results.scans)
            raise ValueError(
                f"{first.run.folder} and {each.run.folder} are of different scans of {subset}"
                f"{f': {told}' if told else ''}; evaluate both on the same"
            )
    for place in columns.values():
        _check_seeds(subset, place)
    split, n_test = first.results.split, first.results.n_test
    return SubsetRuns(subset, split, n_test, {column: tuple(place) for column, place in columns.items()})


def _test_set(each: SeedResults, is_told: bool) -> tuple[str, int, str]:
    """Return what two runs must share; results of earlier versions do not tell their scans, but their data set."""
    results = each.results
    if is_told and results.scans:
        return results.split, results.n_test, results.scans.references_sha256
    return results.split, results.n_test, read_settings(each.run.folder).dataset


def _check_seeds(subset: str, place: Sequence[SeedResults]) -> None:
    last, seeds = place[-1].run, {each.run.seed for each in place}
    if len(place) > 1 and (None in seeds or len(seeds) < len(place)):
        raise ValueError(
            f"{last.folder}: {last.name} comes twice on {subset}; give each of its runs its own seed, or leave one out"
        )
    if len({each.results.model_hash for each in place}) < len(place):
        raise ValueError(
            f"{last.folder}: the seeds of {last.name} on {subset} are not all of different models; name the folder of "
            "each seed's own model"
        )


def read_number(place: Sequence[SeedResults], metric: str) -> TableNumber:
    """Return a metric's value in a place: of its run, or the mean over the seeds if all of them have it."""
    if not place:
        return TableNumber(missing=NO_RUN)
    numbers = {each.seed: _number_of(each.results, metric) for each in place}
    if len(numbers) == 1:
        return next(iter(numbers.values()))
    for seed, number in numbers.items():
        if number.missing:
            return TableNumber(missing=f"seed {seed}: {number.missing}")
    signatures = sorted({number.signature or "" for number in numbers.values()})
    if len(signatures) > 1:
        return TableNumber(missing=f"computed differently for different seeds: {'; '.join(signatures)}")
    by_seed = {seed: number.value for seed, number in numbers.items() if number.value is not None}
    return TableNumber(
        statistics.fmean(by_seed.values()),
        signature=signatures[0],
        scale=next(iter(numbers.values())).scale,
        sd=statistics.stdev(by_seed.values()),
        by_seed=by_seed,
    )


def _number_of(results: EvaluationResults, metric: str) -> TableNumber:
    found = results.metrics.get(metric)
    if found is None:
        return TableNumber(missing=NOT_IN_RESULTS)
    reason = (found.missing or NOT_DEFINED) if found.value is None else None
    return TableNumber(found.value, found.low, found.high, reason, found.signature, found.scale)


def floors_of(runs: SubsetRuns, resolution: str | None = None) -> list[str]:
    """Return the floors that a run of a subset has, at one resolution or at any, in the order of `FLOORS`."""
    found = {floor for each in _runs_at(runs, resolution) for floor in each.results.controls}
    return [floor for floor in FLOORS if floor in found]


def read_floor(runs: SubsetRuns, resolution: str | None, floor: str, metric: str) -> TableNumber:
    """Return a floor's number: the highest that was computed with a run of a subset, at one resolution or at any.

    Constant reports are the same for all runs. The other floors depend on a run's vision tower or model; the highest
    one is what a system must exceed.
    """
    found = [
        number
        for each in _runs_at(runs, resolution)
        if floor in each.results.controls and (number := each.results.controls[floor].metrics.get(metric)) is not None
    ]
    known = [number for number in found if number.value is not None]
    if not known:
        return TableNumber(missing=next((each.missing for each in found if each.missing), NO_FLOOR))
    best = max(known, key=lambda number: number.value or 0.0)
    return TableNumber(best.value, best.low, best.high, None, best.signature, best.scale)


def _runs_at(runs: SubsetRuns, resolution: str | None) -> list[SeedResults]:
    places = (place for (at, _), place in runs.columns.items() if resolution in (None, at))
    return [each for place in places for each in place]
