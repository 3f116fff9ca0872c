"""A watcher and an Orthanc that are killed, cut off and starved: always one report and one page: `make test-pacs`."""

import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from drawn_pacs import study_of, write_series
from holding_proxy import AFTER, BEFORE, HALF, Hold
from hostile_headers import set_anyway
from test_dicom_objects import SECRETS
from watching import NUM_SLICES, Watching, is_reported, wait_until

SERIES, IMAGE = r"/series/[0-9.]+$", r"/instances/[0-9.]+$"
# The step at which a program is ended: the request that is held, and when.
STEPS = {
    "query": ("GET", "/metadata$", BEFORE, 1),
    "fetch": ("GET", SERIES, HALF, 1),
    "made": ("POST", "/studies", BEFORE, 1),
    "page sent": ("POST", "/studies", AFTER, 1),
    "half sent": ("POST", "/studies", BEFORE, 2),
    "sent": ("POST", "/studies", AFTER, 2),
    "read back": ("GET", IMAGE, AFTER, 4),
}


def check_one_report(orthanc, watching, study: str) -> None:
    """Check that there is one report and one page, and that nothing waits or lies about."""
    assert [len(orthanc.objects(study, kind)) for kind in ("SR", "DOC")] == [1, 1]
    done = f"SELECT 1 FROM study WHERE uid = '{study}' AND state = 'done'"
    wait_until(lambda: bool(watching.ask_ledger(done)), "the ledger to say so")
    assert watching.ask_ledger("SELECT count(*) FROM outbox") == [(0,)]
    assert watching.left_behind() == []


@pytest.fixture(autouse=True)
def is_watching(proxy, watching) -> None:
    """Start the watcher again where the test before failed while it was ended."""
    proxy.hold.released.set()
    if watching.process.poll() is not None:
        watching.start()


@pytest.mark.parametrize("step", STEPS)
def test_a_watcher_that_is_killed_goes_on(orthanc, proxy, watching, study_files, step):
    proxy.hold = Hold(*STEPS[step])
    orthanc.send(study_files)
    assert proxy.hold.arrived.wait(240)
    watching.end(signal.SIGKILL)
    study = study_of(study_files)
    assert len(orthanc.objects(study, "SR")) == int(step in ("sent", "read back"))
    proxy.hold.released.set()  # what was on its way arrives while the watcher starts again
    watching.start()
    wait_until(lambda: is_reported(orthanc, study), "the report")
    check_one_report(orthanc, watching, study)


@pytest.mark.parametrize("step", STEPS)
def test_a_watcher_outlives_an_orthanc_that_is_killed(orthanc, proxy, watching, study_files, step):
    proxy.hold = Hold(*STEPS[step])
    orthanc.send(study_files)
    assert proxy.hold.arrived.wait(240)
    orthanc.kill()
    proxy.hold.released.set()
    time.sleep(2)
    orthanc.start()
    study = study_of(study_files)
    wait_until(lambda: is_reported(orthanc, study), "the report")
    check_one_report(orthanc, watching, study)


def test_a_pacs_that_is_down_for_a_minute_is_waited_for(orthanc, watching, study_files):
    orthanc.send(study_files)
    orthanc.stop()
    time.sleep(60)
    assert watching.said().rstrip().splitlines()[-1].startswith("argus: waiting: the PACS does not answer")
    orthanc.start()
    study = study_of(study_files)
    wait_until(lambda: is_reported(orthanc, study), "the report")
    check_one_report(orthanc, watching, study)


def test_two_watchers_at_once_leave_one_report(orthanc, proxy, watching, model_dir, tmp_path, study_files):
    """The second one starts with an empty state while the first one works."""
    other = Watching(tmp_path / "other", proxy.address, model_dir)
    other.start()
    try:
        orthanc.send(study_files)
        study = study_of(study_files)
        wait_until(lambda: is_reported(orthanc, study), "the report")
        for each in (watching, other):
            check_one_report(orthanc, each, study)
    finally:
        other.end(signal.SIGTERM)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB, where the system lets us mount one (`unshare --mount`)."""
    folder = tmp_path / "watching"
    (folder / "state").mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder / "state"], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder / "state"], check=True)


def test_a_full_disk_is_waited_for(orthanc, proxy, watching, model_dir, small_disk, study_files):
    own = Watching(small_disk, proxy.address, model_dir)
    watching.end(signal.SIGTERM)  # or it reports first
    own.start()
    try:
        wait_until(lambda: not own.ask_ledger("SELECT 1 FROM study WHERE state = 'waiting'"), "what is there already")
        filler = own.state / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        orthanc.send(study_files)
        wait_until(lambda: "cannot be written" in own.said(), "the disk to be told")
        study = study_of(study_files)
        assert not is_reported(orthanc, study)
        filler.unlink()
        wait_until(lambda: is_reported(orthanc, study), "the report")
        check_one_report(orthanc, own, study)
    finally:
        own.end(signal.SIGTERM)
        watching.start()


def test_planted_values_show_in_no_log_ledger_metric_or_file(orthanc, proxy, watching, tmp_path):
    """Two studies, one of which is refused; the watcher is killed while it holds images, and started again."""
    secrets = {}
    studies = []
    for seed, count in ((501, NUM_SLICES), (502, 6)):
        files = write_series(tmp_path / str(seed), seed, count)
        for path in files:
            header = pydicom.dcmread(path)
            for number, keyword in enumerate(SECRETS):
                secrets[keyword] = f"SECRET{number:02d}X"
                set_anyway(header, keyword, secrets[keyword])
            header.save_as(path)
        studies.append((study_of(files), files))
    proxy.hold = Hold("GET", SERIES, HALF)
    for _, files in studies:
        orthanc.send(files)
    assert proxy.hold.arrived.wait(240)
    watching.end(signal.SIGKILL)
    proxy.hold.released.set()
    watching.start()
    wait_until(lambda: is_reported(orthanc, studies[0][0]), "the report")
    check_one_report(orthanc, watching, studies[0][0])
    refused = f"SELECT 1 FROM study WHERE uid = '{studies[1][0]}' AND state = 'refused'"
    wait_until(lambda: bool(watching.ask_ledger(refused)), "the refusal")
    metrics = subprocess.run(["curl", "-s", f"http://127.0.0.1:{watching.port}/metrics"], capture_output=True).stdout
    assert watching.end(signal.SIGTERM) == 130
    told = {path: path.read_bytes() for path in _files_below(watching.folder)} | {Path("metrics"): metrics}
    found = {(path.name, value) for path, text in told.items() for value in re.findall(rb"SECRET[0-9]{2}X", text)}
    assert len(secrets) >= 40 and len(metrics) > 1000 and found == set()
    logs = watching.said() + (watching.state / "audit.jsonl").read_text() + metrics.decode()
    assert not [study for study, _ in studies if study in logs]
    watching.start()


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
