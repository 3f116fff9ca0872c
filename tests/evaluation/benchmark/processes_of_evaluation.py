"""Evaluations in several processes on this machine, which meet at a file: no port is taken."""

import multiprocessing
import os
import signal
import sys
from functools import partial
from pathlib import Path

import datasets
import torch

from argus_cli import main as cli
from argus_evaluation.metrics import meteor
from argus_inference import generation, processes

TIMEOUT = 180
SERVER = multiprocessing.get_context("forkserver")


def evaluate_in_process(rank: int, world: int, meeting: Path, cache: Path, killed: int | None, arguments: list[str]):
    """Run `argus evaluate`; the rank `killed` dies before its second batch."""
    log = open(f"{meeting}.{rank}.log", "w")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "HF_HUB_OFFLINE": "1"}
    torch.set_num_threads(1)
    meteor._find_java = lambda: None  # as in the tests' own process
    datasets.config.HF_DATASETS_CACHE = cache
    join = torch.distributed.init_process_group
    torch.distributed.init_process_group = partial(join, rank=rank, world_size=world)
    processes.joined_processes.__wrapped__.__defaults__ = (f"file://{meeting}",)
    generate, calls = generation.generate_from, []

    def generate_or_die(*arguments, **options):
        calls.append(1)
        if rank == killed and len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return generate(*arguments, **options)

    generation.generate_from = generate_or_die
    sys.argv = ["argus", "evaluate", *arguments]
    cli.main()


def evaluate_together(world: int, meeting: Path, cache: Path, arguments: list[str], killed: int | None = None):
    """Return exit code and output of each process."""
    shared = (world, meeting, cache, killed, arguments)
    together = [SERVER.Process(target=evaluate_in_process, args=(rank, *shared)) for rank in range(world)]
    for process in together:
        process.start()
    for process in together:
        process.join(TIMEOUT)
        process.kill()
    return [
        (process.exitcode, Path(f"{meeting}.{rank}.log").read_text().splitlines())
        for rank, process in enumerate(together)
    ]
