"""List the jobs of a plan, from the downloads to the tables, each after those that it needs.

A job is a command as a person would type it. Trainings and scores are named by the hash of everything that decides
their result, as in an ablation, so what several grids share is one job.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from argus_processing.curation.prepared_folder import MANIFEST
from argus_processing.phantom.layouts import TRUTH_FILE
from argus_training import ablate
from argus_training.ablations.ablation_grid import Cell, Grid, read_base, read_grid
from argus_training.ablations.ablation_recipes import ReportRecipe
from argus_training.ablations.ablation_steps import Step, last_step, model_of

from ..ablations.ablation import FIGURE_FILE, FIRST_RUNS_FILE, RUNS_FILE, SCORES, check_scores
from ..ablations.ablation_scores import Evaluation, score_folder
from ..ablations.compared_systems import compared_names, compares_systems
from ..metrics.clinical.clinical_metrics import CLINICAL_METRICS
from ..metrics.metric import nothing_missing
from ..reader_study.answers import ANSWERS_FILE
from ..reader_study.study import STUDY_FILE
from .paper_plan import CPU, LAUNCHED, SCORING, SPREAD, TRAINING, PaperPlan

STUDY = "reader-study"
INDEX = "README.md"
# kind of job -> its name for people, in the order of the chain
KINDS = {
    "phantom": "phantoms",
    "prepare": "preparation",
    "convert": "published weights",
    "language": "language models",
    "vision": "pretraining",
    "create": "assembly",
    "sft": "fine-tuning",
    "score": "scores",
    "result": "tables and figures",
}
DATA_KINDS = ("phantom", "prepare")
WORKERS = "--workers"
STEP_KINDS = ("convert", "language", "vision", "create", "sft")


@dataclass(frozen=True)
class Job:
    """One command of a reproduction.

    Attributes:
        name: hash-named for trainings and scores, which are the same wherever they are needed.
        kind: one of `KINDS`.
        command: program and arguments.
        makes: the file that is there when the job is done.
        needs: names of the jobs that come before it.
        shows: of a table, what it shows beside the scores, such as titles: with another content it is made again.
        reads: a file that people write; when it is newer than `makes`, the job is done again.
        answers: a file in which people write about `makes`; once it holds something, `makes` is never removed.
        evaluation: of a score, which also lacks a clinical metric that can be computed now.
        lacks: tells what the job waits for, such as weights, or None; other jobs do not wait for it then.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    makes: Path
    needs: tuple[str, ...] = ()
    shows: str = ""
    reads: Path | None = None
    answers: Path | None = None
    evaluation: Evaluation | None = None
    lacks: Callable[[], str | None] = field(default=nothing_missing, compare=False)

    @property
    def settings(self) -> tuple[str, ...]:
        """Return the command without what changes only its speed: the numbers of threads and of workers."""
        words = self.command[2:] if self.command[0] == "env" else self.command
        place = words.index(WORKERS) if WORKERS in words else len(words)
        return words[:place] + words[place + 2 :]

    @property
    def resources(self) -> str:
        """Return which of `RESOURCES` the job needs."""
        if self.kind in LAUNCHED:
            return TRAINING
        if self.kind != "score":
            return CPU
        is_spread = self.evaluation is not None and self.evaluation.loading.device_map is not None
        return SPREAD if is_spread else SCORING

    def is_made(self) -> bool:
        """Return whether the job's file is there and not out of date; see `reads` and `evaluation`."""
        if not self.makes.exists():
            return False
        if self.reads is not None and self.reads.exists():
            return self.reads.stat().st_mtime_ns <= self.makes.stat().st_mtime_ns
        return self.evaluation is None or self.evaluation.is_done()

    def has_answers(self) -> bool:
        """Return whether readers have already given answers; see `answers`."""
        return self.answers is not None and self.answers.exists() and self.answers.stat().st_size > 0


@dataclass(frozen=True)
class PlannedGrid:
    """One grid of a plan: its file, its content, and the folder of its results."""

    path: str
    grid: Grid
    out: Path

    @property
    def compares_systems(self) -> bool:
        """Return whether Table 2 is made from it."""
        return compares_systems(self.grid)


