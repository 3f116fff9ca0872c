"""Write the jobs that are left as Slurm arrays, for each level of their dependence, and submit them."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from argus_processing.storage.foreign_files import read_json_object
from argus_processing.storage.whole_files import make_folder, write_json, write_text

from .jobs import Job
from .paper_plan import SPREAD, TRAINING, Launcher
from .run_jobs import LOGS

FOLDER, SUBMITTED_FILE = "slurm", "submitted.json"
# Jobs on the same nodes need different ports.
TEMPLATE = """#!/usr/bin/env bash
# {title}
#SBATCH --job-name=argus-{name}
#SBATCH --array=0-{last}
#SBATCH --output={logs}/{name}-%a.slurm.log
{options}set -euo pipefail
JOBS=(
{jobs}
)
COMMANDS=(
{commands}
)
export PATH={path}:"$PATH"
# Not `| head`: a scontrol that still writes when head has ended would end the script.
NODES=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MAIN_NODE=${{NODES%%$'\\n'*}}
MAIN_PORT=$((20000 + SLURM_JOB_ID % 20000))
export MAIN_NODE MAIN_PORT
srun --kill-on-bad-exit=1 --output="{logs}/${{JOBS[$SLURM_ARRAY_TASK_ID]}}.log" \\
    bash -c "${{COMMANDS[$SLURM_ARRAY_TASK_ID]}}"
"""


@dataclass(frozen=True)
class JobArray:
    """The jobs of one level that need the same resources; it starts when the arrays in `after` have all succeeded.

    On each of its `nodes` one task starts the job's command.
    """

    name: str
    jobs: tuple[Job, ...]
    options: tuple[str, ...]
    after: tuple[str, ...]
    nodes: int = 1

    def script(self, out: Path) -> Path:
        """Return the place of its script."""
        return out / FOLDER / f"{self.name}.sbatch"


def arrays_of(left: Sequence[Job], launcher: Launcher) -> list[JobArray]:
    """Return the arrays of the jobs that are left, each after all arrays of the level before it."""
    levels: dict[str, int] = {}
    for job in left:
        levels[job.name] = 1 + max((levels[name] for name in job.needs if name in levels), default=0)
    arrays: list[JobArray] = []
    before: tuple[str, ...] = ()
    for level in sorted(set(levels.values())):
        own = [job for job in left if levels[job.name] == level]
        kinds = dict.fromkeys(job.resources for job in own)
        made = [
            JobArray(
                f"{level:02}-{kind}",
                tuple(job for job in own if job.resources == kind),
                options_of(kind, launcher),
                before,
                launcher.nodes if kind == TRAINING else 1,
            )
            for kind in kinds
        ]
        arrays += made
        before = tuple(array.name for array in made)
    return arrays


def options_of(kind: str, launcher: Launcher) -> tuple[str, ...]:
    """Return the options of an array; a model that is spread over GPUs needs a training's machine, if none is named."""
    default = launcher.sbatch.get(TRAINING, ()) if kind == SPREAD else ()
    return launcher.sbatch.get(kind, default)


def script_text(array: JobArray, out: Path) -> str:
    """Return the script of an array."""
    # The last of several options counts: the commands name as many machines.
    placed = (f"--nodes={array.nodes}", "--ntasks-per-node=1")
    return TEMPLATE.format(
        title=f"{len(array.jobs)} jobs of argus reproduce; submitted again, those that are done end at once.",
        name=array.name,
        last=len(array.jobs) - 1,
        logs=out / LOGS,
        options="".join(f"#SBATCH {option}\n" for option in (*array.options, *placed)),
        jobs="\n".join(f"    {shlex.quote(job.name)}" for job in array.jobs),
        commands="\n".join(f"    {shlex.quote(shell_line(job.command))}" for job in array.jobs),
        path=shlex.quote(str(Path(sys.executable).parent)),
    )


def shell_line(command: Sequence[str]) -> str:
    """Return a command as a line for a shell, which fills in the variables of a node."""
    return " ".join(f'"{word}"' if word.startswith("$") else shlex.quote(word) for word in command)


def submission_lines(arrays: Sequence[JobArray], out: Path) -> Iterator[str]:
    """Yield the lines that submit the arrays, for a shell."""
    for array in arrays:
        ids = {name: f"${_variable(name)}" for name in array.after}
        yield f"{_variable(array.name)}=$({' '.join(_sbatch(array, out, ids))})"


def _variable(name: str) -> str:
    return f"ARRAY_{name.replace('-', '_')}"


def _sbatch(array: JobArray, out: Path, ids: dict[str, str]) -> list[str]:
    after = [f"--dependency=afterok:{':'.join(ids[name] for name in array.after)}", "--kill-on-invalid-dep=yes"]
    return ["sbatch", "--parsable", *(after if array.after else []), str(array.script(out))]


def submit(arrays: Sequence[JobArray], out: Path) -> list[str]:
    """Write the arrays' scripts and submit them; return their ids.

    Raises:
        ValueError: if there is no Slurm here, it refuses an array, or arrays of an earlier start are in its queue.
    """
    if shutil.which("sbatch") is None:
        raise ValueError("sbatch: not found; start argus reproduce on a machine that submits to Slurm")
    kept = out / FOLDER / SUBMITTED_FILE
    make_folder(kept.parent)
    make_folder(out / LOGS)
    if kept.exists() and (queued := sorted(set(read_json_object(kept)["ids"]) & _queued())):
        raise ValueError(
            f"{out}: arrays {', '.join(queued)} of an earlier start are in the queue; wait or scancel them"
        )
    ids: dict[str, str] = {}
    for array in arrays:
        write_text(array.script(out), script_text(array, out))
        ids[array.name] = _run(_sbatch(array, out, ids)).split(";")[0]
        write_json(kept, {"ids": list(ids.values())})
    return list(ids.values())


def _queued() -> set[str]:
    return set(_run(["squeue", "--me", "--noheader", "--format=%F"]).split())


def _run(command: Sequence[str]) -> str:
    """Run a command of Slurm and return what it prints."""
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise ValueError(f"{shlex.join(command)}: {' '.join(ran.stderr.split()) or f'exit code {ran.returncode}'}")
    return ran.stdout.strip()
