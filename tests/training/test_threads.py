"""A number of threads that is none is told in a line, before a library fails on it while it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import argus_training
from argus_training.threads import THREAD_VARIABLES, ThreadsError, check_threads

PROGRAMS = ("sft.py", "pretrain.py", "ablate.py")


@pytest.mark.parametrize("variable", THREAD_VARIABLES)
@pytest.mark.parametrize("number", ["abc", "0", "-1", "1e9", "2,2", " 1", "1\n", "１"])
def test_a_number_that_is_none_is_refused_by_its_name(monkeypatch, variable, number):
    monkeypatch.setenv(variable, number)
    with pytest.raises(ThreadsError, match=f"{variable} is .*; set it to 1 or more"):
        check_threads()


@pytest.mark.parametrize("number", ["1", "08", "64", ""])
def test_numbers_are_left_and_an_empty_one_counts_as_not_set(monkeypatch, number):
    monkeypatch.setenv("OMP_NUM_THREADS", number)
    check_threads()
    assert os.environ.get("OMP_NUM_THREADS", "") == number and (number or "OMP_NUM_THREADS" not in os.environ)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("start", ["file", "module"])
def test_training_programs_end_in_a_line(program, start):
    path = Path(argus_training.__file__).with_name(program)
    named = [str(path)] if start == "file" else ["-m", f"argus_training.{path.stem}"]
    command = [sys.executable, *named, "--config", "recipe.yaml"]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "abc"}, capture_output=True, text=True)
    told = f"{program}: the environment's OMP_NUM_THREADS is 'abc'; set it to 1 or more, or unset it\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