def list_jobs(file: Path, plan: PaperPlan, out: Path) -> list[Job]:
    """Return a plan's jobs in an order in which they can run.

    Args:
        file: the plan's file.
        plan: its content.
        out: folder of the reproduction.

    Raises:
        ValueError: if a grid or the base recipe is wrong, or what the plan asks for has no grid.
    """
    grids = read_grids(plan, out)
    comparing = [planned for planned in grids if planned.compares_systems]
    if len(comparing) > 1:
        names = ", ".join(planned.grid.name for planned in comparing)
        raise ValueError(f"{file}: {names} all compare systems, and Table 2 is made from one; put them into one grid")
    compared = comparing[0] if comparing else None
    if compared is None and (plan.figure7 or plan.table4):
        raise ValueError(f"{file}: figure7 and table4 need a grid with the axes system and resolution")
    if compared is not None:
        _check_shown(file, plan, compared)
    jobs = [*_data_jobs(plan, out)]
    for planned in grids:
        scores = []
        for cell, seed in ablate.planned(planned.grid):
            *steps, score = _cell_jobs(plan, planned, cell, seed, out)
            jobs += (*steps, score)
            scores.append(score.name)
        jobs.append(_grid_job(plan, planned, scores, out))
        jobs += _systems_jobs(plan, planned, out) if planned is compared else ()
    results = (job.name for job in jobs if job.kind in ("prepare", "result"))
    command = _words(plan, "argus", "reproduce", file, out, "--gather")
    jobs.append(Job("gather", "result", command, out / INDEX, tuple(results)))
    distinct: dict[str, Job] = {}
    for job in jobs:
        if distinct.setdefault(job.name, job).makes != job.makes:
            raise ValueError(f"{file}: {job.name} is the name of a grid and of another job; rename the grid")
    return absorb(list(distinct.values())) if plan.launcher.kind == "local" else list(distinct.values())


def _check_shown(file: Path, plan: PaperPlan, compared: PlannedGrid) -> None:
    """Check figure 7 and Table 4 before anything is trained: their systems, subset and metric.

    Raises:
        ValueError: naming what the compared grid or its base recipe does not have.
    """
    try:
        names = compared_names(compared.grid)
    except ValueError as error:
        raise ValueError(f"{compared.path}: {error}") from None
    first = compared.grid.cells()[0].settings
    for key, shown in (("figure7", plan.figure7), ("table4", plan.table4)):
        if unknown := [name for name in (shown.systems if shown else ()) if name not in names]:
            raise ValueError(f"{file}: {key}: {compared.path} has no {', '.join(unknown)}; it has {', '.join(names)}")
    if (page := plan.figure7) is None:
        return
    evaluation = first.get("evaluation", {})
    subsets, clinical = evaluation.get("subsets", [first["data"]["subset"]]), evaluation.get("clinical", ())
    if page.subset not in subsets:
        raise ValueError(f"{file}: figure7: {plan.base} evaluates no {page.subset}; it evaluates {', '.join(subsets)}")
    if page.findings in CLINICAL_METRICS and page.findings not in clinical:
        raise ValueError(f"{file}: figure7: findings: {plan.base} does not ask for the clinical metric {page.findings}")


def absorb(jobs: Sequence[Job]) -> list[Job]:
    """Leave out each step that only one step or score needs: the command of that one runs it too.

    On one machine this saves most starts of a process; steps that several need stay jobs of their own.
    """
    left = {job.name: job for job in jobs}
    for job in reversed(jobs):
        users = [other for other in left.values() if job.name in other.needs]
        if job.kind in STEP_KINDS and len(users) == 1:
            (user,) = users
            needs = dict.fromkeys(name for name in (*job.needs, *user.needs) if name != job.name)
            left[user.name] = replace(user, needs=tuple(needs))
            del left[job.name]
    return list(left.values())


