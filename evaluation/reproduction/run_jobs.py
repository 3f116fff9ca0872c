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

LOGS = "logs"
SECONDS_TO_END = 30  # after which a job that was asked to end is killed
LAST_BYTES = 4096  # of a log, in which its last line is searched
Say = Callable[[str], None]


class Processes:
    """The processes of the jobs that run, and whether more may start.

    A signal stops the main thread between any two of its steps. So a thread that no signal stops starts a process and
    enters it in the list, and none starts once the list has been read for the last time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen] = []
        self._closed = False

    def run(self, job: Job, out: Path) -> int:
        """Start a job, wait for its end and return its exit code."""
        with self._lock:
            if self._closed:
                return -signal.SIGTERM
            process = start(job, out)
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
    jobs: Sequence[Job], left: Sequence[Job], at_once: int, out: Path, say: Say, waiting: Collection[str] = ()
) -> None:
    """Run the jobs that are left, `at_once` at a time, each after those that it needs.

    Args:
        jobs: all jobs of the plan, in an order in which they can run.
        left: those of them to run.
        at_once: number of jobs that run at the same time.
        out: folder of the reproduction; each job's output goes to `logs/NAME.log` in it.
        say: called with one line when a job starts and when it ends.
        waiting: names of those that cannot be done now; no job waits for them.

    Raises:
        ValueError: naming the first job that failed, and its log. No job is started after it, and those that run are
            waited for.
    """
    done = {job.name for job in jobs} - {job.name for job in left}
    to_start, total = list(left), len(jobs) - len(waiting)
    running: dict[Future, tuple[Job, float]] = {}
    failed: list[str] = []
    processes = Processes()
    with ThreadPoolExecutor(at_once) as threads, ended(processes):
        while running or (to_start and not failed):
            for job in [] if failed else ready(to_start, done)[: at_once - len(running)]:
                to_start.remove(job)
                say(f"starts: {job.name} ({len(done) - len(waiting) + len(running) + 1} of {total})")
                running[threads.submit(processes.run, job, out)] = job, time.monotonic()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, started = running.pop(future)
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


def start(job: Job, out: Path) -> subprocess.Popen:
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
            env=environment(),
            start_new_session=True,
        )


def environment() -> dict[str, str]:
    """Return an environment in which `python`, `argus` and `accelerate` are those of this program."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


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
