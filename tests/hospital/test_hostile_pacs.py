"""A PACS that answers junk, too much, too little or somewhere else: one line tells it, and the watcher goes on."""

import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress

import pydicom
import pytest
from drawn_pacs import BOUNDARY, study_of, write_series
from pydicom.uid import generate_uid
from starlette.responses import Response, StreamingResponse
from test_pacs_watcher import NUM_SLICES, Hospital, TooLongError, hospital, in_this_process, kinds, series  # noqa: F401

from argus_hospital.pacs import pacs_session
from argus_hospital.pacs.ledger import DONE, Ledger
from argus_hospital.pacs.multipart_files import write_parts
from argus_hospital.pacs.pacs_client import PacsClient, StudyListed
from argus_hospital.pacs.pacs_errors import PacsDownError, PacsError
from argus_hospital.pacs.pacs_settings import PacsAddress

SECRET = "SECRET^PATIENT"
JSON = "application/dicom+json"


def page(*items: object) -> Callable[..., Response]:
    return lambda: Response(json.dumps(items), media_type=JSON)


def listed(uid: object, count: object) -> dict:
    return {"0020000D": {"vr": "UI", "Value": [uid]}, "00201208": {"vr": "IS", "Value": [count]}}


JUNK = {
    "a page to log in": lambda: Response(f"<html>{SECRET}</html>", media_type="text/html"),
    "a page that says it is JSON": lambda: Response(f"<html>{SECRET}</html>", media_type=JSON),
    "null": lambda: Response("null", media_type=JSON),
    "numbers": page(1),
    "nulls": page(None),
    "an error as an object": lambda: Response(json.dumps({"error": SECRET}), media_type=JSON),
    "an element that is null": page({"0020000D": None}),
    "a count that is text": page(listed("1.2", SECRET)),
    "a count beyond all": page(listed("1.2", 10**30)),
    "too deep": lambda: Response("[" * 100_000, media_type=JSON),
    "another address": lambda: Response(status_code=302, headers={"Location": "http://127.0.0.1:9/x"}),
    "another address for all that is sent": lambda: Response(status_code=307, headers={"Location": "/other"}),
    "cut short": lambda: Response(b"[", headers={"Content-Length": "5000", "Content-Type": JSON}),
    "a broken compression": lambda: Response(b"no gzip", headers={"Content-Encoding": "gzip", "Content-Type": JSON}),
    "an error": lambda: Response(SECRET, status_code=500),
}


@pytest.mark.parametrize("kind", JUNK)
def test_a_list_of_junk_is_told_in_one_line_and_waited_for(hospital, kind):  # noqa: F811
    answers = iter([JUNK[kind]()] * 3)
    hospital.pacs.fault = lambda request, body: (
        next(answers, None) if request.url.path == "/web/studies" and request.method == "GET" else None
    )
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"] and "works again" in hospital.said
    assert hospital.said[0].startswith("waiting: the PACS") and SECRET not in "".join(hospital.said)


@pytest.mark.parametrize("kind", [kind for kind in JUNK if "count" not in kind])
@pytest.mark.parametrize("path", ["/series", "/metadata", "images"])
def test_junk_about_a_study_fails_it_with_the_cause(hospital, tmp_path, kind, path):  # noqa: F811
    """The other study of the same patient is reported on meanwhile."""
    other = write_series(tmp_path / "other", seed=2, num_slices=NUM_SLICES, PatientID="ID1")
    hospital.pacs.add(other)
    own = study_of(other)

    def fault(request, body: bytes) -> Response | None:
        of_images = "/series/" in request.url.path and "/metadata" not in request.url.path
        fits = of_images if path == "images" else request.url.path.endswith(path)
        return JUNK[kind]() if own in request.url.path and fits and request.method == "GET" else None

    hospital.pacs.fault = fault
    hospital.watch(max_tries=1)
    ((study, cause),) = hospital.ask_ledger("failures")
    assert study == own and cause.startswith("the PACS ") and SECRET not in cause
    assert len(hospital.pacs.of_kind("SR")) == 1


def test_one_study_without_a_count_is_passed_over(hospital):  # noqa: F811
    own = listed(study_of_pacs(hospital), NUM_SLICES)
    client = PacsClient(PacsAddress(f"{hospital.address}/web"))
    hospital.pacs.fault = lambda request, body: page(own, listed("1.2", None), listed({"a": 1}, 3), {})()
    assert list(client.studies_with_ct()) == [StudyListed(study_of_pacs(hospital), NUM_SLICES)]


def study_of_pacs(hospital: Hospital) -> str:  # noqa: F811
    return str(hospital.pacs.headers()[0].StudyInstanceUID)


