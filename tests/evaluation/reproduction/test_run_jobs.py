"""Jobs run as processes: in order, at once, failed, interrupted, and gone on with."""

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from argus_evaluation.reproduction import run_jobs as run_jobs_module
from argus_evaluation.reproduction.job_states import JOBS_FILE, changed_jobs, claim_jobs, jobs_left, jobs_waiting
from argus_evaluation.reproduction.jobs import Job
from argus_evaluation.reproduction.run_jobs import SharedMachine, log_of, run_jobs, start, visible_gpus
from argus_inference.console.interruption import Interrupted, signals_raise

COPY = "cat {needed} >{made}.part; echo {name} >>{made}.part; echo {name} >>order; mv {made}.part {made}"


def job(name: str, *needs: str, kind: str = "result", script: str = COPY) -> Job:
    """A job that writes the names of all jobs before it and its own, one a line."""
    needed = " ".join(f"{need}.txt" for need in needs) or os.devnull
    command = ("sh", "-ec", script.format(name=name, needed=needed, made=f"{name}.txt"))
    return Job(name, kind, command, Path(f"{name}.txt"), needs)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


DIAMOND = [job("a", kind="prepare"), job("b", "a", kind="sft"), job("c", "a", kind="sft"), job("d", "b", "c")]


def run(jobs: list[Job], at_once: int = 1, gpus: Sequence[str] = ()) -> list[str]:
    said: list[str] = []
    out = Path("out")
    out.mkdir(exist_ok=True)
    claim_jobs(jobs, out)
    run_jobs(jobs, jobs_left(jobs, out), at_once, out, said.append, gpus=gpus)
    return said


@pytest.mark.parametrize("at_once", [1, 2])
def test_each_job_runs_once_after_those_that_it_needs(folder, at_once):
    said = run(DIAMOND, at_once)
    assert Path("d.txt").read_text().split() == ["a", "b", "a", "c", "d"]
    assert sorted(Path("order").read_text().split()) == ["a", "b", "c", "d"]
    assert said[0] == "starts: a (1 of 4)" and said[-1].startswith("done: d, ") and said[-1].endswith("; 0 left")
    assert run(DIAMOND, at_once) == []


def test_what_waits_holds_no_job_up_and_is_not_counted(folder):
    page = replace(job("page", "d"), lacks=lambda: "no weights")
    jobs = [*DIAMOND, page, job("list", "d", "page", script="touch {made}")]
    Path("out").mkdir()
    waiting, said = jobs_waiting(jobs, Path("out")), []
    run_jobs(jobs, jobs_left(jobs, Path("out")), 1, Path("out"), said.append, waiting)
    assert waiting == {"page": "no weights"} and not Path("page.txt").exists() and Path("list.txt").exists()
    assert said[0] == "starts: a (1 of 5)" and said[-1].endswith("; 0 left")


def test_two_jobs_run_at_the_same_time(folder):
    # Each waits for the other's file: one after the other would never end.
    wait = "touch {name}.here; while [ ! -e {other}.here ]; do sleep 0.01; done; touch {made}"
    jobs = [job("a", script=wait.replace("{other}", "b")), job("b", script=wait.replace("{other}", "a"))]
    run(jobs, at_once=2)
    assert jobs_left(jobs, Path("out")) == []


def test_a_training_has_all_gpus_a_score_one_and_one_job_none():
    machine = SharedMachine(["4", "6"])
    kinds = {"a": "score", "b": "score", "c": "score", "t": "sft", "d": "create", "e": "create"}
    jobs = {name: job(name, kind=kind) for name, kind in kinds.items()}
    taken = {name: machine.take(one) for name, one in jobs.items()}
    assert taken == {"a": ("4",), "b": ("6",), "c": None, "t": None, "d": (), "e": None}
    machine.give_back(jobs["b"])
    assert machine.take(jobs["t"]) is None and machine.take(jobs["c"]) == ("6",)
    for name in "acd":
        machine.give_back(jobs[name])
    assert machine.take(jobs["t"]) == ("4", "6") and machine.take(jobs["a"]) is None and machine.take(jobs["e"]) == ()
    assert [SharedMachine().take(one) for one in jobs.values()] == 6 * [()]


