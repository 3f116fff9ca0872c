"""A whole small ablation: trained, scored, stopped, gone on with, and written down."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from measured_tables import ablation_tables
from PIL import Image
from safetensors.torch import load_file

from argus_evaluation.ablations import ablation
from argus_evaluation.ablations.ablation_figure import divide, draw_panel, heading, save_figure
from argus_evaluation.ablations.ablation_results import (
    AblationResults,
    AblationRun,
    CellResults,
    PanelResults,
    PaperOrder,
    read_kept,
    write_kept,
)
from argus_evaluation.ablations.ablation_scores import score_folder
from argus_evaluation.ablations.ablation_statistics import order_of, summarize
from argus_evaluation.ablations.ablation_table import markdown, notes, rows
from argus_evaluation.ablations.compared_systems import compares_systems, write_runs
from argus_training import sft
from argus_training.ablations.ablation_grid import read_grid
from argus_training.stages import stage_training

DATA = {"num_train": 4, "num_validation": 1, "num_test": 2, "spacing_mm": [20.0, 12.0, 12.0]}
ONE_STAGE = {"sft": {"stage": "2"}}


def write_grid(folder: Path, llm: Path) -> Path:
    base = {
        "data": {"subset": "phantom", "subset_options": DATA},
        "preset": "argus-tiny",
        "llm": "given",
        "llms": {"given": {"path": str(llm)}},
        "vision": ["labels"],
        "objectives": {"labels": {"max_steps": 2}},
        "create": {"dtype": "float32"},
        "trainer": {
            "per_device_train_batch_size": 2,
            "max_steps": 2,
            "save_steps": 1,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "disable_tqdm": True,
        },
        "sft": {"gradient_checkpointing": False, "learning_rate": 1e-2},
        "evaluation": {"batch_size": 2, "max_new_tokens": 4},
    }
    grid = {
        "name": "tiny",
        "base": "base.yaml",
        "seeds": [0],
        "score": "report_loss",
        "metrics": ["finding_f1", "finding_f1_shuffled", "num_visual_tokens"],
        "panels": [{"axes": {"stages": {"2-stage": {}, "1-stage": ONE_STAGE}}}],
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    return folder / "grid.yaml"


@pytest.fixture(scope="module")
def grid(model_dir, tmp_path_factory) -> Path:
    return write_grid(tmp_path_factory.mktemp("grid"), model_dir.parent / "llm")


@pytest.fixture(scope="module")
def finished(grid, tmp_path_factory) -> Path:
    """The folder of an ablation that nothing interrupted."""
    out = tmp_path_factory.mktemp("ablation")
    ablation.run_ablation(grid, out)
    return out


def without_times(results: AblationResults) -> AblationResults:
    def timeless(run: AblationRun) -> AblationRun:
        # A configuration remembers the path it was loaded from.
        return replace(run, seconds=dict.fromkeys(sorted(run.seconds)), model_hash="")

    panels = tuple(
        replace(panel, cells=tuple(replace(cell, runs=tuple(map(timeless, cell.runs))) for cell in panel.cells))
        for panel in results.panels
    )
    return replace(results, panels=panels, seconds=0.0, seconds_of_this_start=None)


def read_results(out: Path) -> AblationResults:
    return read_kept(out / "results.json", AblationResults)


def test_every_cell_has_its_settings_seeds_scores_and_seconds(finished):
    results = read_results(finished)
    assert results.num_runs == 2 and results.seeds == (0,) and results.versions["torch"]
    two, one = results.panels[0].cells
    assert two.values == {"stages": "2-stage"} and one.settings["sft"]["stage"] == "2"
    assert two.runs[0].metrics["report_loss"] != one.runs[0].metrics["report_loss"]
    for cell in (two, one):
        losses = [run.metrics["report_loss"] for run in cell.runs]
        assert [run.seed for run in cell.runs] == [0] and losses[0] > 0
        assert cell.summary["report_loss"] == summarize(losses)
        assert cell.summary["num_visual_tokens"].mean == 8
        assert all(seconds >= 0 for run in cell.runs for seconds in run.seconds.values())
    # What both cells share is there once; then stage 1, stage 2 after it, and stage 2 alone.
    assert sorted(path.name.split("-")[0] for path in (finished / "steps").iterdir() if path.name != "data") == [
        "create",
        *["sft"] * 3,
        "vision",
    ]
    assert "2-stage" in (finished / "table.md").read_text()
    assert Image.open(finished / "figure.png").size[0] > 400


def test_a_finished_ablation_started_again_trains_nothing(grid, finished, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("trained again")

    for module, name in ((stage_training, "make_trainer"), (sft, "train_stage")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr("argus_evaluation.ablations.ablation_scores.evaluate_model", refuse)
    before = without_times(read_results(finished))
    assert without_times(ablation.run_ablation(grid, finished)) == before


def test_one_run_is_scored_alone_and_counts_for_every_grid(grid, finished, monkeypatch, tmp_path):
    monkeypatch.setattr("argus_evaluation.ablations.ablation.score_training", lambda *arguments: arguments)
    name = sorted(path.name for path in (finished / "scores").iterdir())[0]
    _, seed, scores, steps = ablation.score_run(grid, tmp_path, name, scores=finished / "scores", steps=finished)
    assert (seed, scores, steps) == (0, finished / "scores", finished)
    with pytest.raises(ValueError, match="grid.yaml: has no run sft-1 with this base recipe"):
        ablation.score_run(grid, tmp_path, "sft-1")


def test_a_grid_of_systems_names_the_folders_of_their_evaluations(grid, tmp_path):
    systems = {"system": {"Argus": {}}, "size": {"8B": {}}, "resolution": {"nr": {}}}
    content = yaml.safe_load(grid.read_text()) | {"seeds": [3, 4], "panels": [{"axes": systems}]}
    (tmp_path / "systems.yaml").write_text(yaml.safe_dump(content | {"base": str(grid.parent / "base.yaml")}))
    (tmp_path / "out").mkdir()
    compared = read_grid(tmp_path / "systems.yaml")
    assert compares_systems(compared) and not compares_systems(read_grid(grid))
    write_runs(compared, (3, 4), tmp_path / "out" / "runs.yaml", tmp_path / "scores", tmp_path)
    runs = yaml.safe_load((tmp_path / "out" / "runs.yaml").read_text())["runs"]
    (cell,) = compared.cells()
    folders = [f"../scores/{score_folder(cell.settings, seed, Path()).name}" for seed in (3, 4)]
    common = {"system": "Argus", "size": "8B", "resolution": "nr"}
    assert runs == [common | {"seed": seed, "folder": folder} for seed, folder in zip((3, 4), folders, strict=True)]


def test_another_grids_results_are_refused(grid, finished, tmp_path):
    other = yaml.safe_load(grid.read_text()) | {"name": "other", "base": str(grid.parent / "base.yaml")}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(ValueError, match="name tiny, not other"):
        ablation.run_ablation(tmp_path / "other.yaml", finished)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from argus_training.stages import stage_training
from transformers import TrainerCallback
from argus_evaluation.metrics import meteor
from argus_evaluation.ablations.ablation import run_ablation

meteor._find_java = lambda: None  # as in the process that goes on

class Killer(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        # In the second cell, with the first one's two stages done, after a checkpoint of its own.
        if len(list(Path({out!r}).glob("steps/sft-*/stage*/model"))) == 2 and state.global_step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

make_trainer = stage_training.make_trainer
def make_doomed_trainer(*arguments):
    trainer = make_trainer(*arguments)
    trainer.add_callback(Killer())
    return trainer
stage_training.make_trainer = make_doomed_trainer
run_ablation(Path({grid!r}), Path({out!r}))
"""


