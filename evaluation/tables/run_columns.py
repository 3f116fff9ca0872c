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

NO_RUN = "no evaluation in the runs file"
NOT_IN_RESULTS = "not among the results; evaluate again with this metric"
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
    seen: dict[tuple[str, int, str], Run] = {}
    for each in (each for place in columns.values() for each in place):
        scans = (each.results.split, each.results.n_test, read_settings(each.run.folder).dataset)
        seen.setdefault(scans, each.run)
    if len(seen) > 1:
        one, other = list(seen.values())[:2]
        raise ValueError(
            f"{one.folder} and {other.folder} are of different scans of {subset}; evaluate both on the same"
        )
    for place in columns.values():
        _check_seeds(subset, place)
    split, n_test, _ = next(iter(seen))
    return SubsetRuns(subset, split, n_test, {column: tuple(place) for column, place in columns.items()})


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