def test_scores_run_beside_each_other_with_a_gpu_each(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    # Each waits for the other's file: one after the other would never end.
    told = 'echo "$CUDA_VISIBLE_DEVICES" >{name}; mv {name} {made}; while [ ! -e {other}.txt ]; do sleep 0.01; done'
    pair = [job(a, kind="score", script=told.replace("{other}", b)) for a, b in ("ab", "ba")]
    training = job("t", "a", "b", kind="sft", script='echo "$CUDA_VISIBLE_DEVICES" >{made}')
    run([*pair, training], at_once=3, gpus=visible_gpus(2))
    assert {Path(f"{name}.txt").read_text() for name in "ab"} == {"4\n", "6\n"}
    assert Path("t.txt").read_text() == "4,6\n"


def test_gpus_are_those_that_the_program_may_use(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8e1f,6")
    assert visible_gpus(2) == ["4", "GPU-8e1f"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus(3) == ["0", "1", "2"]


def test_a_failed_job_stops_the_run_in_one_line_that_names_its_log(folder):
    broken = job("b", "a", script="echo reading; echo no such scan >&2; exit 2")
    with pytest.raises(ValueError, match="^b ended with code 2: no such scan; all of it: out/logs/b.log$"):
        run([DIAMOND[0], broken, job("d", "b")])
    assert Path("out/logs/b.log").read_text().endswith("reading\nno such scan\n")
    assert not Path("d.txt").exists()
    run([DIAMOND[0], job("b", "a"), job("d", "b")])
    assert Path("order").read_text().split() == ["a", "b", "d"]


def test_a_job_that_makes_nothing_has_failed(folder):
    with pytest.raises(ValueError, match="a did not write a.txt: it said nothing|a did not write a.txt: sh -ec"):
        run([job("a", script="true")])


def ends_soon(child: int) -> bool:
    """Tell whether a process ends within ten seconds."""
    for _ in range(1000):
        status = Path(f"/proc/{child}/status")
        with suppress(FileNotFoundError, ProcessLookupError):
            if "\nState:\tZ" not in status.read_text():
                time.sleep(0.01)
                continue
        return True
    return False


def test_a_signal_ends_the_running_job_and_what_it_started(folder):
    script = "sleep 60 & echo $! >child; wait"
    main = threading.get_ident()

    def interrupt() -> None:
        while not Path("child").exists() or not Path("child").read_text():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Interrupted), signals_raise():
        run([job("a", script=script)])
    assert ends_soon(int(Path("child").read_text())), "the job's own process outlived it"
    run([job("a")])
    assert Path("a.txt").exists()


def test_a_signal_while_a_job_starts_leaves_no_process(folder, monkeypatch):
    started = []

    def start_under_signal(*said):
        started.append(start(*said))
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        return started[-1]

    monkeypatch.setattr(run_jobs_module, "start", start_under_signal)
    with pytest.raises(Interrupted), signals_raise():
        run([job("a", script="exec sleep 60")])
    assert [process.wait(10) for process in started] == [-signal.SIGTERM]


def test_a_job_that_outlived_a_killed_start_is_not_started_twice(folder):
    log = log_of(DIAMOND[0], Path("out"))
    log.parent.mkdir(parents=True)
    with log.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="a: still runs from an earlier start; wait for its end, see out/logs/a"):
            run(DIAMOND)
    run(DIAMOND)


def test_python_is_the_one_that_runs_this(folder):
    script = "python -c 'import sys; print(sys.prefix)' >{made}"
    run([job("a", script=script)])
    assert Path("a.txt").read_text().strip() == sys.prefix


def test_a_table_is_made_again_when_what_it_needs_is_and_a_training_is_not(folder):
    run(DIAMOND)
    Path("a.txt").unlink()
    assert [job.name for job in jobs_left(DIAMOND, Path("out"))] == ["a"]
    Path("c.txt").unlink()
    assert [job.name for job in jobs_left(DIAMOND, Path("out"))] == ["a", "c", "d"]


def test_what_people_write_makes_a_table_anew(folder):
    answers = Path("answers")
    one = Job("t", "result", job("t").command, Path("t.txt"), reads=answers)
    run([one])
    answers.touch()
    os.utime(answers, ns=(0, Path("t.txt").stat().st_mtime_ns + 1))
    assert jobs_left([one], Path("out")) == [one]
    os.utime(answers, ns=(0, Path("t.txt").stat().st_mtime_ns))
    assert jobs_left([one], Path("out")) == []


def test_a_table_that_is_left_is_gone_before_its_scores_are_new(folder):
    run(DIAMOND)
    Path("c.txt").unlink()
    claim_jobs(DIAMOND, Path("out"))
    # The run ends when the score is made and the table is not yet.
    run_jobs(DIAMOND, [DIAMOND[2]], 1, Path("out"), lambda line: None)
    assert [left.name for left in jobs_left(DIAMOND, Path("out"))] == ["d"]


def test_what_a_table_shows_makes_it_anew(folder):
    titled = [replace(DIAMOND[3], shows=title) for title in ("GREEN", "RaTEScore")]
    run([*DIAMOND[:3], titled[0]])
    assert [left.name for left in jobs_left([*DIAMOND[:3], titled[1]], Path("out"))] == ["d"]
    assert run([*DIAMOND[:3], titled[1]])[-1].startswith("done: d, ")
    assert jobs_left([*DIAMOND[:3], titled[1]], Path("out")) == []


def test_a_study_that_readers_have_scored_is_never_removed(folder):
    study = replace(job("study"), answers=Path("answers"))
    run([study])
    other = replace(job("study", script=COPY + " # other cases"), answers=Path("answers"))
    Path("answers").write_text("")
    assert [left.name for left in jobs_left([other], Path("out"))] == ["study"]
    Path("answers").write_text("4\n")
    with pytest.raises(ValueError, match="readers have scored it, and the plan's job study now has another command"):
        run([other])
    assert Path("study.txt").exists() and jobs_left([study], Path("out")) == []


def test_more_workers_or_threads_are_no_other_command(folder):
    def prepared(*said: str) -> Job:
        return replace(job("a", kind="prepare"), command=said)

    made = prepared("argus", "prepare", "data", "--workers", "2", "--seed", "1")
    (folder / "new").mkdir()
    claim_jobs([prepared("argus", "prepare", "data", "--seed", "1")], folder / "new")
    for same in (made, prepared("env", "OMP_NUM_THREADS=1", *made.command)):
        assert changed_jobs([same], folder / "new") == set()
    assert changed_jobs([prepared("argus", "prepare", "data", "--seed", "2")], folder / "new") == {"a"}


def test_other_commands_remake_tables_and_refuse_to_take_over_data(folder):
    run(DIAMOND)
    changed = job("d", "b", "c", script=COPY + " # changed")
    assert [left.name for left in jobs_left([*DIAMOND[:3], changed], Path("out"))] == ["d"]
    run([*DIAMOND[:3], changed])
    assert Path("order").read_text().split()[-1] == "d" and jobs_left([*DIAMOND[:3], changed], Path("out")) == []
    other = job("a", kind="prepare", script=COPY + " # other data")
    kept = Path("out", JOBS_FILE).read_bytes()
    with pytest.raises(ValueError, match="was made by another command than the plan's job a now has"):
        run([other, *DIAMOND[1:]])
    assert Path("a.txt").exists() and Path("out", JOBS_FILE).read_bytes() == kept
