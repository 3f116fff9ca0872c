"""The watcher against a small DICOMweb server: one report for the same images and model, whatever fails meanwhile."""

import json
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from dicom_check import texts_of
from drawn_pacs import DrawnPacs, study_of, write_series
from hostile_headers import write_evidence
from pydicom.uid import generate_uid
from starlette.responses import Response

from argus_hospital.objects.report_content import ReportContent, report_content
from argus_hospital.objects.write_objects import file_bytes
from argus_hospital.pacs import scan_apart
from argus_hospital.pacs.ledger import DONE, FAILED, REFUSED, WAITING
from argus_hospital.pacs.pacs_client import PacsClient
from argus_hospital.pacs.pacs_settings import PacsAddress, WatchSettings
from argus_hospital.pacs.report_writer import UnreadableScanError
from argus_hospital.pacs.state_folder import opened_state
from argus_hospital.pacs.watch_metrics import WatchMetrics
from argus_hospital.pacs.watcher import Watcher
from argus_hospital.series.site_preferences import SitePreferences

NUM_SLICES = 20
PREFERENCES = SitePreferences(max_thickness_mm=20.0, min_slices=10)
TEXT = "Small effusion on the right. Impression: Effusion."


@dataclass
class DrawnWriter:
    """Writes the same report on every series, and counts."""

    model_hash: str = "5e" * 32
    text: str = TEXT
    problem: str = ""
    folders: list[Path] = field(default_factory=list)

    def write(self, folder: Path, maps: Path | None = None) -> ReportContent:
        self.folders.append(folder)
        if self.problem:
            raise UnreadableScanError(self.problem)
        return report_content(self.text, self.model_hash, {}, datetime.now().replace(microsecond=0), False)


@dataclass
class MappingWriter(DrawnWriter):
    """Finds evidence for the first sentence too, where it is asked for."""

    def write(self, folder: Path, maps: Path | None = None) -> ReportContent:
        if maps is not None:
            maps.mkdir()
            write_evidence(folder, maps / "sentence_01.nii.gz")
            named = {"number": 1, "text": "Small effusion on the right.", "map": "sentence_01.nii.gz"}
            (maps / "evidence.json").write_text(json.dumps({"sentences": [named]}))
        return super().write(folder)


class TooLongError(Exception):
    """Ends a watcher that waits for longer than a test does."""


@dataclass
class Hospital:
    """A PACS, and watchers of it that share a state folder."""

    pacs: DrawnPacs
    address: str
    state: Path
    writer: DrawnWriter = field(default_factory=DrawnWriter)
    said: list[str] = field(default_factory=list)
    metrics: WatchMetrics = field(default_factory=WatchMetrics)
    rests: int = 0

    def watch(self, max_rests: int = 40, **settings) -> None:
        """Run a watcher until no study waits."""
        own = {"quiet_s": 0.0, "poll_s": 0.01, "days": None, "max_tries": 3} | settings
        chosen = WatchSettings(PacsAddress(f"{self.address}/web", timeout_s=5), "", str(self.state), **own)
        self.rests = 0

        def rest(seconds: float) -> None:
            self.rests += 1
            if self.rests > max_rests:
                raise TooLongError
            time.sleep(min(seconds, 0.01))

        with opened_state(self.state) as state:
            client = PacsClient(chosen.pacs)
            Watcher(chosen, client, self.writer, PREFERENCES, state, self.metrics, self.said.append, rest).run(True)

    def ask_ledger(self, question: str) -> list:
        """Return what a method of the ledger says."""
        with opened_state(self.state) as state:
            return getattr(state.ledger, question)()

    def hurry(self) -> None:
        """Let studies that wait for their next try be due now."""
        with opened_state(self.state) as state:
            state.ledger._db.execute("UPDATE study SET due = 0")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, tmp_path):
    """Processes for each study would make the tests slow; what they are for is in `test_scan_apart`."""
    monkeypatch.setattr(scan_apart, "answer_apart", lambda make, limits: make(tmp_path))
    monkeypatch.setattr(scan_apart, "start_early", lambda: None)


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> list[Path]:
    return write_series(tmp_path_factory.mktemp("series"), seed=1, num_slices=NUM_SLICES)


@pytest.fixture
def hospital(serving, tmp_path, series):
    pacs = DrawnPacs()
    pacs.add(series)
    with serving(pacs.app()) as address:
        yield Hospital(pacs, address, tmp_path / "state")


