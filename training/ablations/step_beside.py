"""Run a step of a cell in a process of its own, beside another step that does not need it."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

import torch

from .ablation_steps import Step, run_step


@contextmanager
def step_beside(step: Step, folder: Path) -> Iterator[None]:
    """Run a step in another process while the block runs, each with half of the threads; wait for its end.

    Small models gain little from a second thread: two steps with one thread each end sooner than one after the other.
    The other process tells nothing of its progress.

    Raises:
        Exception: what the step raises, after the block. If the block raises, the step is stopped.
    """
    threads = torch.get_num_threads()
    each = max(1, threads // 2)
    context = multiprocessing.get_context("spawn")  # a copy of this process would have its locks but not its threads
    with ProcessPoolExecutor(1, context, _begin, (each,)) as pool:
        torch.set_num_threads(each)
        try:
            running = pool.submit(run_step, step, folder)
            yield
            running.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            torch.set_num_threads(threads)


def _begin(threads: int) -> None:
    """Prepare the other process: it has its threads, is silent, and ends if the first one is killed."""
    torch.set_num_threads(threads)
    sys.stderr = open(os.devnull, "w")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
