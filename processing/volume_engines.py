"""Reading many volumes: on one machine's cores, or on a Ray cluster. Every engine runs the same function."""

from collections.abc import Callable, Iterator

from .volume_records import VolumeRecord, VolumeTask, examine_volume, record_of_death
from .worker_pool import run_in_workers

Results = Iterator[tuple[VolumeTask, VolumeRecord]]


def examine_on_cores(tasks: list[VolumeTask], workers: int) -> Results:
    """Read volumes in `workers` processes, or in this one; results come as they are ready."""
    for task, result in run_in_workers(examine_volume, tasks, workers):
        yield result or (task, record_of_death(task))


def examine_on_ray(tasks: list[VolumeTask], workers: int) -> Results:
    """Read volumes on a Ray cluster, or on a local one that is started for it, `workers` at a time.

    The downloads and the output folder must lie where every node sees them under the same path.

    Raises:
        ValueError: if ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("--engine ray needs Ray: pip install 'argus-ct[ray]'") from None
    started_here = not ray.is_initialized()
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


def _has_cluster() -> bool:
    import os

    return bool(os.environ.get("RAY_ADDRESS"))


def _examine_row(row: dict) -> dict:
    task, record = examine_volume(row["task"])
    return {"task": task, "record": record}


ENGINES: dict[str, Callable[[list[VolumeTask], int], Results]] = {"local": examine_on_cores, "ray": examine_on_ray}
