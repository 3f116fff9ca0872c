"""A study goes into a real Orthanc and comes back with its report: `make test-pacs`."""

import json
import os
import re
import signal
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

import pydicom
import pytest
from dicom_check import texts_of
from drawn_pacs import study_of, write_series
from holding_proxy import HoldingProxy
from orthanc_server import PASSWORD, USER, OrthancServer
from test_pacs_watcher import MappingWriter
from watching import NUM_SLICES, is_reported, wait_until

from argus_hospital.pacs.pacs_client import PacsClient
from argus_hospital.pacs.pacs_errors import PacsDownError, PacsError
from argus_hospital.pacs.pacs_settings import PASSWORD_VARIABLE, PacsAddress, WatchSettings
from argus_hospital.pacs.state_folder import opened_state
from argus_hospital.pacs.watch_metrics import WatchMetrics
from argus_hospital.pacs.watcher import Watcher
from argus_hospital.series.site_preferences import SitePreferences

DOCS = Path(__file__).parents[3] / "docs" / "pacs.md"


def address_of(server: OrthancServer, **more) -> PacsAddress:
    return PacsAddress(server.web, USER, **more)


@pytest.fixture
def password(monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)


def store_by_stow(server: OrthancServer, paths) -> None:
    client = PacsClient(address_of(server))
    for path in paths:
        client.store(study_of(paths), pydicom.dcmread(path))


@pytest.mark.parametrize("way", ["c-store", "stow"])
def test_a_study_comes_back_with_a_report_and_a_page(orthanc, watching, study_files, password, tmp_path, way):
    orthanc.send(study_files) if way == "c-store" else store_by_stow(orthanc, study_files)
    study = study_of(study_files)
    wait_until(lambda: is_reported(orthanc, study), "the report")
    (report,), (page,) = orthanc.objects(study, "SR"), orthanc.objects(study, "DOC")
    for name, kind in ((report, "sr"), (page, "pdf")):
        (tmp_path / f"{kind}.dcm").write_bytes(orthanc.content(f"instances/{name}/file"))
    structured = pydicom.dcmread(tmp_path / "sr.dcm")
    evidence = structured.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == NUM_SLICES and "RESEARCH" in structured.SeriesDescription
    assert texts_of(tmp_path / "sr.dcm") and structured.StudyInstanceUID == study
    for path in (tmp_path / "sr.dcm", tmp_path / "pdf.dcm"):
        assert errors_of(path) == []
    assert subprocess.run(["dsrdump", tmp_path / "sr.dcm"], capture_output=True).returncode == 0


def test_a_study_that_is_sent_again_gets_no_second_report(orthanc, watching, study_files):
    orthanc.send(study_files)
    wait_until(lambda: is_reported(orthanc, study_of(study_files)), "the report")
    orthanc.send(study_files)
    later = time.time() + 4  # of many looks at the list
    wait_until(lambda: watching.ask_ledger("SELECT max(seen) FROM study")[0][0] > later, "more looks at the list")
    assert [len(orthanc.objects(study_of(study_files), kind)) for kind in ("SR", "DOC")] == [1, 1]


def test_a_late_slice_gives_a_report_that_replaces_the_first(orthanc, watching, study_files):
    study = study_of(study_files)
    orthanc.send(study_files[:-1])
    wait_until(lambda: is_reported(orthanc, study), "the first report")
    (first,) = orthanc.objects(study, "SR")
    orthanc.send(study_files[-1:])
    wait_until(lambda: len(orthanc.objects(study, "SR")) == 2, "the second report")
    (second,) = {*orthanc.objects(study, "SR")} - {first}
    tags = [orthanc.ask(f"instances/{name}/simplified-tags") for name in (first, second)]
    named = tags[1]["PredecessorDocumentsSequence"][0]["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"]
    assert [item["ReferencedSOPInstanceUID"] for item in named] == [tags[0]["SOPInstanceUID"]]


def test_a_study_without_a_chest_is_refused_with_the_reason(orthanc, watching, study_files):
    orthanc.send(study_files[:5])
    refused = "SELECT cause FROM study WHERE state = 'refused'"
    wait_until(lambda: bool(watching.ask_ledger(refused)), "the refusal")
    assert "no series is a chest CT to read" in watching.ask_ledger(refused)[0][0]


def test_health_and_metrics_tell_of_the_watcher(watching):
    address = f"http://127.0.0.1:{watching.port}"
    health = json.load(urllib.request.urlopen(f"{address}/health", timeout=20))
    assert health["healthy"] and health["pacs_up"] and health["disk_ok"]

    def is_told() -> bool:
        metrics = urllib.request.urlopen(f"{address}/metrics", timeout=20).read().decode()
        expected = (r"^argus_reports_sent_total [1-9]", r'^argus_studies\{state="done"\} [1-9]')
        return all(re.search(line, metrics, re.M) for line in expected)

    wait_until(is_told, "the metrics to count a report", 30)


