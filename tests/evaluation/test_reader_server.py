import json
import re
import urllib.request
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from starlette.testclient import TestClient

from argus_evaluation.preview import cut_plane
from argus_evaluation.reader_answers import AnswerFile, read_answers
from argus_evaluation.reader_scans import ScanShelf, describe_planes, slice_bytes
from argus_evaluation.reader_server import PAGE, build_app, clean_reader
from argus_evaluation.reader_study import HUMAN, Study, build_study
from argus_evaluation.run_list import read_runs
from argus_processing import CTVolume
from argus_processing.read_ct import read_ct

SECRET = "Doe^Jane 1950"


@pytest.fixture
def study(study_runs) -> Study:
    return build_study(read_runs(study_runs[0]), with_references=True)


@pytest.fixture
def paths(split, tmp_path) -> dict[tuple[str, str], Path]:
    """The phantoms' volumes, with a patient's name in every header."""
    kept = {}
    for row in split:
        image = nib.load(row["image"]["path"])
        image.header["descrip"] = SECRET
        image.header["db_name"] = SECRET
        path = tmp_path / f"{row['scan_id']}.nii"
        nib.save(image, path)
        kept["phantom", row["scan_id"]] = path
    return kept


@pytest.fixture
def client(study, paths, tmp_path):
    answers = AnswerFile(tmp_path / "answers.jsonl")
    with TestClient(
        build_app(study, answers, ScanShelf(paths), ("testserver",)), raise_server_exceptions=False
    ) as client:
        yield client
    answers.close()


def answer(client, reader="ab", **content):
    return client.post(f"/api/answer?reader={reader}", json=content)


def test_nothing_a_browser_gets_names_a_system_a_scan_or_a_patient(client, study, study_runs):
    """Fetches the page, its files, and all data of two readers, and searches address, header and content."""
    texts = []

    def get(address: str) -> bytes:
        response = client.get(address)
        assert response.status_code == 200, address
        texts.append(f"{address} {dict(response.headers)} {response.content.decode('latin-1')}")
        return response.content

    page = get("/").decode()
    linked = re.findall(r'(?:src|href)="(/page/[^"]+)"', page)
    assert {f"/page/{file.name}" for file in PAGE.iterdir()} - {"/page/index.html"} == set(linked)
    for address in linked:
        get(address)
    for reader in ("ab", "cd"):
        get(f"/api/progress?reader={reader}")
        for number in range(len(study.cases)):
            assert answer(client, reader, case=number, letter="A", score=3).status_code == 200
            case = json.loads(get(f"/api/case/{number}?reader={reader}"))
            assert set(case["reports"][0]) == {"letter", "text", "score", "comment"}
            for plane in case["planes"]:
                get(f"/api/case/{number}/{plane['name']}/0?reader={reader}")
    for refused in (answer(client, case=99, letter="A", score=1), answer(client, case=0, letter="Z", score=1)):
        texts.append(refused.text)
    everything = "\n".join(texts)
    names = {name for system in study.systems for name in (system, *system.split()[:-1])} | {"Argus", HUMAN, "human"}
    for name in [*names, *(case.scan_id for case in study.cases), SECRET, "Doe", ".nii", "/tmp"]:
        assert not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", everything, re.IGNORECASE), name
    assert "Text 00" in everything  # the search did see the reports


def test_the_page_asks_for_nothing_from_outside(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http" not in policy
    for file in PAGE.iterdir():
        assert not re.search(
            r"https?:|//[a-z]|@import|url\(", re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.M)
        ), file


def test_letters_lead_back_to_the_right_system(client, study, study_runs, tmp_path):
    told = study_runs[1]
    for number in range(len(study.cases)):
        for report in client.get(f"/api/case/{number}?reader=ab").json()["reports"]:
            score = 1 + int(report["text"][5]) if report["text"].startswith("Text") else 5
            assert answer(client, case=number, letter=report["letter"], score=score).status_code == 200
    lines = read_answers(tmp_path / "answers.jsonl")
    assert len(lines) == len(study.cases) * 4
    for line in lines:
        assert line.score == (5 if line.system == HUMAN else 1 + list(told).index(line.system))


def test_a_reader_goes_on_at_the_first_report_without_a_score(client, study):
    assert client.get("/api/progress?reader=ab").json()["case"] == 0
    for letter in "ABCD":
        answer(client, case=0, letter=letter, score=2)
    answer(client, case=1, letter="A", score=2)
    progress = client.get("/api/progress?reader=%20AB%20").json()
    assert (progress["case"], progress["report"], progress["done"]) == (1, 1, [True, False, False, False])
    assert client.get("/api/progress?reader=cd").json()["case"] == 0
    for number in range(len(study.cases)):
        for letter in "ABCD":
            answer(client, case=number, letter=letter, score=2)
    assert client.get("/api/progress?reader=ab").json()["done"] == [True] * 4


def test_scores_and_comments_come_back_to_their_reader_only(client):
    answer(client, case=0, letter="B", score=4)
    answer(client, case=0, letter="B", comment="<b>rib</b> missed")
    own = client.get("/api/case/0?reader=ab").json()["reports"][1]
    assert (own["score"], own["comment"]) == (4, "<b>rib</b> missed")
    others = [client.get(f"/api/case/{n}?reader=cd").json()["reports"] for n in range(4)]
    assert all((report["score"], report["comment"]) == (None, "") for reports in others for report in reports)


