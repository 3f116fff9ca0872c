"""Read every listed volume once: resumable, with another reconstruction in place of one that cannot be read."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..sources.tables import Problem, SourceScan
from ..storage.progress import progress_bar
from .volume_engines import ENGINES
from .volume_records import VolumeRecord, VolumeTask, load_record, record_path

UNREADABLE_RECONSTRUCTION = "unreadable_reconstruction"
_NOT_READ = VolumeRecord(0, 0, error="left out by its source, so not read")
_NUMBER = re.compile(r"\d[\d.,]*")


class NothingReadableError(ValueError):
    """Error if every volume read so far failed for the same cause; `problems` names them."""

    def __init__(self, message: str, problems: list[Problem]):
        super().__init__(message)
        self.problems = problems


@dataclass
class Examination:
    """Scans with the record of the volume that is used for each, in the order of the listing."""

    scans: list[SourceScan] = field(default_factory=list)
    records: list[VolumeRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def num_replaced(self, source: str) -> int:
        """Count a source's scans for which another volume than the first is used."""
        kinds = (UNREADABLE_RECONSTRUCTION, f"{source} ")
        return sum(problem.kind == kinds[0] and problem.where.startswith(kinds[1]) for problem in self.problems)


@dataclass(frozen=True)
class Reading:
    """Settings for reading volumes.

    Attributes:
        roots: source -> folder of its download.
        folder: folder of the records.
        engine: a name in `ENGINES`.
        workers: number of volumes read at a time.
        give_up_after: stop if this many volumes of a source fail for the same cause before any could be read.
    """

    roots: Mapping[str, Path]
    folder: Path
    engine: str
    workers: int
    give_up_after: int


def examine_all(scans: Sequence[SourceScan], reading: Reading) -> Examination:
    """Read the volumes that have no record yet; if a scan's volume cannot be read, its next one is used.

    Raises:
        NothingReadableError: by the rule of `Reading.give_up_after`.
    """
    first = _examine({scan: _task_of(scan, reading) for scan in scans if not scan.left_out}, reading)
    used = {scan: (scan, record) for scan, record in first.items()}
    failed = [scan for scan, record in first.items() if record.error]
    while failed := [scan for scan in failed if used[scan][0].other_volumes]:
        nexts = {scan: _on_next_volume(used[scan][0]) for scan in failed}
        records = _examine({other: _task_of(other, reading) for other in nexts.values()}, reading)
        used |= {scan: (other, records[other]) for scan, other in nexts.items()}
        failed = [scan for scan in failed if used[scan][1].error]
    examination = Examination()
    for scan in scans:
        other, record = used.get(scan, (scan, _NOT_READ))
        if other is not scan and record.error:
            # None can be read: the error of the first one is reported.
            other, record = scan, first[scan]
        elif other is not scan:
            where = f"{scan.source} {scan.scan_id}: {Path(scan.volume).name}"
            detail = f"{first[scan].error}; {Path(other.volume).name} of the same scan is used"
            examination.problems.append(Problem(UNREADABLE_RECONSTRUCTION, where, detail))
        if record.not_saved:
            detail = f"{record.not_saved}; it is used all the same"
            examination.problems.append(Problem("record_not_kept", f"{scan.source} {scan.scan_id}", detail))
        examination.scans.append(other)
        examination.records.append(record)
    return examination


def _on_next_volume(scan: SourceScan) -> SourceScan:
    return replace(scan, volume=scan.other_volumes[0], other_volumes=scan.other_volumes[1:])


def _task_of(scan: SourceScan, reading: Reading) -> VolumeTask:
    record = record_path(reading.folder, scan.source, scan.volume)
    return VolumeTask(scan.source, scan.scan_id, str(reading.roots[scan.source] / scan.volume), str(record))


def _examine(tasks: Mapping[SourceScan, VolumeTask], reading: Reading) -> dict[SourceScan, VolumeRecord]:
    found = {task: record for task in tasks.values() if (record := load_record(task))}
    # Sorted by the names of their records, which are hashes: so the first to be read are a random sample of all.
    missing = sorted((task for task in tasks.values() if task not in found), key=lambda task: task.record)
    results = ENGINES[reading.engine](missing, reading.workers) if missing else iter(())
    with progress_bar() as progress:
        bar = progress.track(results, total=len(missing), description="volumes")
        for task, record in _until_all_fail([*found.items()], bar, reading.give_up_after):
            found[task] = record
    return {scan: found[task] for scan, task in tasks.items()}


def _until_all_fail(
    known: list[tuple[VolumeTask, VolumeRecord]],
    results: Iterable[tuple[VolumeTask, VolumeRecord]],
    limit: int,
) -> Iterator[tuple[VolumeTask, VolumeRecord]]:
    """Yield results while any volume of a source can be read, or causes differ."""
    failures: dict[str, list[tuple[VolumeTask, str]]] = defaultdict(list)
    readable = {task.source for task, record in known if not record.error}
    for task, record in known:
        if record.error:
            failures[task.source].append((task, record.error))
    for task, record in results:
        yield task, record
        if record.error:
            failures[task.source].append((task, record.error))
        else:
            readable.add(task.source)
        found = failures[task.source]
        if task.source not in readable and len(found) >= limit and len({cause_of(error) for _, error in found}) == 1:
            problems = [Problem("unreadable_volume", f"{bad.source} {bad.scan_id}", error) for bad, error in found]
            raise NothingReadableError(
                f"{task.source}: all of the first {len(found)} volumes read fail in the same way, such as "
                f"{Path(task.path).name}: {record.error}",
                problems,
            )


def cause_of(error: str) -> str:
    """Return an error without its numbers and advice, so that equal causes count together."""
    return _NUMBER.sub("#", error.split(";")[0])
