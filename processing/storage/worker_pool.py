"""Apply a function to many items in several processes; if one of them dies, the work of the others is kept."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
DIED = "reading it ended the process, by a fault or for want of memory"
WAITING_PER_WORKER = 4  # items submitted ahead, so that a list of 50,000 is not copied into the pool at once


def run_in_workers(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | None]]:
    """Yield every item with the function's result as it is ready, or with None if its process died.

    Args:
        function: must be picklable; an error that it raises ends the run.
        workers: number of processes; with one or fewer, the items are processed in this process.
    """
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    queue = iter(items)
    while suspects := (yield from _until_a_death(function, queue, workers, workers * WAITING_PER_WORKER)):
        # The death of one process ends its whole pool and does not show the item; one item at a time does.
        alone = iter(suspects)
        while died := (yield from _until_a_death(function, alone, 1, 1)):
            yield died[0], None


def _until_a_death(
    function: Callable, queue: Iterator[Item], workers: int, ahead: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Process the queue, with `ahead` items submitted; return the submitted items if a process dies, else none."""
    waiting: dict[Future, Item] = {}
    taken: list[Item] = []  # taken from the queue, but not submitted
    # "spawn": a forked child could inherit a lock that another thread holds.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            while True:
                for item in islice(queue, ahead - len(waiting)):
                    taken.append(item)
                    future = pool.submit(function, item)  # fails too, once a process has died
                    waiting[future] = taken.pop()
                if not waiting:
                    return []
                done = next(as_completed(waiting))
                result = done.result()
                yield waiting.pop(done), result
        except BrokenProcessPool:
            return [*waiting.values(), *taken]
