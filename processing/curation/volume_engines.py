"""Read many volumes on one machine's cores or on a Ray cluster, always in separate processes."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from queue import SimpleQueue

from .volume_records import VolumeRecord, VolumeTask, record_of_death
from .volume_worker import VolumeWorker

Results = Iterator[tuple[VolumeTask, VolumeRecord]]


def examine_on_cores(tasks: list[VolumeTask], workers: int) -> Results:
    """Read volumes in `workers` processes; yield results as they are ready.

    A volume that ends its process is read once more at the end, alone: another one may have used up the memory.
    """
    readers = [VolumeWorker() for _ in range(max(1, workers))]
    free: SimpleQueue[VolumeWorker] = SimpleQueue()
    for reader in readers:
        free.put(reader)

    def examine(task: VolumeTask) -> tuple[VolumeTask, VolumeRecord | None]:
        reader = free.get()
        try:
            return task, reader.examine(task)
        finally:
            free.put(reader)

    again = []
    pool = ThreadPoolExecutor(len(readers))
    try:
        for task, record in _as_ready(pool, examine, tasks, len(readers)):
            if record is None:
                again.append(task)
            else:
                yield task, record
        for task in again:
            yield task, readers[0].examine(task) or record_of_death(task)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for reader in readers:
            reader.close()
        pool.shutdown()


def _as_ready(pool: ThreadPoolExecutor, function: Callable, tasks: list[VolumeTask], at_once: int) -> Iterator:
    """Yield results in the order they finish; submit only as many tasks as can run, because a list may hold 50,000."""
    queue = iter(tasks)
    waiting: set[Future] = {pool.submit(function, task) for task in islice(queue, at_once)}
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        waiting |= {pool.submit(function, task) for task in islice(queue, len(done))}
        for future in done:
            yield future.result()


def examine_on_ray(tasks: list[VolumeTask], workers: int) -> Results:
    """Read volumes on a Ray cluster, or on a local one that is started for this, `workers` at a time.

    Every node must see the downloads and the output folder under the same path.

    Raises:
        ValueError: if ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("--engine ray needs Ray: pip install '.[ray]'") from None
    started_here = not ray.is_initialized()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if started_here:
        ray.init(num_cpus=None if _has_cluster() else workers, include_dashboard=False, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        items = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=max(1, len(tasks) // 8))
        results = items.map(_examine_row, num_cpus=1, concurrency=workers)
        for row in results.iter_rows():
            yield row["task"], row["record"]
    finally:
        if started_here:
            ray.shutdown()
            # Ray leaves a handler behind. A process forked later could lose the signal by which its pool ends it.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)


def _has_cluster() -> bool:
    return bool(os.environ.get("RAY_ADDRESS"))


# One worker in each of Ray's processes.
_reader = VolumeWorker()


def _examine_row(row: dict) -> dict:
    task = row["task"]
    record = _reader.examine(task) or _reader.examine(task) or record_of_death(task)
    return {"task": task, "record": record}


ENGINES: dict[str, Callable[[list[VolumeTask], int], Results]] = {"local": examine_on_cores, "ray": examine_on_ray}
