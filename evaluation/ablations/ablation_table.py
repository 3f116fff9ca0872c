"""Make an ablation's tables for the terminal and as Markdown, with the measured order beside the paper's."""

from dataclasses import replace

from rich.box import SIMPLE
from rich.table import Table

from argus_processing.storage.markdown_table import literal_table, markdown_table

from .ablation_floors import different_test_sets, floors_of_panel, lacking_floors
from .ablation_results import AblationResults, PanelResults
from .ablation_statistics import MeasuredOrder, PairedDifference, Summary

NUM_COLUMNS = 5  # axes and metrics together; more do not fit the width of a terminal or of the README
NUMBER_WIDTH = len("0.123 ± 0.123")


def first_metrics(results: AblationResults, panel: PanelResults) -> AblationResults:
    """Return the results with only as many metrics as fit beside a panel's axes; `table.md` has all metrics."""
    return replace(results, metrics=results.metrics[: NUM_COLUMNS - len(panel.axes)])


def headings(results: AblationResults, panel: PanelResults) -> list[str]:
    """Return the headings of a panel's columns: its axes, the metrics, the seeds."""
    return [*panel.axes, *(name.replace("_", " ") for name in results.metrics), "seeds"]


def rows(results: AblationResults, panel: PanelResults) -> list[list[str]]:
    """Return a panel's cells as text: mean and sample standard deviation over the seeds."""
    return [
        [
            *cell.values.values(),
            *(mean_and_std(name, cell.summary[name]) for name in results.metrics),
            str(len(cell.runs)),
        ]
        for cell in panel.cells
    ]


def floor_rows(results: AblationResults, panel: PanelResults) -> list[list[str]]:
    """Return the floors of a panel as text, with the columns of `rows`."""
    *others, _ = panel.axes
    return [
        [f"floor: {title}", *("" for _ in others), *(_number(name, value) for name, value in shown), ""]
        for title, values in floors_of_panel(panel, results.metrics).items()
        if (shown := list(zip(results.metrics, values, strict=True)))
    ]


def _number(name: str, value: float | None) -> str:
    return mean_and_std(name, Summary(1, value, None, None, None))


def mean_and_std(name: str, summary: Summary) -> str:
    """Format `mean ± std`; only the mean for one seed and for counts, and a dash if the metric is not defined."""
    mean, std = summary.mean, summary.std
    if mean is None:
        return "-"
    if name.startswith("num_"):
        return f"{mean:.0f}"
    digits = 3 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def build_table(results: AblationResults, panel: PanelResults) -> Table:
    """Return a panel's first metrics as a rich table that never breaks a number over two lines."""
    shown = first_metrics(results, panel)
    title = f"{results.title}: {panel.title}, {len(results.seeds)} seed(s)"
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    *heads, _seeds = headings(shown, panel)
    for heading in heads:
        is_axis = heading in panel.axes
        table.add_column(heading, justify="left" if is_axis else "right", min_width=None if is_axis else NUMBER_WIDTH)
    for *row, _seeds in (*rows(shown, panel), *floor_rows(shown, panel)):
        table.add_row(*row)
    return table


def panel_markdown(results: AblationResults, panel: PanelResults) -> str:
    """Return a panel as a Markdown table with its notes under it."""
    shown = markdown_table(
        literal_table(headings(results, panel), [*rows(results, panel), *floor_rows(results, panel)])
    )
    return f"{shown}\n\n" + "\n\n".join(notes(results, panel))


def markdown(results: AblationResults) -> str:
    """Return the whole ablation as Markdown."""
    parts = [f"# {results.title}"]
    for panel in results.panels:
        parts += [f"## {panel.title}", panel_markdown(results, panel)]
    versions = ", ".join(f"{name} {number}" for name, number in results.versions.items())
    parts.append(f"{runs_text(results)} {versions}.")
    return "\n\n".join(parts) + "\n"


def runs_text(results: AblationResults) -> str:
    """Return a sentence with the number of runs, their time, their seeds, and the meaning of the numbers after ±."""
    seeds = results.seeds
    said = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    text = f"{results.num_runs} runs, {results.seconds / 60:.0f} min, {said}"
    if len(seeds) > 1:
        text += f"; {results.error_bars}; 95% intervals of paired differences by Student's t"
    return f"{text}."


def notes(results: AblationResults, panel: PanelResults) -> list[str]:
    """Return sentences with what is missing, the measured order of each axis and the paper's order."""
    lines = [f"Ours, not in the paper: {panel.ours}."] if panel.ours else []
    missing = {name: reason for cell in panel.cells for run in cell.runs for name, reason in run.missing.items()}
    lines += [f"{name} is missing: {missing[name]}." for name in results.metrics if name in missing]
    lines += filter(None, [different_test_sets(panel), lacking_floors(panel, results.score)])
    for axis, measured in panel.measured.items():
        if len(measured.order) > 1:
            lines.append(f"Measured order of {axis} by {results.score.replace('_', ' ')}: {order_text(measured)}.")
        if panel.paper.axis == axis:
            source = f" ({panel.paper.source})" if panel.paper.source else ""
            lines.append(f"The paper's: {' > '.join(panel.paper.order)}{source}.")
    return lines


def order_text(measured: MeasuredOrder) -> str:
    """Format an order; for each neighbouring pair, add the difference and whether the seeds show it clearly."""
    pairs = {(pair.better, pair.worse): pair for pair in measured.pairs}
    order = measured.order
    gaps = [f"{a} over {b}: {_gap(pairs[a, b])}" for a, b in zip(order, order[1:], strict=False)]
    return f"{' > '.join(order)} ({'; '.join(gaps)})"


def _gap(pair: PairedDifference) -> str:
    if pair.low is None:
        return f"{pair.difference:+.3f}, one seed" if pair.n else "no seed in common"
    verdict = "clear" if pair.clear else "not clear"
    return f"{pair.difference:+.3f}, 95% CI {pair.low:+.3f} to {pair.high:+.3f}, {verdict}"
