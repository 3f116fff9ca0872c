"""Real processes that are told to end, in the middle of an evaluation and while a model is loaded."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from argus_inference.console.interruption import Interrupted
from argus_processing.saved_models.pretrained import refusing
from argus_processing.storage.foreign_files import ForeignFileError

# The command itself, which says on stdout that its second batch begins, and then waits to be told to end.
PROGRAM = """
import signal
import time
from argus_cli import main as cli
from argus_inference import generation

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests were started in the background
generate, calls = generation.generate_from, []

def generate_and_wait(*arguments, **options):
    calls.append(1)
    if len(calls) == 2:
        print("second batch", flush=True)
        while True:  # one long wait would miss a signal that came just before it
            time.sleep(0.01)
    return generate(*arguments, **options)

generation.generate_from = generate_and_wait
cli.main()
"""


def interrupt(stop: signal.Signals, asked: tuple[str, ...], cache: Path) -> tuple[int, str, str]:
    """Start the command, tell it to end once its second batch begins; give exit code, the rest of stdout, stderr."""
    environment = os.environ | {"HF_DATASETS_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *asked], **pipes) as process:
        try:
            assert process.stdout.readline() == "second batch\n"
            process.send_signal(stop)
            return process.wait(timeout=120), *process.communicate(timeout=120)
        finally:
            process.kill()


def test_an_evaluation_told_to_end_keeps_its_work_and_continues(argus, model_dir, tmp_path, monkeypatch):
    cache, out = tmp_path / "cache", tmp_path / "out"
    asked = ("evaluate", str(out), "--model", str(model_dir), "--num-phantoms", "1", "1", "3", "--max-new-tokens", "2")
    asked += ("--batch-size", "1")
    for count, stop in enumerate((signal.SIGINT, signal.SIGTERM), start=1):
        code, stdout, stderr = interrupt(stop, asked, cache)
        assert (code, stdout) == (130, "")
        told = f"argus: interrupted ({stop.name}); what was finished is kept, and the same command goes on where it can"
        assert stderr.splitlines()[-1] == told and "Traceback" not in stderr
        finished = (out / "predictions.jsonl").read_text()
        assert len(finished.splitlines()) == count
        assert not [path for path in out.iterdir() if ".argus-" in path.name] and not (out / "results.json").exists()
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
    assert argus(*asked)[0] == 0
    assert (out / "predictions.jsonl").read_text().startswith(finished)
    assert json.loads((out / "results.json").read_text())["n_test"] == 3


@pytest.mark.parametrize("stop", [Interrupted("SIGTERM"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_an_interruption_while_a_model_is_loaded_is_no_damaged_model(stop):
    with pytest.raises(type(stop)) as seen, refusing("model"):
        raise stop
    assert seen.value is stop


def test_a_panic_in_a_librarys_rust_is_a_damaged_model():
    panic = type("PanicException", (BaseException,), {})("index out of bounds")
    with (
        pytest.raises(ForeignFileError, match="model: cannot be loaded .PanicException: index out of bounds"),
        refusing("model"),
    ):
        raise panic


# Ends each new process at once; prints how many did not end, but slept on.
FORKS = """
import os, signal, time
from argus_inference.console.interruption import signals_raise

survived = 0
with signals_raise():
    for _ in range(50):
        child = os.fork()
        if child == 0:
            time.sleep(0.5)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        survived += not os.WIFSIGNALED(os.waitpid(child, 0)[1])
print(survived, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_a_new_process_that_is_ended_at_once_ends():
    # As a pool does when the first of its processes has done everything; one that lives on is waited for forever.
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0 set()\n", "")
