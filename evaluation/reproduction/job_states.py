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
    """Return the jobs that are not done in `out`.

    A table or figure is left, too, if a job that it needs is left, or the plan now has another command for it. A
    training or a score is not: its name says everything that decides its result.
    """
    changed = changed_jobs(jobs, out)
    left: dict[str, Job] = {}
    for job in jobs:
        is_outdated = job.kind == "result" and (job.name in changed or any(name in left for name in job.needs))
        if is_outdated or not job.is_made():
            left[job.name] = job
    return list(left.values())


def claim_jobs(jobs: Sequence[Job], out: Path) -> None:
    """Keep the commands of data, tables and figures in `out`, and remove tables and figures of other commands.

    Raises:
        ValueError: if data or weights were made by another command; they are not removed.
    """
    changed = changed_jobs(jobs, out)
    for job in jobs:
        if job.name in changed and job.kind in DATA_KINDS and job.makes.exists():
            raise ValueError(
                f"{job.makes.parent}: was made by another command than the plan's job {job.name} now has; remove it or "
                f"choose other folders"
            )
    for job in jobs:
        if job.name in changed:
            job.makes.unlink(missing_ok=True)
    write_json(out / JOBS_FILE, _kept_ids(out) | job_ids(jobs))


def changed_jobs(jobs: Sequence[Job], out: Path) -> set[str]:
    """Return the names of data, tables and figures for which `out` was started with other commands."""
    kept = _kept_ids(out)
    return {name for name, said in job_ids(jobs).items() if kept.get(name, said) != said}


def _kept_ids(out: Path) -> dict[str, str]:
    path = out / JOBS_FILE
    return read_json_object(path) if path.exists() else {}


def job_ids(jobs: Sequence[Job]) -> dict[str, str]:
    """Return, for each job that its name alone does not define, a hash of its command and of what it needs."""
    names = [job for job in jobs if job.kind == "result" or job.kind in DATA_KINDS]
    return {job.name: hashlib.sha256(json.dumps([job.command, job.needs]).encode()).hexdigest()[:16] for job in names}