@pytest.mark.parametrize(
    "content",
    [
        {"case": 0, "letter": "A", "score": 6},
        {"case": 0, "letter": "A", "score": "3"},
        {"case": 0, "letter": "A"},
        {"case": 0, "letter": "A", "score": 3, "comment": "both"},
        {"case": 0, "letter": ["A"], "score": 3},
        {"case": True, "letter": "A", "score": 3},
        {"case": -1, "letter": "A", "score": 3},
        {"case": 0, "letter": "A", "comment": "x" * 20_001},
        {"case": 0, "letter": "A", "comment": 5},
    ],
)
def test_what_is_no_answer_is_refused_and_not_kept(client, content, tmp_path):
    response = answer(client, **content)
    assert response.status_code == 400 and response.json()["error"]
    assert (tmp_path / "answers.jsonl").read_bytes() == b""


def test_other_sites_cannot_answer(client):
    body = json.dumps({"case": 0, "letter": "A", "score": 1})
    assert client.post("/api/answer?reader=ab", content=body, headers={"content-type": "text/plain"}).status_code == 400
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("name", ["", " ", "a" * 41, "../x", "a\n<b>", None])
def test_readers_without_a_proper_name_are_refused(name):
    with pytest.raises(ValueError, match="name or initials"):
        clean_reader(name)
    assert clean_reader("  Dr. Müller-Lüdenscheidt ") == "dr. müller-lüdenscheidt"


def test_slices_are_the_scans_hu_the_right_way_round(client, study, paths):
    order = study.case_order("ab")
    volume = read_ct(paths["phantom", study.cases[order[2]].scan_id])
    for plane in client.get("/api/case/2?reader=ab").json()["planes"]:
        content = client.get(f"/api/case/2/{plane['name']}/1?reader=ab").content
        pixels = np.frombuffer(content, "<i2").reshape(plane["rows"], plane["columns"])
        expected = cut_plane(volume.hu, volume.spacing_mm, plane["name"], 1).pixels
        assert np.abs(pixels - expected.astype(float)).max() <= 0.5
    assert client.get("/api/case/2/axial/9999?reader=ab").status_code == 400
    assert client.get("/api/case/2/oblique/0?reader=ab").status_code == 400


def test_planes_tell_size_in_mm_and_edges():
    hu = np.full((3, 8, 10), -1000, np.int16)
    hu[2, 0, 0] = 700  # head, front, right
    volume = CTVolume.from_array(hu, (4.0, 2.0, 1.0))
    axial, coronal, sagittal = describe_planes(volume)
    assert (axial["count"], axial["rows"], axial["columns"]) == (3, 8, 10)
    assert (axial["height_mm"], axial["width_mm"]) == (16.0, 10.0)
    assert (coronal["height_mm"], coronal["width_mm"]) == (12.0, 10.0)
    assert (sagittal["height_mm"], sagittal["width_mm"]) == (12.0, 16.0)
    assert [coronal[side] for side in ("left", "right", "top", "bottom")] == ["R", "L", "H", "F"]
    assert [axial[side] for side in ("left", "right", "top", "bottom")] == ["R", "L", "A", "P"]
    assert [sagittal[side] for side in ("left", "right", "top", "bottom")] == ["A", "P", "H", "F"]
    for plane, index in (("axial", 2), ("coronal", 0), ("sagittal", 0)):
        assert np.frombuffer(slice_bytes(volume, plane, index), "<i2")[0] == 700  # top left in every plane


def test_a_scan_that_cannot_be_read_is_told_without_its_path(client, study, paths, capsys):
    paths["phantom", study.cases[study.case_order("ab")[0]].scan_id].write_bytes(b"broken")
    response = client.get("/api/case/0?reader=ab")
    assert response.status_code == 500
    assert response.json()["error"] == "the scan cannot be read; please tell who runs the study"
    assert ".nii" in capsys.readouterr().err
    assert client.get("/api/case/1?reader=ab").status_code == 200


def test_a_server_killed_between_two_clicks_loses_nothing(study_server):
    def ask(path: str, content: dict | None = None) -> dict:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(study_server.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    shown = ask("api/case/0?reader=ab")["reports"]
    for score, letter in enumerate("ABC", start=2):
        assert ask("api/answer?reader=ab", {"case": 0, "letter": letter, "score": score}) == {"saved": True}
    ask("api/answer?reader=ab", {"case": 1, "letter": "A", "score": 5})
    study_server.kill()
    with study_server.answers.open("ab") as file:
        file.write(b'{"reader": "ab", "sub')  # and the disk had taken half of a click that was never confirmed
    study_server.start()
    progress = ask("api/progress?reader=ab")
    assert (progress["case"], progress["report"]) == (1, 1)
    again = ask("api/case/0?reader=ab")["reports"]
    assert [report["text"] for report in again] == [report["text"] for report in shown]
    assert [report["score"] for report in again] == [2, 3, 4]
    ask("api/answer?reader=ab", {"case": 1, "letter": "B", "score": 1})
    assert [line.score for line in read_answers(study_server.answers)] == [2, 3, 4, 5, 1]