def kinds(hospital: Hospital) -> list[str]:
    """Return the modalities of the objects that came back, in order."""
    return [str(header.Modality) for header in hospital.pacs.headers() if header.Modality != "CT"]


def test_a_study_gets_one_report_however_often_it_is_looked_at(hospital, series, tmp_path):
    hospital.watch()
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"] and len(hospital.writer.folders) == 1
    (structured,) = hospital.pacs.of_kind("SR")
    assert structured.StudyInstanceUID == study_of(series) and structured.PatientName == "Patient^1"
    structured.save_as(tmp_path / "sr.dcm")
    assert texts_of(tmp_path / "sr.dcm") == ["Small effusion on the right.", "Effusion."]
    assert hospital.ask_ledger("counts")[DONE] == 1 and hospital.ask_ledger("num_outbox") == 0
    assert not list((hospital.state / "work").iterdir())


def test_a_lost_state_folder_gives_no_second_report(hospital):
    hospital.watch()
    hospital.state = hospital.state.with_name("new")
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"] and len(hospital.writer.folders) == 1


def test_a_report_that_was_deleted_in_the_pacs_is_not_sent_again(hospital):
    hospital.watch()
    for header in hospital.pacs.headers():
        if header.Modality != "CT":
            del hospital.pacs.objects[header.SOPInstanceUID]
    hospital.watch()
    assert kinds(hospital) == []


def test_a_late_slice_gives_a_new_report_that_names_the_first(hospital, series, tmp_path):
    late = [pydicom.dcmread(series[-1]).SOPInstanceUID]
    kept = {uid: hospital.pacs.objects.pop(uid) for uid in late}
    hospital.watch()
    hospital.pacs.objects |= kept
    hospital.watch()
    first, second = hospital.pacs.of_kind("SR")
    (earlier,) = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert earlier.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in first and kinds(hospital) == ["DOC", "SR"] * 2


def test_a_new_model_reports_again_and_names_the_last_report(hospital):
    for model in ("5e", "6f", "70"):
        hospital.writer.model_hash = model * 32
        hospital.watch()
    reports = hospital.pacs.of_kind("SR")
    named = [
        report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        for report in reports[1:]
    ]
    assert [item.ReferencedSOPInstanceUID for item in named] == [report.SOPInstanceUID for report in reports[:2]]


def test_two_watchers_with_states_of_their_own_leave_one_report(hospital):
    """The second is where the first was when neither had sent anything."""
    writer = hospital.writer
    other = Hospital(hospital.pacs, hospital.address, hospital.state.with_name("other"))
    hospital.writer = type(
        "Meanwhile",
        (),
        {"model_hash": writer.model_hash, "write": lambda self, folder, maps: (other.watch(), writer.write(folder))[1]},
    )()
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"] and len(writer.folders) == len(other.writer.folders) == 1
    assert hospital.ask_ledger("counts")[DONE] == other.ask_ledger("counts")[DONE] == 1


def test_another_text_under_the_same_uid_is_not_mixed_with_ours(hospital):
    """Another watcher's PDF is there, with another text, and its structured report never comes."""
    writer = hospital.writer
    other = Hospital(hospital.pacs, hospital.address, hospital.state.with_name("other"), DrawnWriter(text="Normal."))
    hospital.pacs.fault = only_pdf
    other.watch(max_tries=1)
    hospital.pacs.fault = lambda request, body: None
    hospital.watch(max_tries=1)
    assert kinds(hospital) == ["DOC"] and writer.text == TEXT
    assert "holds another report" in hospital.ask_ledger("failures")[0][1]


def only_pdf(request, body: bytes) -> Response | None:
    is_pdf = b"%PDF-" in body
    return Response(status_code=500) if request.method == "POST" and not is_pdf else None


def test_a_pacs_that_stores_nothing_is_tried_again_and_then_given_up(hospital):
    hospital.pacs.fault = lambda request, body: Response(status_code=400) if request.method == "POST" else None
    for _ in range(2):
        with pytest.raises(TooLongError):
            hospital.watch(max_rests=3)
        hospital.hurry()
    hospital.watch()
    assert [cause for _, cause in hospital.ask_ledger("failures")] == ["the PACS answered 400 to STOW-RS"]
    assert len(hospital.writer.folders) == 1


def test_a_study_that_failed_is_sent_when_it_is_tried_again(hospital):
    hospital.pacs.fault = only_pdf
    hospital.watch(max_tries=1)
    assert hospital.ask_ledger("counts")[FAILED] == 1 and kinds(hospital) == ["DOC"]
    hospital.pacs.fault = lambda request, body: None
    with opened_state(hospital.state) as state:
        assert state.ledger.retry_failures() == 1
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"] and len(hospital.writer.folders) == 1


