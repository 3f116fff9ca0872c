"""Make the next batches in a thread while the current one is worked on, and begin them before it is done."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
Begun = TypeVar("Begun")


def prepare_ahead(
    prepare: Callable[[Item], Made], items: Iterable[Item], ahead: int = 1
) -> Generator[tuple[Item, Future[Made]], None, None]:
    """Yield each item with what `prepare` makes of it, or its error; while one is used, up to `ahead` more are made.

    Nothing else is held: what was yielded is forgotten. `prepare` runs in one thread, item after item; reading and
    resampling a scan let other threads run.
    """
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(1, "preparation")
    try:
        for item in items:
            waiting.append((item, pool.submit(prepare, item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)


def begun_ahead(
    made: Iterable[tuple[Item, Future[Made]]], begin: Callable[[Future[Made]], Begun], ahead: int
) -> Iterator[tuple[Item, Begun]]:
    """Yield each item with what `begin` gives for it; while one is waited for, `ahead` more have begun."""
    begun: deque[tuple[Item, Begun]] = deque()
    for item, future in made:
        begun.append((item, begin(future)))
        if len(begun) > ahead:
            yield begun.popleft()
    yield from begun
