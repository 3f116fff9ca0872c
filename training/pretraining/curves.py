"""Save the curves of a training run, as numbers and as a picture."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from argus_processing.storage.whole_files import whole_file, write_json

# name of a curve -> its key in the trainer's log
CURVES = {"train": "loss", "validation": "eval_loss", "learning_rate": "learning_rate"}


def curves_of(log_history: list[dict]) -> dict[str, list[list[float]]]:
    """Return `[step, value]` pairs of each curve from a trainer's log."""
    return {
        name: [[entry["step"], entry[key]] for entry in log_history if key in entry] for name, key in CURVES.items()
    }


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all."""
    FigureCanvasAgg(figure)
    with whole_file(path) as part:
        figure.savefig(part, dpi=110)


def save_curves(log_history: list[dict], folder: Path, title: str) -> None:
    """Write `curves.json` and `curves.png` of a trainer's log into a folder."""
    curves = curves_of(log_history)
    write_json(folder / "curves.json", curves)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in ("train", "validation"):
        if curves[name]:
            steps, values = zip(*curves[name], strict=True)
            axes.plot(steps, values, label=name, marker="o" if len(steps) < 30 else None, markersize=3)
    axes.set(title=title, xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    save_figure(figure, folder / "curves.png")