def test_a_pacs_that_says_stored_and_does_not_keep_is_found_out(hospital):
    answer = json.dumps({"00081199": {"vr": "SQ", "Value": []}})
    hospital.pacs.fault = lambda request, body: (
        Response(answer, media_type="application/dicom+json") if request.method == "POST" else None
    )
    hospital.watch(max_tries=1)
    causes = [cause for _, cause in hospital.ask_ledger("failures")]
    assert causes == ["the PACS did not keep an object that it was sent"]


def test_times_when_the_pacs_is_down_do_not_count_as_tries(hospital):
    answers = iter([True] * 12)
    hospital.pacs.fault = lambda request, body: (
        Response(status_code=503) if "metadata" in request.url.path and next(answers, False) else None
    )
    hospital.watch(max_tries=2)
    assert kinds(hospital) == ["DOC", "SR"] and any("503" in line for line in hospital.said)
    assert "works again" in hospital.said


def test_a_study_without_a_chest_is_refused_until_one_comes(hospital, series, tmp_path):
    objects = dict(hospital.pacs.objects)
    hospital.pacs.objects = dict(list(objects.items())[:8])
    hospital.watch()
    assert hospital.ask_ledger("counts")[REFUSED] == 1 and kinds(hospital) == []
    hospital.pacs.objects = objects
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"]


def test_a_refused_study_keeps_its_reason_when_something_else_comes(hospital, series):
    objects = dict(hospital.pacs.objects)
    hospital.pacs.objects = dict(list(objects.items())[:8])
    hospital.watch()
    other = pydicom.dcmread(series[0])
    other.Modality, other.SeriesInstanceUID, other.SOPInstanceUID = "SR", "1.2.3.4", "1.2.3.4.5"
    other.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    path = hospital.state / "other.dcm"
    other.save_as(path)
    hospital.pacs.add([path])
    hospital.watch()
    with opened_state(hospital.state) as state:
        (row,) = state.ledger._db.execute("SELECT state, instances, cause FROM study").fetchall()
    assert row[:2] == (REFUSED, 9) and "no series is a chest CT to read" in row[2]


def test_a_series_that_cannot_be_reported_on_fails_once_with_the_cause(hospital):
    hospital.writer.problem = "the slices are damaged"
    hospital.watch()
    hospital.watch()
    assert [cause for _, cause in hospital.ask_ledger("failures")] == ["the slices are damaged"]
    assert len(hospital.writer.folders) == 1


def test_a_study_that_ends_the_program_is_given_up(hospital):
    for _ in range(4):
        hospital.writer.write = lambda folder, maps: (_ for _ in ()).throw(KeyboardInterrupt)
        with opened_state(hospital.state) as state:
            state.ledger._db.execute("UPDATE study SET tries = tries + 1")  # as a sudden end leaves it
        try:
            hospital.watch()
        except KeyboardInterrupt:
            continue
    (failure,) = hospital.ask_ledger("failures")
    assert failure[1] == "the program ended 3 times while it was read"


def test_a_busy_study_is_not_read_before_it_is_quiet(hospital):
    with pytest.raises(TooLongError):
        hospital.watch(max_rests=5, quiet_s=60)
    assert hospital.writer.folders == [] and hospital.ask_ledger("counts")[WAITING] == 1


def test_a_second_watcher_with_the_same_state_is_refused(hospital):
    with opened_state(hospital.state), pytest.raises(ValueError, match="another watcher works with this state"):
        hospital.watch()


def test_files_of_the_state_are_for_their_owner_alone(hospital):
    hospital.watch()
    modes = {path.name: path.stat().st_mode & 0o777 for path in [hospital.state, *hospital.state.iterdir()]}
    assert {name for name, mode in modes.items() if mode & 0o077} <= {"lock"}
    assert modes["ledger.sqlite"] == modes["audit.jsonl"] == modes["audit.key"] == 0o600


def test_logs_and_metrics_name_neither_patient_nor_study(hospital, series):
    hospital.watch()
    told = "\n".join(hospital.said) + (hospital.state / "audit.jsonl").read_text()
    told += str([sample for metric in hospital.metrics.registry.collect() for sample in metric.samples])
    assert "Patient^1" not in told and "ID1" not in told and study_of(series) not in told
    assert re.search(r'"event": "sent"', told) and "argus_reports_sent_total" in told
    content = b"".join(path.read_bytes() for path in hospital.state.glob("ledger*"))
    assert b"Patient^1" not in content


