"""The jobs of a plan: shared, in order, and each a command that the program it calls takes."""

import shlex
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from typer.main import get_command

from argus_cli.main import app
from argus_evaluation.ablations import ablation_scores
from argus_evaluation.reproduction.job_states import jobs_left, jobs_waiting
from argus_evaluation.reproduction.jobs import KINDS, Job, list_jobs
from argus_evaluation.reproduction.paper_plan import read_plan
from argus_training import ablate
from argus_training.ablations.ablation_grid import read_grid

ROOT = Path(__file__).parents[3]
PLANS = sorted(path.relative_to(ROOT) for path in (ROOT / "training" / "recipes" / "paper").glob("*.yaml"))
OUT = Path("runs/paper")


def jobs_of(file: Path) -> list[Job]:
    return list_jobs(file, read_plan(file), OUT)


def named(jobs: list[Job]) -> dict[str, Job]:
    return {job.name: job for job in jobs}


ACCELERATED = {"kind": "accelerate", "processes": 8, "configs": {"vision": "ddp.yaml", "sft": "zero3.yaml"}}


def check_order(jobs: list[Job]) -> None:
    seen: set[str] = set()
    for job in jobs:
        assert seen.issuperset(job.needs) and job.name not in seen
        seen.add(job.name)
    assert jobs[-1].name == "gather" and {job.kind for job in jobs} <= set(KINDS)


def test_what_grids_and_seeds_share_is_one_job_before_what_needs_it(change):
    jobs = jobs_of(change(launcher=ACCELERATED))
    check_order(jobs)
    # Argus's two stages are a cell of both grids with one seed; its tower is trained once for both seeds.
    assert Counter(job.kind for job in jobs) == {
        "phantom": 2, "prepare": 1, "vision": 1, "create": 4, "sft": 8 + 1, "score": 4 + 1, "result": 7,
    }  # fmt: skip


def test_on_one_machine_only_what_several_cells_share_is_trained_apart(plan_file):
    jobs = jobs_of(plan_file)
    check_order(jobs)
    # The tower, and the model of the first seed before its two-stage and its one-stage training.
    assert Counter(job.kind for job in jobs) == {
        "phantom": 2, "prepare": 1, "vision": 1, "create": 1, "score": 5, "result": 7,
    }  # fmt: skip
    (tower,), (model,) = ([job for job in jobs if job.kind == kind] for kind in ("vision", "create"))
    assert model.needs == (tower.name,)
    needs = [set(job.needs) - {"prepare"} for job in jobs if job.kind == "score"]
    assert needs == [set(), {model.name}, set(), {tower.name}, {model.name}]


def test_phantoms_take_the_place_of_the_downloads(plan_file):
    jobs = named(jobs_of(plan_file))
    assert shlex.join(jobs["phantom-inspect"].command) == (
        "argus phantom runs/paper/downloads/inspect --layout inspect --n 9 --seed 0"
    )
    assert shlex.join(jobs["prepare"].command) == (
        "argus prepare data --ct-rate runs/paper/downloads/ct-rate --inspect runs/paper/downloads/inspect --workers 2"
    )
    assert jobs["prepare"].needs == ("phantom-ct-rate", "phantom-inspect")


def test_trainings_are_launched_each_by_the_configuration_of_its_kind(change):
    starts = {job.kind: shlex.join(job.command).split(" --config ")[0] for job in jobs_of(change(launcher=ACCELERATED))}
    script = ablate.__file__
    assert starts["vision"] == f"accelerate launch --config_file recipes/ddp.yaml --num_processes 8 {script}"
    assert starts["sft"] == f"accelerate launch --config_file recipes/zero3.yaml --num_processes 8 {script}"
    assert starts["create"] == f"python {script}"
    assert starts["score"].startswith("argus ablate ")


def test_a_number_of_threads_is_part_of_every_command(change):
    jobs = jobs_of(change(launcher={"threads": 1}))
    assert all(job.command[:2] == ("env", "OMP_NUM_THREADS=1") for job in jobs)


def test_a_grid_with_another_title_or_score_is_another_table(plan_file):
    before = named(jobs_of(plan_file))
    grid = Path("recipes/figure4.yaml")
    said = yaml.safe_load(grid.read_text())
    for change in (
        {"title": "Other"},
        {"score": "BLEU-1"},
        {"metrics": ["CIDEr"]},
        {"panels": [said["panels"][0] | {"ours": "all"}]},
    ):
        grid.write_text(yaml.safe_dump(said | change, sort_keys=False))
        after = named(jobs_of(plan_file))
        assert {name for name in before if before[name] != after[name]} == {"figure4"}
        assert after["figure4"].needs == before["figure4"].needs


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"grids": ["figure4.yaml"]}, "figure7 and table4 need a grid with the axes system and resolution"),
        ({"grids": ["table2.yaml", "copy.yaml"]}, "another grid of the plan has the name table2 too"),
        ({"grids": ["table2.yaml", "more.yaml"]}, "table2, more all compare systems, and Table 2 is made from one"),
        ({"base": "nowhere.yaml"}, "no data_dir"),
    ],
)
def test_a_plan_whose_grids_do_not_fit_is_refused(change, keys, message):
    folder = Path("recipes")
    (folder / "copy.yaml").write_text((folder / "table2.yaml").read_text())
    (folder / "more.yaml").write_text(
        yaml.safe_dump(yaml.safe_load((folder / "copy.yaml").read_text()) | {"name": "more"})
    )
    base = yaml.safe_load((folder / "base.yaml").read_text()) | {"data": {"subset": "phantom"}}
    (folder / "nowhere.yaml").write_text(yaml.safe_dump(base))
    with pytest.raises(ValueError, match=message):
        jobs_of(change(**keys))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"figure7": {"subset": "ct-rate", "systems": ["M3D NR"]}},
            "figure7: recipes/table2.yaml has no M3D NR; it has M3D nr, Argus nr",
        ),
        ({"table4": {"systems": ["Argus hr"]}}, "table4: recipes/table2.yaml has no Argus hr"),
        (
            {"figure7": {"subset": "bimcv-r", "systems": ["Argus nr"]}},
            "figure7: recipes/base.yaml evaluates no bimcv-r; it evaluates ct-rate, inspect",
        ),
        (
            {"figure7": {"subset": "ct-rate", "systems": ["Argus nr"], "findings": "green"}},
            "figure7: findings: recipes/base.yaml does not ask for the clinical metric green",
        ),
    ],
)
def test_what_figure_7_and_table_4_ask_for_is_checked_first(change, keys, message):
    with pytest.raises(ValueError, match=f"^recipes/plan.yaml: {message}"):
        jobs_of(change(**keys))


