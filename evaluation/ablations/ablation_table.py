"""The tables of an ablation: for the terminal and as Markdown, with the measured order beside the paper's."""

from typing import Any

from rich.box import SIMPLE
from rich.table import Table

NUM_COLUMNS = 5  # axes and metrics together; more do not fit the width of a terminal or of the README
NUMBER_WIDTH = len("0.123 ± 0.123")


def first_metrics(results: dict[str, Any], panel: dict[str, Any]) -> dict[str, Any]:
    """Return the results with only as many metrics as fit beside a panel's axes; `table.md` has all metrics."""
    return results | {"metrics": results["metrics"][: NUM_COLUMNS - len(panel["axes"])]}


def headings(results: dict[str, Any], panel: dict[str, Any]) -> list[str]:
    """Return the headings of a panel's columns: its axes, the metrics, the seeds."""
    return [*panel["axes"], *(name.replace("_", " ") for name in results["metrics"]), "seeds"]


def rows(results: dict[str, Any], panel: dict[str, Any]) -> list[list[str]]:
    """Return a panel's cells as text: mean and sample standard deviation over the seeds."""
    return [
        [
            *cell["values"].values(),
            *(mean_and_std(name, cell["summary"][name]) for name in results["metrics"]),
            str(len(cell["runs"])),
        ]
        for cell in panel["cells"]
    ]


def mean_and_std(name: str, summary: dict[str, Any]) -> str:
    """Format `mean ± std`; only the mean for one seed and for counts, and a dash if the metric is not defined."""
    mean, std = summary["mean"], summary["std"]
    if mean is None:
        return "-"
    if name.startswith("num_"):
        return f"{mean:.0f}"
    digits = 3 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def build_table(results: dict[str, Any], panel: dict[str, Any]) -> Table:
    """Return a panel's first metrics as a rich table that never breaks a number over two lines."""
    shown = first_metrics(results, panel)
    title = f"{results['title']}: {panel['title']}, {len(results['seeds'])} seed(s)"
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    *heads, _seeds = headings(shown, panel)
    for heading in heads:
        is_axis = heading in panel["axes"]
        table.add_column(heading, justify="left" if is_axis else "right", min_width=None if is_axis else NUMBER_WIDTH)
    for *row, _seeds in rows(shown, panel):
        table.add_row(*row)
    return table


def panel_markdown(results: dict[str, Any], panel: dict[str, Any]) -> str:
    """Return a panel as a Markdown table with its notes under it."""
    heads = headings(results, panel)
    lines = [" | ".join(heads), " | ".join("---" for _ in heads), *(" | ".join(row) for row in rows(results, panel))]
    return "\n".join(f"| {line} |" for line in lines) + "\n\n" + "\n\n".join(notes(results, panel))


def markdown(results: dict[str, Any]) -> str:
    """Return the whole ablation as Markdown."""
    parts = [f"# {results['title']}"]
    for panel in results["panels"]:
        parts += [f"## {panel['title']}", panel_markdown(results, panel)]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    parts.append(f"{runs_text(results)} {versions}.")
    return "\n\n".join(parts) + "\n"


def runs_text(results: dict[str, Any]) -> str:
    """Return a sentence with the number of runs, their time, their seeds, and the meaning of the numbers after ±."""
    seeds = results["seeds"]
    said = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    text = f"{results['num_runs']} runs, {results['seconds'] / 60:.0f} min, {said}"
    if len(seeds) > 1:
        text += f"; {results['error_bars']}; 95% intervals of paired differences by Student's t"
    return f"{text}."


def notes(results: dict[str, Any], panel: dict[str, Any]) -> list[str]:
    """Return sentences with the measured order of each axis and the paper's order."""
    lines = []
    for axis, measured in panel["measured"].items():
        if len(measured["order"]) > 1:
            lines.append(f"Measured order of {axis} by {results['score'].replace('_', ' ')}: {order_text(measured)}.")
        if panel["paper"] and panel["paper"]["axis"] == axis:
            source = panel["paper"].get("source")
            lines.append(f"The paper's: {' > '.join(panel['paper']['order'])}" + (f" ({source})." if source else "."))
    return lines


def order_text(measured: dict[str, Any]) -> str:
    """Format an order; for each neighbouring pair, add the difference and whether the seeds show it clearly."""
    pairs = {(pair["better"], pair["worse"]): pair for pair in measured["pairs"]}
    order = measured["order"]
    gaps = [f"{a} over {b}: {_gap(pairs[a, b])}" for a, b in zip(order, order[1:], strict=False)]
    return f"{' > '.join(order)} ({'; '.join(gaps)})"


def _gap(pair: dict[str, Any]) -> str:
    if pair["low"] is None:
        return f"{pair['difference']:+.3f}, one seed" if pair["n"] else "no seed in common"
    verdict = "clear" if pair["clear"] else "not clear"
    return f"{pair['difference']:+.3f}, 95% CI {pair['low']:+.3f} to {pair['high']:+.3f}, {verdict}"