def test_a_series_is_chosen_by_its_headers_among_others(hospital, tmp_path):
    """Of two more series of the study, the localizer is refused, and the lung kernel ranks lower."""
    study = hospital.pacs.headers()[0].StudyInstanceUID
    for kind, kernel, image_type in (("lung", "B70f", "AXIAL"), ("scout", "B31f", "LOCALIZER")):
        paths = write_series(tmp_path / kind, seed=7, num_slices=NUM_SLICES if kind == "lung" else 2)
        for path in paths:
            header = pydicom.dcmread(path)
            header.StudyInstanceUID, header.SeriesInstanceUID = study, generate_uid(entropy_srcs=[kind])
            header.SOPInstanceUID = generate_uid(entropy_srcs=[kind, path.name])
            header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
            header.PatientName, header.PatientID = "Patient^1", "ID1"
            header.ImageType, header.ConvolutionKernel = ["ORIGINAL", "PRIMARY", image_type], kernel
            header.save_as(path)
        hospital.pacs.add(paths)
    hospital.watch()
    (structured,) = hospital.pacs.of_kind("SR")
    evidence = structured.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [len(item.ReferencedSOPSequence) for item in evidence] == [NUM_SLICES]
    fetched = {path for path in hospital.pacs.requests if re.fullmatch(r"GET .*/series/[0-9.]+", path)}
    assert len(fetched) == 1


def test_evidence_is_sent_before_the_structured_report(hospital):
    hospital.writer = MappingWriter()
    hospital.watch(evidence=True)
    assert kinds(hospital) == ["DOC", "SEG", "SR"] and hospital.ask_ledger("num_outbox") == 0
    (segmentation,) = hospital.pacs.of_kind("SEG")
    assert segmentation.SegmentationType == "FRACTIONAL"
    assert segmentation.SegmentSequence[0].SegmentLabel == "1: Small effusion on the right."


def test_no_evidence_is_made_unless_it_is_asked_for(hospital):
    hospital.writer = MappingWriter()
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"]


def test_evidence_that_cannot_be_placed_is_left_out(hospital):
    """The images have no frame of reference; the report is sent all the same."""
    for uid, content in hospital.pacs.objects.items():
        header = pydicom.dcmread(BytesIO(content))
        del header.FrameOfReferenceUID
        hospital.pacs.objects[uid] = file_bytes(header)
    hospital.writer = MappingWriter()
    hospital.watch(evidence=True)
    assert kinds(hospital) == ["DOC", "SR"]
    lines = [json.loads(line) for line in (hospital.state / "audit.jsonl").read_text().splitlines()]
    (told,) = [line["told"] for line in lines if line["event"] == "evidence left out"]
    assert "FrameOfReferenceUID" in told


def test_a_fhir_document_is_written_once_the_report_is_in_the_pacs(hospital, series, tmp_path):
    """It is not, while the structured report cannot be sent; that of a late slice names the first one."""
    inbox = tmp_path / "fhir"
    late = str(pydicom.dcmread(series[-1]).SOPInstanceUID)
    kept = hospital.pacs.objects.pop(late)
    hospital.pacs.fault = only_pdf
    hospital.watch(max_tries=1, fhir=str(inbox))
    assert not inbox.exists()
    hospital.pacs.fault = lambda request, body: None
    with opened_state(hospital.state) as state:
        state.ledger.retry_failures()
    hospital.watch(fhir=str(inbox))
    hospital.pacs.objects[late] = kept
    hospital.watch(fhir=str(inbox))
    uids = [str(report.SOPInstanceUID) for report in hospital.pacs.of_kind("SR")]
    documents = [json.loads((inbox / f"{uid}.fhir.json").read_text()) for uid in uids]
    assert [each["identifier"][0]["value"] for each in documents] == [f"urn:oid:{uid}" for uid in uids]
    (replaces,) = documents[1]["extension"]
    assert replaces["valueReference"]["identifier"]["value"] == f"urn:oid:{uids[0]}"
    assert len(list(inbox.iterdir())) == 2 and hospital.ask_ledger("num_outbox") == 0
    content = b"".join(path.read_bytes() for path in hospital.state.glob("ledger*"))
    assert b"ID1" not in content and kinds(hospital) == ["DOC", "SR"] * 2
