import importlib

import pytest

from argus_processing.storage.worker_pool import run_in_workers

# A file of its own: every worker imports where the function lies, and this one would bring the whole package.
DEADLY = """
import os
import signal


def square_or_die(number):
    if number in (3, 5):
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number
"""


def test_a_process_that_dies_costs_no_item_but_its_own(tmp_path, monkeypatch):
    (tmp_path / "deadly_function.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("deadly_function").square_or_die
    done = dict(run_in_workers(function, range(10), 2))
    assert done == {number: None if number in (3, 5) else number**2 for number in range(10)}


def test_what_the_function_raises_ends_the_run():
    with pytest.raises(ZeroDivisionError):
        list(run_in_workers(lambda number: 1 // number, [0], 1))
