"""Run the jobs that are left on this machine, each as a process with a log of its own."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

from argus_processing.storage.whole_files import make_folder

from .jobs import Job
from .paper_plan import CPU, SCORING

LOGS = "logs"
SECONDS_TO_END = 30  # after which a job that was asked to end is killed
LAST_BYTES = 4096  # of a log, in which its last line is searched
Say = Callable[[str], None]


class SharedMachine:
    """The named GPUs, which the jobs share, and the memory for one job that needs none; without names no job waits.

    A training has all GPUs to itself, and so has a model that is spread over them; a score has one.
    """

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._gpus = tuple(gpus)
        self._taken: dict[str, tuple[str, ...]] = {}  # by name of the job

    def take(self, job: Job) -> tuple[str, ...] | None:
        """Give a job its GPUs, the first ones that are free; return None if it must wait."""
        free = [name for name in self._gpus if not any(name in taken for taken in self._taken.values())]
        needed = {CPU: 0, SCORING: 1}.get(job.resources, len(self._gpus))
        is_second = job.resources == CPU and () in self._taken.values()
        if self._gpus and (needed > len(free) or is_second):
            return None
        self._taken[job.name] = tuple(free[:needed])
        return self._taken[job.name]

    def give_back(self, job: Job) -> None:
        """Free the GPUs and the memory that a job had."""
        del self._taken[job.name]


class Processes:
    """The processes of the jobs that run, and whether more may start.

    A signal stops the main thread between any two of its steps. So a thread that no signal stops starts a process and
    enters it in the list, and none starts once the list has been read for the last time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen] = []
        self._closed = False

    def run(self, job: Job, out: Path, gpus: Sequence[str] = ()) -> int:
        """Start a job, wait for its end and return its exit code."""
        with self._lock:
            if self._closed:
                return -signal.SIGTERM
            process = start(job, out, gpus)
            self._started.append(process)
        return process.wait()

    def end(self) -> None:
        """End the processes that run, and start no more."""
        with self._lock:
            self._closed = True
        running = [process for process in self._started if process.poll() is None]
        for process in running:
            _signal(process, signal.SIGTERM)
        last = time.monotonic() + SECONDS_TO_END
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0, last - time.monotonic()))
                continue
            _signal(process, signal.SIGKILL)


def run_jobs(
    jobs: Sequence[Job],
    left: Sequence[Job],
    at_once: int,
    out: Path,
    say: Say,
    waiting: Collection[str] = (),
    gpus: Sequence[str] = (),
) -> None:
    """Run the jobs that are left, `at_once` at a time, each after those that it needs.

    Args:
        jobs: all jobs of the plan, in an order in which they can run.
        left: those of them to run.
        at_once: number of jobs that run at the same time.
        out: folder of the reproduction; each job's output goes to `logs/NAME.log` in it.
        say: called with one line when a job starts and when it ends.
        waiting: names of those that cannot be done now; no job waits for them.
        gpus: names of the GPUs that trainings and scores share; see `visible_gpus`. Default: a job uses all it sees.

    Raises:
        ValueError: naming the first job that failed, and its log. No job is started after it, and those that run are
            waited for.
    """
    done = {job.name for job in jobs} - {job.name for job in left}
    to_start, total = list(left), len(jobs) - len(waiting)
    running: dict[Future, tuple[Job, float]] = {}
    failed: list[str] = []
    processes, machine = Processes(), SharedMachine(gpus)
    with ThreadPoolExecutor(at_once) as threads, ended(processes):
        while running or (to_start and not failed):
            for job in [] if failed else ready(to_start, done):
                if len(running) == at_once or (own := machine.take(job)) is None:
                    continue
                to_start.remove(job)
                say(f"starts: {job.name} ({len(done) - len(waiting) + len(running) + 1} of {total})")
                running[threads.submit(processes.run, job, out, own)] = job, time.monotonic()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, started = running.pop(future)
                machine.give_back(job)
                if told := failure(job, future.result(), out):
                    failed.append(told)
                    continue
                done.add(job.name)
                say(f"done: {job.name}, {time.monotonic() - started:.0f} s; {len(jobs) - len(done)} left")
    if failed:
        raise ValueError(failed[0])


def ready(to_start: Sequence[Job], done: set[str]) -> list[Job]:
    """Return the jobs to start whose needs are all done."""
    return [job for job in to_start if done.issuperset(job.needs)]


def visible_gpus(count: int) -> list[str]:
    """Return the names of that many GPUs, the first ones of those that this program may use."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[:count] if allowed else [str(number) for number in range(count)]


def start(job: Job, out: Path, gpus: Sequence[str] = ()) -> subprocess.Popen:
    """Start a job as a process group of its own, with its output in its log.

    The log is locked for as long as a process of the job has it open, so that a job that outlived a killed start is
    not started a second time.

    Raises:
        ValueError: if such a job still runs.
    """
    path = log_of(job, out)
    make_folder(path.parent)
    with path.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{job.name}: still runs from an earlier start; wait for its end, see {path}") from None
        log.truncate(0)
        log.write(f"{shlex.join(job.command)}\n".encode())
        log.flush()
        return subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(gpus),
            start_new_session=True,
        )


def environment(gpus: Sequence[str] = ()) -> dict[str, str]:
    """Return an environment in which `python`, `argus` and `accelerate` are those of this program.

    In it only the named GPUs are seen. Default: those that this program sees.
    """
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    return os.environ | path | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})


def log_of(job: Job, out: Path) -> Path:
    """Return the file with a job's output."""
    return out / LOGS / f"{job.name}.log"


def failure(job: Job, code: int, out: Path) -> str | None:
    """Describe in one line why a job failed; return None if it is done."""
    if code == 0 and job.makes.exists():
        return None
    ended_with = f"ended with code {code}" if code else f"did not write {job.makes}"
    return f"{job.name} {ended_with}: {last_line(log_of(job, out))}; all of it: {log_of(job, out)}"


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


@contextmanager
def ended(processes: Processes) -> Iterator[None]:
    """End the processes if the block is left by an error or a signal."""
    try:
        yield
    finally:
        processes.end()


def _signal(process: subprocess.Popen, number: int) -> None:
    """Send a signal to a process and those that it started; one that has ended is passed over."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