@pytest.mark.parametrize("way", ["plain", "compressed", "endless"])
def test_an_answer_beyond_all_sizes_is_cut_off(hospital, monkeypatch, way):  # noqa: F811
    monkeypatch.setattr(pacs_session.BoundedSession, "max_bytes", 3 << 20)

    def endless():
        while True:
            yield b" " * (1 << 16)

    def fault(request, body: bytes) -> Response | None:
        if way == "endless":
            return StreamingResponse(endless(), media_type=JSON)
        content = b"[" + b" " * (30 << 20) + b"]"
        packed = {"Content-Encoding": "gzip"} if way == "compressed" else {}
        return Response(gzip.compress(content) if packed else content, headers=packed, media_type=JSON)

    hospital.pacs.fault = fault
    with pytest.raises(PacsError, match="sends more than the 3 MB that an answer may have"):
        list(PacsClient(PacsAddress(f"{hospital.address}/web")).studies_with_ct())


def test_an_answer_that_drips_for_ever_is_left(hospital, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pacs_session, "LONGEST_ANSWER_S", -1.0)
    with pytest.raises(PacsError, match="minutes for one answer"):
        list(PacsClient(PacsAddress(f"{hospital.address}/web")).studies_with_ct())


def parts(*contents: bytes, end: bytes = b"--\r\n", before: bytes = b"") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return before + b"".join(head + content + b"\r\n" for content in contents) + f"--{BOUNDARY}".encode() + end


CONTENTS = (b"one", b"", b"\r\n\r\n--drawn-pac", b"--" + BOUNDARY.encode() + b" is not at a line's start", b"x" * 999)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
@pytest.mark.parametrize("before", [b"", b"\r\n", b"This is a message.\r\n"])
def test_parts_are_written_as_they_are_however_they_are_cut(tmp_path, size, before):
    sent = parts(*CONTENTS, before=before)
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]
    number = write_parts(chunks, BOUNDARY.encode(), lambda number: (tmp_path / str(number)).open("xb"))
    assert tuple((tmp_path / str(each)).read_bytes() for each in range(number)) == CONTENTS


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_an_answer_without_its_end_is_none(tmp_path, cut):
    with pytest.raises(PacsError, match="did not send the end"):
        write_parts(
            [parts(b"one", b"two")[: -cut - 2]], BOUNDARY.encode(), lambda number: (tmp_path / str(number)).open("xb")
        )


@pytest.mark.parametrize("wrong", ["a part too many", "a part too few", "another image"])
def test_other_images_than_those_of_the_headers_are_not_read(hospital, series, tmp_path, wrong):  # noqa: F811
    other = pydicom.dcmread(series[0])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["other"])
    other.save_as(tmp_path / "other.dcm")
    content = [path.read_bytes() for path in series]
    sent = {
        "a part too many": [*content, content[0]],
        "a part too few": content[:-1],
        "another image": [*content[:-1], (tmp_path / "other.dcm").read_bytes()],
    }[wrong]
    kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
    hospital.pacs.fault = lambda request, body: (
        Response(parts(*sent), headers={"Content-Type": kind})
        if request.method == "GET" and request.url.path.split("/")[-2] == "series"
        else None
    )
    hospital.watch(max_tries=1)
    assert [cause for _, cause in hospital.ask_ledger("failures")] == ["the series changed while it was read"]


def test_a_stow_that_refuses_an_object_is_tried_again(hospital):  # noqa: F811
    """The answer is 202, with the object among those that failed; the PDF was stored before."""
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [42752]}}]}}
    answers = iter([Response(json.dumps(failed), status_code=202, media_type=JSON)])
    hospital.pacs.fault = lambda request, body: (
        next(answers, None) if request.method == "POST" and b"%PDF-" not in body else None
    )
    with suppress(TooLongError):
        hospital.watch(max_rests=3)
    assert "42752" not in "".join(hospital.said) and next(answers, None) is None
    hospital.hurry()
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"] and len(hospital.writer.folders) == 1


@pytest.mark.parametrize("answer", ["html", "nothing", "xml", "junk"])
def test_an_object_that_is_there_counts_whatever_the_answer_was(hospital, answer):  # noqa: F811
    """Read back is what counts."""
    contents = {"html": (b"<html>", "text/html"), "nothing": (b"", JSON), "xml": (b"<a/>", "application/dicom+xml")}
    content, kind = contents.get(answer, (b"{", JSON))

    def fault(request, body: bytes) -> Response | None:
        if request.method != "POST":
            return None
        hospital.pacs._store(request, body)
        return Response(content, headers={"Content-Type": kind})

    hospital.pacs.fault = fault
    for _ in range(4):
        try:
            hospital.watch(max_rests=3, max_tries=9)
        except TooLongError:
            hospital.hurry()
    assert kinds(hospital) == ["DOC", "SR"] and hospital.ask_ledger("counts")[DONE] == 1


