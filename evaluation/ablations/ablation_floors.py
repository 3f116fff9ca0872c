"""Find the floors of an ablation's panel among the scores of its runs."""

from collections.abc import Sequence
from statistics import fmean

from ..floors.floor_list import FLOORS, missing_floors, title_of
from .ablation_results import CellResults, PanelResults


def floor_value(cells: Sequence[CellResults], metric: str, floor: str) -> float | None:
    """Return the highest value that a floor has in any cell, each the mean over its seeds; None if no run has it."""
    means = []
    for cell in cells:
        values = [run.metrics.get(name_of(metric, floor, run.metrics)) for run in cell.runs]
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            means.append(fmean(known))
    return max(means, default=None)


def name_of(metric: str, floor: str, known: dict[str, float | None]) -> str:
    """Return the name under which a run has a floor's score; that of a subset, "GREEN inspect", ends in the subset."""
    whole = f"{metric}_{floor}"
    head, _, subset = metric.rpartition(" ")
    return whole if whole in known or not head else f"{head}_{floor} {subset}"


def floors_of_panel(panel: PanelResults, metrics: Sequence[str]) -> dict[str, list[float | None]]:
    """Return by title the values of every floor that a run of the panel has, in the order of the metrics."""
    rows = {title_of(floor): [floor_value(panel.cells, metric, floor) for metric in metrics] for floor in FLOORS}
    return {title: values for title, values in rows.items() if any(value is not None for value in values)}


def highest_floor(cells: Sequence[CellResults], metric: str) -> tuple[str, float] | None:
    """Return the title and value of the highest floor of a metric; None if no run has one."""
    values = {title_of(floor): floor_value(cells, metric, floor) for floor in FLOORS}
    known = {title: value for title, value in values.items() if value is not None}
    return max(known.items(), key=lambda item: item[1], default=None)


def scores_reports(panel: PanelResults) -> bool:
    """Return whether a panel's runs scored reports, which have floors."""
    return any(run.num_scans is not None for cell in panel.cells for run in cell.runs)


def lacking_floors(panel: PanelResults, score: str) -> str:
    """Return one sentence with the floors that a panel of reports lacks; empty if it lacks none."""
    if not scores_reports(panel):
        return ""
    return missing_floors([floor for floor in FLOORS if floor_value(panel.cells, score, floor) is not None])


def different_test_sets(panel: PanelResults) -> str:
    """Return one sentence if runs of a panel were scored on different test sets, as far as they tell them."""
    runs = [run for cell in panel.cells for run in cell.runs]
    sets = {(run.test_set, run.num_scans) for run in runs if run.test_set}
    counts = {run.num_scans for run in runs if run.num_scans is not None}
    if len(sets) < 2 and len(counts) < 2:
        return ""
    told = " and ".join(str(count) for count in sorted(counts))
    return f"NOT ONE TEST SET: the runs were scored on different scans ({told}), so their numbers do not compare."