def read_grids(plan: PaperPlan, out: Path) -> list[PlannedGrid]:
    """Read a plan's grids with its base recipe.

    Raises:
        ValueError: if a grid trains nothing, asks for an unknown metric, or shares its name, and so its folder.
    """
    grids: list[PlannedGrid] = []
    for path in plan.grids:
        grid = read_grid(Path(path), Path(plan.base))
        if grid.kind != "reports":
            raise ValueError(f"{path}: trains nothing; a plan names grids of trainings")
        if any(grid.name == other.grid.name for other in grids):
            raise ValueError(f"{path}: another grid of the plan has the name {grid.name} too")
        asked = {name for cell in grid.cells() for name in cell.settings.get("evaluation", {}).get("clinical", ())}
        if unknown := sorted(asked - set(CLINICAL_METRICS)):
            known = ", ".join(CLINICAL_METRICS)
            raise ValueError(f"{path}: evaluation.clinical: unknown {', '.join(unknown)}; known: {known}")
        check_scores(grid, path)
        grids.append(PlannedGrid(path, grid, out / grid.name))
    return grids


def data_folder(plan: PaperPlan) -> Path:
    """Return the folder of the prepared data, which the base recipe names.

    Raises:
        ValueError: if it names none.
    """
    folder = read_base(Path(plan.base)).recipe.get("data", {}).get("subset_options", {}).get("data_dir")
    if not isinstance(folder, str):
        raise ValueError(f"{plan.base}: data: subset_options names no data_dir, the folder of the prepared data")
    return Path(folder)


def _data_jobs(plan: PaperPlan, out: Path) -> Iterator[Job]:
    preparation, data = plan.prepare, data_folder(plan)
    sources, needs = dict(preparation.sources), []
    for layout, count in preparation.phantoms.items():
        folder = out / "downloads" / layout
        sources[layout] = str(folder)
        needs.append(f"phantom-{layout}")
        options = ("--layout", layout, "--n", str(count), "--seed", str(preparation.seed))
        yield Job(needs[-1], "phantom", _words(plan, "argus", "phantom", folder, *options), folder / TRUTH_FILE)
    if sources:
        given = [word for source, folder in sources.items() for word in (f"--{source}", folder)]
        command = _words(plan, "argus", "prepare", data, *given, WORKERS, preparation.workers, *preparation.arguments)
        yield Job("prepare", "prepare", command, data / MANIFEST, tuple(needs))


def _cell_jobs(plan: PaperPlan, planned: PlannedGrid, cell: Cell, seed: int, out: Path) -> Iterator[Job]:
    """Yield the trainings of a cell and, last, its score."""
    step = last_step(cell.settings, seed)
    for each in step.with_needs():
        yield _step_job(plan, planned, each, out)
    scores = score_folder(cell.settings, seed, out / SCORES)
    evaluation = Evaluation(ReportRecipe(**cell.settings), scores, out / ablate.STEPS)
    command = _words(plan, *_ablate(plan, planned, out), "--run", scores.name)
    needs = (step.name, *_prepared(plan))
    yield Job(f"score-{scores.name}", "score", command, evaluation.file, needs, evaluation=evaluation)


def _step_job(plan: PaperPlan, planned: PlannedGrid, step: Step, out: Path) -> Job:
    script = os.path.relpath(ablate.__file__)
    grid = ("--config", planned.path, "--base", plan.base, "--output_dir", out, "--step", step.name)
    command = _words(plan, *_launch(plan, step.kind), ablate.__file__ if script.startswith("..") else script, *grid)
    data = _prepared(plan) if step.kind in LAUNCHED else ()
    needs = (*(need.name for need in step.needs), *data)
    return Job(step.name, step.kind, command, model_of(step, out / ablate.STEPS) / "config.json", needs)


def _launch(plan: PaperPlan, kind: str) -> tuple[str, ...]:
    """Return the program that starts a step; models are assembled and weights converted by one process."""
    launcher = plan.launcher
    if launcher.kind == "local" or kind not in LAUNCHED:
        return ("python",)
    config = ("--config_file", launcher.configs[kind]) if kind in launcher.configs else ()
    command = ("accelerate", "launch", *config, "--num_processes", str(launcher.processes))
    # The variables are set by Slurm and by the array's script, on each node.
    port = ("--main_process_port", "$MAIN_PORT") if launcher.kind == "slurm" else ()
    machines = ("--num_machines", str(launcher.nodes), "--machine_rank", "$SLURM_NODEID")
    return (*command, *port, *((*machines, "--main_process_ip", "$MAIN_NODE") if launcher.nodes > 1 else ()))


