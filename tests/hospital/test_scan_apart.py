"""A fetched image that harms its reader fails its study, and the watcher goes on: crashes, hangs and lack of memory."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn_pacs import DrawnPacs, study_of, write_series
from harmful_readers import crash_on_many, end_by_fault, fill_memory, hang, stop_first
from test_pacs_watcher import NUM_SLICES, Hospital, kinds

from argus_hospital.pacs import scan_apart
from argus_hospital.pacs.ledger import DONE, FAILED
from argus_hospital.pacs.report_writer import ModelWriter, UnreadableScanError
from argus_inference.scan_process import ReaderLimits
from argus_processing.read_ct import read_ct

HARMS = {
    "crash": (end_by_fault, "the scan cannot be decoded (its reader died)"),
    "hang": (hang, "the scan took too long to read"),
    "memory": (fill_memory, "the scan takes more memory to read than a CT does"),
}


@pytest.fixture
def series(tmp_path) -> list[Path]:
    return write_series(tmp_path / "series", seed=1, num_slices=NUM_SLICES)


@pytest.fixture
def hospital(serving, tmp_path, series, monkeypatch):
    monkeypatch.setattr(scan_apart, "LIMITS", ReaderLimits(seconds=300.0, memory=2 << 30))
    scan_apart.start_early()
    pacs = DrawnPacs()
    pacs.add(series)
    with serving(pacs.app()) as address:
        yield Hospital(pacs, address, tmp_path / "state")


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("step", ["_examine", "_make"])
def test_a_harmful_series_fails_its_study_alone(hospital, tmp_path, monkeypatch, step, harm):
    """Another study of the same patient is read afterwards by the same watcher."""
    work, cause = HARMS[harm]
    if harm == "hang":
        monkeypatch.setattr(scan_apart, "LIMITS", ReaderLimits(seconds=1.0))
    monkeypatch.setattr(scan_apart, step, work)
    hospital.watch()
    ((_, told),) = hospital.ask_ledger("failures")
    assert told.startswith(cause) and kinds(hospital) == []
    monkeypatch.undo()
    hospital.pacs.add(write_series(tmp_path / "other", seed=2, num_slices=NUM_SLICES, PatientID="ID1"))
    hospital.watch()
    counts = hospital.ask_ledger("counts")
    assert (counts[DONE], counts[FAILED]) == (1, 1) and kinds(hospital) == ["DOC", "SR"]
    assert not list((hospital.state / "work").iterdir())


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmful_scan_is_no_end_of_its_writer(series, monkeypatch, harm):
    work, cause = HARMS[harm]
    monkeypatch.setattr(scan_apart, "LIMITS", ReaderLimits(seconds=1.0 if harm == "hang" else 60.0))
    monkeypatch.setattr(scan_apart, "_read", work)
    with pytest.raises(UnreadableScanError) as caught:
        ModelWriter(None, None, "", None, 16, print).write(series[0].parent)
    assert str(caught.value).startswith(cause) and str(series[0].parent) not in str(caught.value)


def test_a_scan_is_the_same_apart(series):
    own, apart = read_ct(series[0].parent), scan_apart.read_scan(series[0].parent)
    assert np.array_equal(own.hu, apart.hu) and np.array_equal(own.affine, apart.affine)


def test_a_lost_parent_of_readers_is_started_again(hospital, tmp_path):
    from multiprocessing import forkserver

    hospital.watch()
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    hospital.pacs.add(write_series(tmp_path / "other", seed=2, num_slices=NUM_SLICES))
    hospital.watch()
    assert hospital.ask_ledger("counts")[DONE] == 2


def test_another_series_is_read_where_the_best_harms_its_reader(hospital, series, tmp_path, monkeypatch):
    same = {"StudyInstanceUID": study_of(series), "PatientID": "ID1", "PatientName": "Patient^1"}
    best = write_series(tmp_path / "best", seed=3, num_slices=2 * NUM_SLICES, **same)
    hospital.pacs.add(best)
    monkeypatch.setattr(scan_apart, "_examine", partial(crash_on_many, NUM_SLICES))
    hospital.watch()
    (structured,) = hospital.pacs.of_kind("SR")
    evidence = structured.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [len(item.ReferencedSOPSequence) for item in evidence] == [NUM_SLICES]


def test_a_stop_of_the_service_is_no_fault_of_the_scan(hospital, monkeypatch):
    """A service's manager sends the signal to all of its processes at once."""
    monkeypatch.setattr(scan_apart, "_examine", stop_first)
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"]