def test_a_study_that_was_removed_does_not_come_back_by_its_report(hospital):  # noqa: F811
    hospital.pacs.fault = lambda request, body: Response(status_code=400) if request.method == "POST" else None
    with pytest.raises(TooLongError):
        hospital.watch(max_rests=2)
    objects, hospital.pacs.objects = hospital.pacs.objects, {}
    hospital.pacs.fault = lambda request, body: None
    hospital.hurry()
    hospital.watch()
    assert hospital.pacs.objects == {} and hospital.ask_ledger("num_outbox") == 0
    assert sum(hospital.ask_ledger("counts").values()) == 0
    hospital.pacs.objects = objects  # and if it comes back itself, it is a study like others
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"]


def test_a_study_that_is_removed_while_it_is_read_is_forgotten(hospital):  # noqa: F811
    write = hospital.writer.write
    hospital.writer.write = lambda folder, maps: (hospital.pacs.objects.clear(), write(folder))[1]
    hospital.watch()
    assert hospital.pacs.objects == {} and sum(hospital.ask_ledger("counts").values()) == 0


def test_a_study_that_the_pacs_hangs_at_is_given_up_and_others_go_on(hospital, tmp_path):  # noqa: F811
    other = write_series(tmp_path / "other", seed=2, num_slices=NUM_SLICES)
    hospital.pacs.add(other)
    own = study_of(other)
    asked = PacsClient.metadata_of

    def hangs(self, *uids: str) -> list:
        if uids[0] == own:
            raise PacsDownError("the PACS does not answer to WADO-RS for metadata (ReadTimeout)")
        return asked(self, *uids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PacsClient, "metadata_of", hangs)
        hospital.watch(max_tries=1)
    assert [study for study, _ in hospital.ask_ledger("failures")] == [own] and len(hospital.pacs.of_kind("SR")) == 1


def test_a_clock_that_is_set_back_delays_no_study(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    studies, day = [StudyListed("1.2", 5)], 86400.0
    ledger.list_studies(studies, "m", now=10 * day)
    job = ledger.next_job(60, 10 * day + 61)
    ledger.put_off(job, 10 * day + 300, 1, "cause")
    ledger.list_studies(studies, "m", now=9 * day)
    assert ledger.next_job(60, 9 * day + 59) is None
    assert ledger.next_job(60, 9 * day + 601).study == "1.2"
    ledger.close()


@pytest.mark.parametrize("fault", ["damaged", "empty of pages"])
def test_a_damaged_ledger_is_told_in_one_line_and_may_be_moved_away(hospital, fault):  # noqa: F811
    hospital.watch()
    path = hospital.state / "ledger.sqlite"
    content = path.read_bytes()
    path.write_bytes(b"x" * len(content) if fault == "damaged" else content[:1024] + b"\0" * (len(content) - 1024))
    with pytest.raises(ValueError, match="is no ledger of Argus, or damaged; move it away"):
        hospital.watch()
    path.unlink()
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"]


FULL, ROOM = "max_page_count=1", "max_page_count=100000"


@pytest.mark.parametrize("cause, off, on", [("readonly", "query_only=ON", "query_only=OFF"), ("full", FULL, ROOM)])
def test_a_ledger_that_takes_no_change_is_waited_for(hospital, monkeypatch, cause, off, on):  # noqa: F811
    """The disk turns read-only, or is full, while the watcher runs; later it works again."""
    listed, settings = Ledger.list_studies, iter([off, off, on])

    def list_studies(self, *arguments) -> None:
        setting = next(settings, on)
        self._db.execute(f"PRAGMA {setting}")
        if setting == off:
            self._db.execute("CREATE TABLE more(column TEXT)")  # which needs another page
        listed(self, *arguments)

    monkeypatch.setattr(Ledger, "list_studies", list_studies)
    hospital.watch()
    assert kinds(hospital) == ["DOC", "SR"] and "works again" in hospital.said
    assert hospital.said[0].startswith("waiting: the folder of the state or of FHIR cannot be written")
    assert cause in hospital.said[0]


def test_a_ledger_in_use_is_told_in_one_line(tmp_path, monkeypatch):
    Ledger(tmp_path / "ledger.sqlite").close()
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, **options | {"timeout": 0.0}))
    with pytest.raises(ValueError, match="cannot be used now"):
        Ledger(tmp_path / "ledger.sqlite")
    other.close()
