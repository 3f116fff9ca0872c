"""Determine which jobs are done and which are left, also after the plan was changed."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from argus_processing.storage.foreign_files import read_json_object
from argus_processing.storage.whole_files import write_json

from .jobs import DATA_KINDS, Job

JOBS_FILE = "jobs.json"


def jobs_left(jobs: Sequence[Job], out: Path) -> list[Job]:
    """Return the jobs that are not done in `out` and wait for nothing.

    A table or figure is left, too, if a job that it needs is left, or the plan now has another command for it. A
    training or a score is not: its name says everything that decides its result.
    """
    return [job for job in jobs_undone(jobs, out) if job.lacks() is None]


def jobs_waiting(jobs: Sequence[Job], out: Path) -> dict[str, str]:
    """Return the jobs that cannot be done now, with what each waits for; no other job waits for them."""
    reasons = {job.name: job.lacks() for job in jobs_undone(jobs, out)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def jobs_undone(jobs: Sequence[Job], out: Path) -> list[Job]:
    """Return the jobs that are left or wait."""
    changed = changed_jobs(jobs, out)
    undone: dict[str, Job] = {}
    for job in jobs:
        needed = [name for name in job.needs if name in undone and undone[name].lacks() is None]
        is_outdated = job.kind == "result" and (job.name in changed or needed)
        if is_outdated or not job.is_made():
            undone[job.name] = job
    return list(undone.values())


def claim_jobs(jobs: Sequence[Job], out: Path) -> None:
    """Keep the commands of data, tables and figures in `out`, and remove tables and figures that are left.

    They are removed before anything runs: after an interruption, an old table beside new scores would count as done.

    Raises:
        ValueError: if data were made by another command, or readers scored a study that another command drew; nothing
            is removed.
    """
    changed = changed_jobs(jobs, out)
    for job in jobs:
        if job.name in changed and job.kind in DATA_KINDS and job.makes.exists():
            raise ValueError(
                f"{job.makes.parent}: was made by another command than the plan's job {job.name} now has; remove it or "
                f"choose other folders"
            )
        if job.name in changed and job.has_answers():
            raise ValueError(
                f"{job.makes.parent}: readers have scored it, and the plan's job {job.name} now has another command; "
                f"move it away or choose another folder"
            )
    for job in jobs_undone(jobs, out):
        if job.kind == "result" and not job.has_answers():
            job.makes.unlink(missing_ok=True)
    write_json(out / JOBS_FILE, _kept_ids(out) | job_ids(jobs))


def changed_jobs(jobs: Sequence[Job], out: Path) -> set[str]:
    """Return the names of data, tables and figures for which `out` was started with other commands."""
    kept = _kept_ids(out)
    return {name for name, now in job_ids(jobs).items() if kept.get(name, now) != now}


def _kept_ids(out: Path) -> dict[str, str]:
    path = out / JOBS_FILE
    return read_json_object(path) if path.exists() else {}


def job_ids(jobs: Sequence[Job]) -> dict[str, str]:
    """Return a hash of settings, needs and shown content of each job whose name does not hold them."""
    named = [job for job in jobs if job.kind == "result" or job.kind in DATA_KINDS]
    return {job.name: _hash([job.settings, job.needs, *filter(None, [job.shows])]) for job in named}


def _hash(content: list[object]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
