import json
import subprocess
import sys
from pathlib import Path

import pytest

from argus_processing.curation import examination, volume_engines, volume_worker
from argus_processing.curation.examination import NothingReadableError, Reading, examine_all
from argus_processing.curation.volume_engines import ENGINES, examine_on_cores
from argus_processing.curation.volume_records import VolumeRecord, VolumeTask, examine_volume, load_record
from argus_processing.curation.volume_worker import PROGRAM, VolumeWorker
from argus_processing.sources.tables import SourceScan
from argus_processing.storage.worker_pool import DIED

# A reading process that a file's name can kill, or give an exception that is none of the usual.
PROGRAM_THAT_DIES = f"""
import os, sys, types
package = types.ModuleType("argus_processing")
package.__path__ = [{str(Path(volume_worker.__file__).parents[1])!r}]
sys.modules["argus_processing"] = package
from argus_processing.curation import volume_records, volume_worker
from argus_processing.ct_checks import CTReadError
class PanicException(BaseException): pass
def read(path):
    if "deadly" in path: os.kill(os.getpid(), 9)
    if "panic" in path: raise PanicException("1.2.3 SECRET")
    if "huge" in path: raise MemoryError
    print("a library prints")
    raise CTReadError(f"{{path}}: damaged; copy it again")
volume_records.read_ct = read
volume_worker.main()
"""


@pytest.fixture
def tasks(tmp_path):
    def make(*names) -> list[VolumeTask]:
        for name in names:
            (tmp_path / name).write_bytes(b"scan")
        return [VolumeTask("inspect", name, str(tmp_path / name), str(tmp_path / f"{name}.json")) for name in names]

    return make


def test_a_volume_that_kills_its_reader_costs_itself_only(tasks, monkeypatch):
    program = (sys.executable, "-c", PROGRAM_THAT_DIES)
    monkeypatch.setattr(volume_engines, "VolumeWorker", lambda: VolumeWorker(program))
    wanted = tasks("a", "deadly", "b", "panic", "c", "huge", "d")
    found = {task.scan_id: record for task, record in examine_on_cores(wanted, 2)}
    assert {name for name, record in found.items() if record.error == "damaged; copy it again"} == set("abcd")
    assert found["deadly"].error == DIED
    assert found["panic"].error == "could not be read (PanicException)"
    assert found["huge"].error == "could not be read: it needs more memory than there is"
    # What another machine may be able to read is tried again, what is wrong with the file is not.
    kept = {task.scan_id for task in wanted if load_record(task)}
    assert kept == {"a", "b", "c", "d", "panic"}


def test_a_reader_ends_with_the_program_that_started_it():
    process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    process.stdout.close()


def test_a_reader_that_cannot_start_is_an_error_and_no_damaged_volume(tasks):
    with pytest.raises(OSError, match="could not be started"):
        VolumeWorker((sys.executable, "-c", "raise SystemExit(3)")).examine(tasks("a")[0])


@pytest.fixture
def reading(tmp_path, monkeypatch):
    """Examine scans of which `errors` (volume -> cause) cannot be read; lists what was read."""
    (tmp_path / "root").mkdir()

    def make(errors: dict[str, str], volumes: list[str], give_up_after: int = 50) -> tuple[Reading, list[str]]:
        read = []

        def engine(some, workers):
            for task in some:
                read.append(Path(task.path).name)
                error = errors.get(Path(task.path).name)
                now = Path(task.path).stat()
                yield task, VolumeRecord(now.st_size, now.st_mtime_ns, error, content_hash=task.path)

        for volume in volumes:
            (tmp_path / "root" / volume).write_bytes(b"scan")
        monkeypatch.setitem(ENGINES, "local", engine)
        roots = {"ct-rate": tmp_path / "root", "inspect": tmp_path / "root"}
        return Reading(roots, tmp_path / "work", "local", 1, give_up_after), read

    return make


def scan_of(name: str, *others: str, source: str = "ct-rate", **more) -> SourceScan:
    return SourceScan(source, name, name, f"{name}_1", "Clear lungs.", other_volumes=others, **more)


def test_a_scan_falls_back_on_the_next_reconstruction_that_can_be_read(reading):
    scans = [
        scan_of("a", "a_2", "a_3"),
        scan_of("b", "b_2"),
        scan_of("c", "c_2"),
        scan_of("d", left_out=("no_chest", "")),
    ]
    errors = {"a_1": "cut", "a_2": "cut too", "c_1": "cut", "c_2": "cut too"}
    how, read = reading(errors, ["a_1", "a_2", "a_3", "b_1", "b_2", "c_1", "c_2", "d_1"])
    found = examine_all(scans, how)
    assert [scan.volume for scan in found.scans] == ["a_3", "b_1", "c_1", "d_1"]
    assert [record.error for record in found.records[:3]] == [None, None, "cut"]
    assert [problem.where for problem in found.problems] == ["ct-rate a: a_1"]
    assert found.problems[0].detail == "cut; a_3 of the same scan is used"
    assert found.num_replaced("ct-rate") == 1
    assert sorted(read) == ["a_1", "a_2", "a_3", "b_1", "c_1", "c_2"]  # neither the spare one nor the left out


def test_reading_stops_when_a_sources_volumes_all_fail_in_the_same_way(reading):
    names = [f"v{number}" for number in range(40)]
    errors = {f"{name}_1": f"the values run from 0 to {4000 + len(name)}; convert it" for name in names}
    how, read = reading(errors, [f"{name}_1" for name in names], give_up_after=10)
    with pytest.raises(
        NothingReadableError, match="all of the first 10 volumes read fail in the same way, such as"
    ) as stop:
        examine_all([scan_of(name) for name in names], how)
    assert len(read) == 10 and len(stop.value.problems) == 10


@pytest.mark.parametrize("exception", ["one can be read", "another cause"])
def test_reading_goes_on_while_one_volume_can_be_read_or_causes_differ(reading, exception):
    names = [f"v{number}" for number in range(40)]
    errors = {f"{name}_1": "cut" for name in names}
    how, read = reading(errors, [f"{name}_1" for name in names], give_up_after=10)
    first = min(names, key=lambda name: examination._task_of(scan_of(name), how).record)
    if exception == "one can be read":
        del errors[f"{first}_1"]
    else:
        errors[f"{first}_1"] = "empty"
    assert len(examine_all([scan_of(name) for name in names], how).records) == len(read) == 40


def test_a_record_is_read_back_as_it_was(tasks, tmp_path):
    task = tasks("a.nii.gz")[0]
    _, record = examine_volume(task)
    assert record.error and load_record(task) == record
    assert json.loads(Path(task.record).read_text())["error"] == record.error
    Path(task.path).write_bytes(b"another")
    assert load_record(task) is None