def test_one_study_is_reported_on_by_its_uid(orthanc, model_dir, password, argus, tmp_path):
    files = write_series(tmp_path / "alone", seed=99, num_slices=NUM_SLICES)
    site = tmp_path / "site.yaml"
    site.write_text("max_thickness_mm: 20.0\nmin_slices: 10\n")
    server = OrthancServer(tmp_path / "other")  # that nobody watches
    server.start()
    try:
        server.send(files)
        options = ("--url", server.web, "--user", USER, "--model", model_dir, "--preferences", site)
        limits = ("--max-new-tokens", 16)
        code, told, said = argus("pacs", study_of(files), *options, *limits, "--out", tmp_path / "objects")
        assert code == 0 and len(told.split()) == 2 and not is_reported(server, study_of(files)), said
        code, told, said = argus("pacs", study_of(files), *options, *limits)
        assert code == 0 and len(told.split()) == 2, said
        code, told, said = argus("pacs", study_of(files), *options, *limits)
        assert (code, told) == (0, "") and "nothing is sent" in said
        assert [len(server.objects(study_of(files), kind)) for kind in ("SR", "DOC")] == [1, 1]
        code, _, said = argus("pacs", "1.2.3", *options, *limits)
        assert code == 2 and "no such study" in said
    finally:
        server.stop()


@pytest.fixture
def unwatched(tmp_path):
    server = OrthancServer(tmp_path / "unwatched")
    server.start()
    yield server
    server.stop()


def test_evidence_and_a_fhir_document_come_with_the_report(unwatched, study_files, password, tmp_path):
    """The model is a drawn one; its map is placed, encoded and sent as those of a real one."""
    unwatched.send(study_files)
    settings = WatchSettings(
        address_of(unwatched), "", str(tmp_path / "state"), days=None, quiet_s=0.0, evidence=True, fhir=str(tmp_path)
    )
    preferences = SitePreferences(max_thickness_mm=20.0, min_slices=10)
    with opened_state(tmp_path / "state") as state:
        client, said = PacsClient(settings.pacs), []
        Watcher(settings, client, MappingWriter(), preferences, state, WatchMetrics(), said.append).run(True)
    found = {kind: unwatched.objects(study_of(study_files), kind) for kind in ("SR", "DOC", "SEG")}
    assert [len(names) for names in found.values()] == [1, 1, 1]
    for names in found.values():
        path = tmp_path / f"{names[0]}.dcm"
        path.write_bytes(unwatched.content(f"instances/{names[0]}/file"))
        assert errors_of(path) == []
    structured = pydicom.dcmread(tmp_path / f"{found['SR'][0]}.dcm")
    document = json.loads((tmp_path / f"{structured.SOPInstanceUID}.fhir.json").read_text())
    assert document["identifier"][0]["value"] == f"urn:oid:{structured.SOPInstanceUID}"


def errors_of(path: Path) -> list[str]:
    """Return what dciodvfy calls errors in an object."""
    told = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, errors="replace")
    return [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]


def test_an_orthanc_in_between_hands_on_what_argus_made(unwatched, study_files, model_dir, password, argus, tmp_path):
    """The Lua of the documentation, in a real Orthanc, with another one as the hospital's PACS."""
    (script,) = re.findall(r"```lua\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    (tmp_path / "argus.lua").write_text(script)
    between = OrthancServer(tmp_path / "between")
    between.more = {
        "LuaScripts": [str(tmp_path / "argus.lua")],
        "DicomModalities": {"pacs": ["ORTHANC", "127.0.0.1", unwatched.dicom]},
    }
    between.start()
    try:
        between.send(study_files)
        (tmp_path / "site.yaml").write_text("max_thickness_mm: 20.0\nmin_slices: 10\n")
        options = ("--url", between.web, "--user", USER, "--model", model_dir, "--max-new-tokens", 16)
        code, _, said = argus("pacs", study_of(study_files), *options, "--preferences", tmp_path / "site.yaml")
        assert code == 0, said
        study = study_of(study_files)
        wait_until(lambda: is_reported(unwatched, study) and bool(unwatched.objects(study, "DOC")), "the report")
        assert [len(unwatched.objects(study, kind)) for kind in ("SR", "DOC", "CT")] == [1, 1, 0]
    finally:
        between.stop()


def make_certificate(path: Path) -> Path:
    """Write a certificate for loopback that is signed by itself, and its key beside it."""
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path.with_suffix(".key"), "-out", path]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_certificates_are_checked_on_both_sides(orthanc, tmp_path, password):
    """Debian's Orthanc ends by a fault at its first encrypted request: as in hospitals, a proxy speaks TLS for it."""
    server, client, other = (make_certificate(tmp_path / f"{name}.crt") for name in ("server", "client", "other"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server, server.with_suffix(".key"))
    context.load_verify_locations(client)
    context.verify_mode = ssl.CERT_REQUIRED
    own = {"client_certificate": str(client), "client_key": str(client.with_suffix(".key"))}
    with HoldingProxy(orthanc.http).running(context) as address:
        address = f"{address}/dicom-web"
        trusting = PacsClient(PacsAddress(address, USER, ca_file=str(server), **own))
        assert isinstance(list(trusting.studies_with_ct()), list)
        with pytest.raises(PacsDownError, match="a certificate that is not trusted"):
            list(PacsClient(PacsAddress(address, USER, ca_file=str(other), **own)).studies_with_ct())
        with pytest.raises(PacsDownError):
            list(PacsClient(PacsAddress(address, USER, ca_file=str(server))).studies_with_ct())


def test_a_wrong_password_is_told_without_it(orthanc, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, "wr0ng-secret")
    with pytest.raises(PacsError, match="answered 401 to QIDO-RS for studies") as caught:
        list(PacsClient(address_of(orthanc)).studies_with_ct())
    assert "wr0ng" not in str(caught.value)


def test_an_end_by_the_system_leaves_nothing_behind(orthanc, watching):
    assert watching.end(signal.SIGTERM) == 130
    assert not os.listdir(watching.state / "work") and not os.listdir(watching.folder / "tmp")
    watching.start()