def _ablate(plan: PaperPlan, planned: PlannedGrid, out: Path) -> tuple[object, ...]:
    folders = ("--steps", out / ablate.STEPS, "--scores", out / SCORES)
    return ("argus", "ablate", planned.path, planned.out, "--base", plan.base, *folders)


def _prepared(plan: PaperPlan) -> tuple[str, ...]:
    return ("prepare",) if plan.prepare.sources or plan.prepare.phantoms else ()


def _grid_job(plan: PaperPlan, planned: PlannedGrid, scores: Sequence[str], out: Path) -> Job:
    """Return the job that makes a grid's table and figure from its scores."""
    command = _words(plan, *_ablate(plan, planned, out))
    return Job(planned.grid.name, "result", command, planned.out / FIGURE_FILE, tuple(scores), _shown(planned.grid))


def _shown(grid: Grid) -> str:
    """Return what a grid's table and figure show beside the scores of its cells, which have names of their own."""
    panels = [
        (panel.title, {axis: list(values) for axis, values in panel.axes.items()}, panel.paper, panel.ours)
        for panel in grid.panels
    ]
    return json.dumps([grid.title, grid.seeds, grid.score, grid.metrics, panels])


def _systems_jobs(plan: PaperPlan, planned: PlannedGrid, out: Path) -> Iterator[Job]:
    """Yield the jobs of Table 2, figure 7 and Table 4, which compare the systems of a grid."""
    runs, needs = planned.out / FIRST_RUNS_FILE, (planned.grid.name,)
    command = _words(plan, "argus", "table2", planned.out / RUNS_FILE, out)
    yield Job("table2-paper", "result", command, out / "table2.json", needs)
    if page := plan.figure7:
        options = ("--subset", page.subset, "--findings", page.findings, "--limit", str(page.limit))
        systems = _each("--system", page.systems)
        command = _words(plan, "argus", "compare-reports", runs, out / "figure7.html", *options, *systems)
        lacks = partial(_lacks, page.findings, _first_evaluations(planned, out))
        yield Job("figure7", "result", command, out / "figure7.html", needs, lacks=lacks)
    if study := plan.table4:
        folder, cases = out / STUDY, ("--cases", study.cases, "--without-page")
        systems = _each("--system", study.systems)
        command = _words(plan, "argus", "reader-study", folder, "--runs", runs, *cases, *systems)
        answers = folder / ANSWERS_FILE
        yield Job(STUDY, "result", command, folder / STUDY_FILE, needs, answers=answers)
        command = _words(plan, "argus", "table4", folder, out)
        yield Job("table4", "result", command, out / "table4.json", (STUDY,), reads=answers)


def _first_evaluations(planned: PlannedGrid, out: Path) -> list[Evaluation]:
    """Return the evaluations of a grid's cells with the first seed, which the figures and the study show."""
    seed = planned.grid.seeds[0]
    return [
        Evaluation(ReportRecipe(**cell.settings), score_folder(cell.settings, seed, out / SCORES), out / ablate.STEPS)
        for cell in planned.grid.cells()
    ]


def _lacks(findings: str, evaluations: Iterable[Evaluation]) -> str | None:
    """Return why the metric that names a page's findings has not answered in one of the evaluations, and cannot now."""
    names = CLINICAL_METRICS[findings].names if findings in CLINICAL_METRICS else ()
    reasons = (evaluation.lacks(name) for evaluation in evaluations for name in names)
    return next(filter(None, reasons), None)


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _words(plan: PaperPlan, *command: object) -> tuple[str, ...]:
    """Return a command as text, with the number of threads that the plan gives every job."""
    threads = plan.launcher.threads
    limit = ("env", f"OMP_NUM_THREADS={threads}") if threads else ()
    return (*limit, *map(str, command))
