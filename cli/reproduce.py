"""Run `argus reproduce`: list a plan's jobs, show what is done and what is left, run what is left."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.table import Table

from argus_evaluation.reproduction.gather import gather
from argus_evaluation.reproduction.job_states import claim_jobs, jobs_left, jobs_waiting
from argus_evaluation.reproduction.jobs import INDEX, KINDS, Job, list_jobs
from argus_evaluation.reproduction.paper_plan import read_plan
from argus_evaluation.reproduction.run_jobs import run_jobs, visible_gpus
from argus_evaluation.reproduction.slurm_arrays import FOLDER, arrays_of, shell_line, submission_lines, submit
from argus_inference.console.terminal import show, terminal
from argus_processing.storage.claimed_folders import claimed_folder
from argus_processing.storage.markdown_table import literal_table

from .options import say, tell


def run(file: Path, out: Path) -> None:
    """Run the jobs of a plan that are left in the folder `out`, or submit them to Slurm.

    Raises:
        ValueError: if the plan is wrong, a job fails, or another process runs a plan in `out`.
    """
    plan = read_plan(file)
    jobs = list_jobs(file, plan, out)
    with claimed_folder(out):
        claim_jobs(jobs, out)
        left, waiting = jobs_left(jobs, out), jobs_waiting(jobs, out)
        show(states_table(jobs, left, waiting), terminal(stderr=True))
        for name, reason in waiting.items():
            say(f"{name} waits: {reason}")
        if plan.launcher.kind == "slurm":
            ids = submit(arrays_of(left, plan.launcher), out)
            tell(f"{len(left)} jobs are submitted as {len(ids)} arrays ({', '.join(ids)}), scripts in {out / FOLDER}")
            return
        gpus = visible_gpus(plan.launcher.processes) if plan.launcher.kind == "accelerate" else ()
        run_jobs(jobs, left, plan.launcher.at_once, out, say, waiting, gpus)
    tell((out / INDEX).read_text(encoding="utf-8").rstrip("\n"))


def dry_run(file: Path, out: Path) -> None:
    """Print every command of a plan as a line for a shell, marked as done or left; nothing is run or written.

    A job that waits, such as a page that shows GREEN's findings without GREEN's weights, is told with its reason.
    """
    plan = read_plan(file)
    jobs = list_jobs(file, plan, out)
    left, waiting = jobs_left(jobs, out), jobs_waiting(jobs, out)
    show(states_table(jobs, left, waiting), terminal(stderr=True))
    states = {job.name: "left" for job in left} | {name: f"waits: {reason}" for name, reason in waiting.items()}
    for job in jobs:
        tell(f"{shell_line(job.command)}  # {states.get(job.name, 'done')}")
    if plan.launcher.kind == "slurm":
        tell("# without --dry-run the scripts are written, and submitted by these lines:")
        for line in submission_lines(arrays_of(left, plan.launcher), out):
            tell(line)


def put_in_place(file: Path, out: Path) -> None:
    """Copy the results that are there into `out`, and print the list of them."""
    tell(gather(read_plan(file), out).read_text(encoding="utf-8").rstrip("\n"))


def states_table(jobs: Sequence[Job], left: Sequence[Job], waiting: Collection[str]) -> Table:
    """Return a table with the number of jobs of each kind, and how many of them are done and left; left also waits."""
    every = Counter(job.kind for job in jobs)
    undone = Counter(job.kind for job in (*left, *(job for job in jobs if job.name in waiting)))
    rows = [
        (name, str(every[kind]), str(every[kind] - undone[kind]), str(undone[kind]))
        for kind, name in KINDS.items()
        if every[kind]
    ]
    total = ("all", str(len(jobs)), str(len(jobs) - undone.total()), str(undone.total()))
    return literal_table(("", "jobs", "done", "left"), (*rows, total), numbers_from=1)