def test_a_grid_with_the_name_of_another_job_is_refused(plan_file):
    grid = Path("recipes/figure4.yaml")
    grid.write_text(grid.read_text().replace("name: figure4", "name: figure7"))
    with pytest.raises(ValueError, match="figure7 is the name of a grid and of another job; rename the grid"):
        jobs_of(plan_file)


def test_an_unknown_clinical_metric_is_refused_before_any_training(plan_file):
    base = Path("recipes/base.yaml")
    base.write_text(base.read_text().replace("stand-in", "gren"))
    with pytest.raises(ValueError, match="^recipes/table2.yaml: evaluation.clinical: unknown gren; known: radgraph"):
        jobs_of(plan_file)


def test_a_misspelt_score_is_refused_before_any_training(plan_file):
    base = Path("recipes/base.yaml")
    base.write_text(base.read_text().replace("score: report_loss", "score: reports_loss"))
    told = "^recipes/table2.yaml: its evaluation gives no score reports_loss; did you mean report_loss?"
    with pytest.raises(ValueError, match=told):
        jobs_of(plan_file)


def test_a_resolution_that_table_2_does_not_know_is_refused(plan_file):
    grid = Path("recipes/table2.yaml")
    grid.write_text(grid.read_text().replace("nr: {}", "low: {}"))
    with pytest.raises(ValueError, match="^recipes/table2.yaml: the axis resolution has nr and hr, not low"):
        jobs_of(plan_file)


def test_a_page_waits_for_weights_and_nothing_waits_for_it(change, monkeypatch):
    base = Path("recipes/base.yaml")
    said = yaml.safe_load(base.read_text())
    base.write_text(yaml.safe_dump(said | {"evaluation": said["evaluation"] | {"clinical": ["green"]}}))
    file = change(figure7={"subset": "ct-rate", "systems": ["Argus nr"], "findings": "green"})
    reason: list[str | None] = ["no weights"]
    metric = SimpleNamespace(missing=lambda: reason[0])
    monkeypatch.setattr(ablation_scores, "clinical_metrics", lambda asked, options: {"GREEN": metric})
    jobs = jobs_of(file)
    assert jobs_waiting(jobs, OUT) == {"figure7": "no weights"}
    left = {job.name for job in jobs_left(jobs, OUT)}
    assert left == {job.name for job in jobs} - {"figure7"}
    reason[0] = None
    assert jobs_waiting(jobs, OUT) == {} and jobs_left(jobs, OUT) == jobs


PROGRAM = get_command(app)
TRAINING = ablate.build_parser()


def parse_argus(words: list[str]) -> None:
    context = PROGRAM.make_context("argus", words)
    name, command, rest = PROGRAM.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)


def parse_training(words: list[str], steps: dict) -> None:
    assert Path(words[0]).resolve() == Path(ablate.__file__).resolve()
    arguments = TRAINING.parse_args(words[1:])
    key = (arguments.config, arguments.base)
    if key not in steps:
        steps[key] = ablate.steps_of(read_grid(*key))
    assert arguments.step in steps[key]


def parse_launch(words: list[str]) -> None:
    arguments = launch_command_parser().parse_args(words)
    assert arguments.config_file is None or Path(arguments.config_file).is_file()
    _validate_launch_command(arguments)


@pytest.mark.parametrize("file", PLANS, ids=lambda path: path.stem)
def test_each_printed_command_is_taken_by_the_program_that_it_calls(file, argus, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, stdout, stderr = argus("reproduce", file, OUT, "--dry-run")
    assert code == 0 and "left" in stderr and not OUT.exists()
    lines = [shlex.split(line, comments=True) for line in stdout.splitlines()]
    # Without GREEN's weights the page that shows its findings waits.
    waiting = 1 if "--findings green" in stdout else 0
    assert stdout.count("  # waits: no weights: put the model StanfordAIMI/GREEN") == waiting
    assert len(lines) > 40 and stdout.count("  # left\n") == len(lines) - waiting
    commands = [line[2:] if line[0] == "env" else line for line in lines]
    steps: dict = {}
    launches = set()
    for program, *words in commands:
        if program == "argus":
            parse_argus(words)
        elif program == "python":
            parse_training(words, steps)
        else:
            assert (program, words[0]) == ("accelerate", "launch")
            script = words.index("--config") - 1
            launches.add(tuple(words[1 : script + 1]))
            parse_training(words[script:], steps)
    for launch in launches:
        parse_launch(list(launch))
    assert Counter(program for program, *_ in commands)["argus"] > 10