def test_killed_in_the_middle_it_goes_on_and_ends_as_if_it_had_run_through(grid, finished, tmp_path):
    script = KILLED.format(grid=str(grid), out=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
    assert killed.returncode == -9, killed.stderr[-2000:]
    assert len(list(tmp_path.glob("steps/sft-*/stage*/model"))) == 2 and not (tmp_path / "results.json").exists()
    ablation.run_ablation(grid, tmp_path)
    through, resumed = (without_times(read_results(out)) for out in (finished, tmp_path))
    assert resumed == through
    for path in finished.glob("steps/sft-*/stage*/model/model.safetensors"):
        ours, other = load_file(path), load_file(tmp_path / path.relative_to(finished))
        assert all((ours[name] == other[name]).all() for name in ours)


def known_cell(first: str, second: str, scores: list[float]) -> CellResults:
    runs = tuple(AblationRun(seed=seed, metrics={"f1": score}, seconds={}) for seed, score in enumerate(scores))
    return CellResults({"compressor": first, "stages": second}, {"f1": summarize(scores)}, runs, {})


@pytest.fixture
def known() -> AblationResults:
    cells = (
        known_cell("shuffle", "two", [0.5, 0.6, 0.7]),
        known_cell("shuffle", "one", [0.2, 0.2, 0.2]),
        known_cell("pool", "two", [0.4, 0.5, 0.6]),
        known_cell("pool", "one", [0.1, 0.2, 0.3]),
    )
    panel = PanelResults(
        title="Panel",
        axes={"compressor": ("shuffle", "pool"), "stages": ("two", "one")},
        cells=cells,
        measured={"compressor": order_of({"shuffle": {0: 0.5, 1: 0.6, 2: 0.7}, "pool": {0: 0.4, 1: 0.5, 2: 0.6}})},
        paper=PaperOrder("compressor", ("pool", "shuffle"), "somewhere"),
    )
    return AblationResults(
        name="known",
        title="Known",
        seeds=(0, 1, 2),
        score="f1",
        metrics=("f1",),
        error_bars="mean and sample standard deviation over seeds",
        panels=(panel,),
        num_runs=12,
        seconds=90.0,
        versions={"torch": "1"},
    )


def test_a_file_holds_everything_and_one_that_is_damaged_is_refused(known, tmp_path):
    path = tmp_path / "results.json"
    write_kept(path, known)
    assert read_kept(path, AblationResults) == known
    path.write_text(path.read_text().replace("12,", '"12",'))
    with pytest.raises(ValueError, match="results.json: is damaged .num_runs: expected a whole number.*; remove it"):
        read_kept(path, AblationResults)


def test_a_run_that_an_earlier_version_scored_is_read(tmp_path):
    metrics = {"n_test": 2, "finding_f1": 0.5, "laterality_accuracy": None, "n_sided": 0, "finding_f1_blank": 0.25}
    kept = {"metrics": metrics, "model_hash": "ab", "num_scans": 2, "seconds": {"sft-1": 1.5}, "model": "sft-1"}
    (tmp_path / "score.json").write_text(json.dumps(kept))
    run = read_kept(tmp_path / "score.json", AblationRun)
    assert (run.metrics, run.seconds, run.num_scans) == (metrics, {"sft-1": 1.5}, 2)
    write_kept(tmp_path / "score.json", run)
    assert json.loads((tmp_path / "score.json").read_text()) == kept


def test_the_table_holds_mean_and_deviation_and_both_orders(known):
    assert rows(known, known.panels[0])[:2] == [
        ["shuffle", "two", "0.600 ± 0.100", "3"],
        ["shuffle", "one", "0.200 ± 0.000", "3"],
    ]
    for text in (markdown(known), ablation_tables(known)):
        assert "| shuffle | two | 0.600 ± 0.100 | 3 |" in text
        assert "Measured order of compressor by f1: shuffle > pool" in text
        assert "The paper's: pool > shuffle (somewhere)." in text
        assert "12 runs, 2 min, seeds 0, 1, 2; mean and sample standard deviation over seeds; 95% intervals" in text
    assert markdown(replace(known, seeds=(0,))).endswith("12 runs, 2 min, seed 0. torch 1.\n")


def test_the_figure_draws_the_means_with_their_deviations(known):
    (plot,) = divide(known.panels[0])
    ax = Figure().subplots()
    draw_panel(ax, *plot, "f1")
    bars = [container for container in ax.containers if isinstance(container, BarContainer)]
    heights = [[round(bar.get_height(), 6) for bar in series] for series in bars]
    assert heights == [[0.6, 0.5], [0.2, 0.2]]
    (error_bars,) = bars[0].errorbar.lines[2]
    (first, _) = error_bars.get_segments()
    assert first[:, 1].tolist() == pytest.approx([0.5, 0.7])


def test_an_axis_of_numbers_is_drawn_as_a_line(known, tmp_path):
    panel = replace(known.panels[0], axes={"compressor": ("25%", "100%"), "stages": ("two", "one")})
    for cell in panel.cells:
        cell.values["compressor"] = {"shuffle": "25%", "pool": "100%"}[cell.values["compressor"]]
    ax = Figure().subplots()
    draw_panel(ax, *divide(panel)[0], "f1")
    lines = [container for container in ax.containers if isinstance(container, ErrorbarContainer)]
    assert lines[0].lines[0].get_xdata().tolist() == [25.0, 100.0]
    save_figure(replace(known, panels=(panel,)), tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").format == "PNG"


def test_a_narrow_figure_breaks_its_heading_and_one_seed_has_no_bars(known):
    lines = heading(known, 4.4).split("\n")
    assert lines[0] == known.title and " ".join(lines[1:]) == f"{known.error_bars}; dots: seeds"
    assert max(map(len, lines)) <= 4.4 * 14
    assert heading(replace(known, seeds=(0,)), 4.4).endswith("one run a cell, no error bars")


def test_a_third_axis_gives_each_of_its_values_a_plot(known):
    panel = known.panels[0]
    panel = replace(panel, axes={**panel.axes, "grid": ("nr", "hr")})
    for cell, grid in zip(panel.cells, ["nr", "hr", "nr", "hr"], strict=True):
        cell.values["grid"] = grid
    plots = divide(panel)
    assert [title for title, _, _ in plots] == ["Panel\ngrid: nr", "Panel\ngrid: hr"]
    assert [len(cells) for _, _, cells in plots] == [2, 2]


def test_a_fourth_axis_has_plots_too_and_what_is_ours_says_so(known):
    (panel,) = known.panels
    panel = replace(panel, axes={**panel.axes, "projector": ("1", "2"), "grid": ("nr", "hr")}, ours="no compressor")
    for cell, projector in zip(panel.cells, ["1", "2", "1", "2"], strict=True):
        cell.values.update(projector=projector, grid="nr")
    plots = divide(panel)
    assert [title for title, _, _ in plots] == [
        f"Panel (ours)\nprojector: {projector}, grid: {grid}" for projector in "12" for grid in ("nr", "hr")
    ]
    assert [len(cells) for _, _, cells in plots] == [2, 0, 2, 0]
    assert notes(known, panel)[0] == "Ours, not in the paper: no compressor."
    run = replace(panel.cells[0].runs[0], missing={known.score: "pip install x", "another": "not shown"})
    lacking = replace(panel, cells=(replace(panel.cells[0], runs=(run,)),))
    assert notes(known, lacking)[1] == f"{known.score} is missing: pip install x."
