import errno
import json
import os
import re
import urllib.request
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from starlette.testclient import TestClient

from argus_evaluation.benchmark.run_list import read_runs
from argus_evaluation.reader_study.answers import AnswerFile, read_answers
from argus_evaluation.reader_study.links import ReaderLinks
from argus_evaluation.reader_study.server import MAX_BODY_BYTES, PAGE, build_app
from argus_evaluation.reader_study.study import HUMAN, Study, build_study
from argus_evaluation.reader_study.study_scans import RecentVolumes, without_origin
from argus_inference.preview import PLANES, cut_plane
from argus_inference.viewer import viewer_routes
from argus_inference.viewer.scan_image import scan_image
from argus_processing import CTVolume
from argus_processing.read_ct import read_ct
from argus_processing.storage import part_files

SECRET = "Doe^Jane 1950"
pytestmark = pytest.mark.usefixtures("some_niivue")


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
def links(tmp_path):
    return ReaderLinks(tmp_path / "readers.json", ["ab", "cd"])


@pytest.fixture
def client(study, paths, links, tmp_path):
    answers = AnswerFile(tmp_path / "answers.jsonl")
    app = build_app(study, answers, RecentVolumes(paths), links, ("testserver",))
    with TestClient(app, raise_server_exceptions=False) as client:
        client.secrets = dict(links.items())
        yield client
    answers.close()


def as_reader(client, reader="ab") -> dict[str, str]:
    return {"Authorization": f"Bearer {client.secrets[reader]}"}


def fetch(client, path, reader="ab"):
    return client.get(path, headers=as_reader(client, reader))


def answer(client, reader="ab", version=0, **content):
    return client.post("/api/answer", json=content | {"version": version}, headers=as_reader(client, reader))


def test_nothing_a_browser_gets_names_a_system_a_scan_or_a_patient(client, study, study_runs):
    """Fetches the page, its files, and all data of two readers, and searches address, header and content."""
    texts = []

    def get(address: str, reader: str = "ab") -> bytes:
        response = fetch(client, address, reader)
        assert response.status_code == 200, address
        texts.append(f"{address} {dict(response.headers)} {response.content.decode('latin-1')}")
        return response.content

    page = get("/").decode()
    linked = re.findall(r'(?:src|href)="(/page/[^"]+)"', page)
    assert {f"/page/{file.name}" for file in PAGE.iterdir()} - {"/page/index.html"} == set(linked)
    shared = re.findall(r'(?:src|href)="(/viewer/[^"]+)"', page)
    assert {f"/viewer/{file.name}" for file in viewer_routes.PLANES.iterdir()} == set(shared)
    for address in (*linked, *shared):
        get(address)
    for reader in ("ab", "cd"):
        get("/api/progress", reader)
        for number in range(len(study.cases)):
            assert answer(client, reader, case=number, letter="A", score=3).status_code == 200
            case = json.loads(get(f"/api/case/{number}", reader))
            assert set(case["reports"][0]) == {"letter", "text", "score", "comment", "versions"}
            get(f"/api/case/{number}/scan", reader)
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
    for file in (*PAGE.iterdir(), *viewer_routes.PLANES.iterdir()):
        assert not re.search(
            r"https?:|//[a-z]|@import|url\(", re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.M)
        ), file


def test_letters_lead_back_to_the_right_system(client, study, study_runs, tmp_path):
    told = study_runs[1]
    for number in range(len(study.cases)):
        for report in fetch(client, f"/api/case/{number}").json()["reports"]:
            score = 1 + int(report["text"][5]) if report["text"].startswith("Text") else 5
            assert answer(client, case=number, letter=report["letter"], score=score).status_code == 200
    lines = read_answers(tmp_path / "answers.jsonl")
    assert len(lines) == len(study.cases) * 4
    for line in lines:
        assert line.score == (5 if line.system == HUMAN else 1 + list(told).index(line.system))


def test_a_reader_goes_on_at_the_first_report_without_a_score(client, study):
    assert fetch(client, "/api/progress").json()["case"] == 0
    for letter in "ABCD":
        answer(client, case=0, letter=letter, score=2)
    answer(client, case=1, letter="A", score=2)
    progress = fetch(client, "/api/progress").json()
    assert (progress["case"], progress["report"], progress["done"]) == (1, 1, [True, False, False, False])
    assert fetch(client, "/api/progress", "cd").json()["case"] == 0
    for number in range(len(study.cases)):
        for letter in "ABCD":
            answer(client, case=number, letter=letter, score=2)
    assert fetch(client, "/api/progress").json()["done"] == [True] * 4


def test_scores_and_comments_come_back_to_their_reader_only(client):
    answer(client, case=0, letter="B", score=4)
    answer(client, case=0, letter="B", comment="<b>rib</b> missed")
    own = fetch(client, "/api/case/0").json()["reports"][1]
    assert (own["score"], own["comment"]) == (4, "<b>rib</b> missed")
    others = [fetch(client, f"/api/case/{n}", "cd").json()["reports"] for n in range(4)]
    assert all((report["score"], report["comment"]) == (None, "") for reports in others for report in reports)


@pytest.mark.parametrize(
    "content",
    [
        {"case": 0, "letter": "A", "score": 6},
        {"case": 0, "letter": "A", "score": 0},
        {"case": 0, "letter": "A", "score": 3.0},
        {"case": 0, "letter": "A", "score": True},
        {"case": 0, "letter": "A", "score": "3"},
        {"case": 0, "letter": "A"},
        {"case": 0, "letter": "A", "score": 3, "comment": "both"},
        {"case": 0, "letter": ["A"], "score": 3},
        {"case": True, "letter": "A", "score": 3},
        {"case": -1, "letter": "A", "score": 3},
        {"case": 0, "letter": "A", "comment": "x" * 20_001},
        {"case": 0, "letter": "A", "comment": 5},
        {"case": 10**400, "letter": "A", "score": 3},
        {"case": 0, "letter": "A", "score": 3, "author": "cd"},
    ],
)
def test_what_is_no_answer_is_refused_and_not_kept(client, content, tmp_path):
    response = answer(client, **content)
    assert response.status_code == 400 and response.json()["error"]
    assert (tmp_path / "answers.jsonl").read_bytes() == b""


def test_other_sites_cannot_answer(client):
    body = json.dumps({"case": 0, "letter": "A", "score": 1, "version": 0})
    plain = as_reader(client) | {"content-type": "text/plain"}
    assert client.post("/api/answer", content=body, headers=plain).status_code == 400
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    headers = as_reader(client) | {"content-type": "application/json", "origin": "http://evil.example"}
    assert client.post("/api/answer", content=body, headers=headers).status_code == 403


def test_only_a_readers_own_secret_opens_anything(client, links):
    addresses = ["/api/progress", "/api/case/0", "/api/case/0/scan"]
    secret = client.secrets["ab"]
    for given in (
        "",
        "Bearer ",
        "Bearer ab",
        f"Basic {secret}",
        f"Bearer {secret[:-1]}",
        f"Bearer {secret}x",
        "Bearer \xff",
    ):
        for address in addresses:
            refused = client.get(address, headers={"authorization": given.encode("latin-1")})
            assert refused.status_code == 401 and "link" in refused.json()["error"]
        content = {"case": 0, "letter": "A", "score": 1, "version": 0}
        assert client.post("/api/answer?reader=ab", json=content).status_code == 401
    assert client.get("/api/progress?reader=ab").status_code == 401  # as it was once asked
    assert fetch(client, "/api/progress", "cd").json()["reader"] == "cd"
    assert links.reader_of(secret) == "ab" and links.reader_of("\ud800") is None


def test_of_two_windows_the_later_one_is_told(client, tmp_path):
    assert answer(client, case=0, letter="A", score=2).json() == {"version": 1}
    stale = answer(client, case=0, letter="A", score=5)
    assert stale.status_code == 409 and "another window" in stale.json()["error"]
    assert (stale.json()["report"]["score"], stale.json()["report"]["versions"]) == (2, {"score": 1, "comment": 0})
    assert answer(client, case=0, letter="A", comment="a comment is another matter").json() == {"version": 1}
    assert answer(client, version=1, case=0, letter="A", score=5).json() == {"version": 2}
    assert answer(client, version=3, case=0, letter="A", score=4).status_code == 409
    assert [line.score for line in read_answers(tmp_path / "answers.jsonl")] == [2, None, 5]


def test_an_answer_sent_twice_after_a_lost_reply_is_kept_once(client, tmp_path):
    for _ in range(3):
        assert answer(client, case=0, letter="A", score=2).json() == {"version": 1}
    for _ in range(3):
        assert answer(client, case=0, letter="A", comment="twice").json() == {"version": 1}
    assert len(read_answers(tmp_path / "answers.jsonl")) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b'{"case":' * 30_000,
        b"\xff",
        b'{"case": 0, "letter": "A", "version": 0, "comment": "\\ud800"}',
        b'{"case": 0, "letter": "A", "version": 0, "score": NaN}',
    ],
)
def test_what_is_no_json_is_refused(client, body, tmp_path):
    headers = as_reader(client) | {"content-type": "application/json"}
    assert client.post("/api/answer", content=body, headers=headers).status_code == 400
    assert (tmp_path / "answers.jsonl").read_bytes() == b""


def test_no_more_is_read_than_the_longest_comment_takes(client):
    headers = as_reader(client) | {"content-type": "application/json"}
    assert client.post("/api/answer", content=b" " * (MAX_BODY_BYTES + 1), headers=headers).status_code == 413
    longest = "\\ud83e\\udec1" * 20_000
    body = f'{{"case": 0, "letter": "A", "version": 0, "comment": "{longest}"}}'
    assert client.post("/api/answer", content=body, headers=headers).status_code == 200


def planes_of(image: nib.Nifti1Image, index: int) -> dict[str, np.ndarray]:
    """The slice of each plane as it is shown: the patient's right or front on the left, head or front on top."""
    up = nib.as_closest_canonical(image).get_fdata()[::-1, ::-1]  # from the right, from the front, from the feet
    down = up[..., ::-1]
    return {"axial": up[..., index].T, "coronal": down[:, index].T, "sagittal": down[index].T}


def test_scans_are_their_hu_the_right_way_round(client, study, paths):
    order = study.case_order("ab")
    volume = read_ct(paths["phantom", study.cases[order[2]].scan_id])
    image = nib.Nifti1Image.from_bytes(fetch(client, "/api/case/2/scan").content)
    for name, pixels in planes_of(image, 1).items():
        expected = cut_plane(volume.hu, volume.spacing_mm, name, 1).pixels
        assert np.abs(pixels - expected.astype(float)).max() <= 0.5
    assert fetch(client, "/api/case/9999/scan").status_code == 400
    assert fetch(client, "/api/case/2/oblique").status_code == 404
    for huge in ("9" * 30, "9" * 5000):
        assert fetch(client, f"/api/case/{huge}/scan").status_code == 400
        assert fetch(client, f"/api/case/{huge}").status_code == 400


def test_a_scan_tells_its_size_in_mm_and_its_sides_and_no_origin():
    hu = np.full((3, 8, 10), -1000, np.int16)
    hu[2, 0, 0] = 700  # head, front, right
    volume = CTVolume.from_array(hu, (4.0, 2.0, 1.0))
    moved = volume.affine.copy()
    moved[:3, 3] = 123.4
    image = nib.Nifti1Image.from_bytes(scan_image(without_origin(CTVolume(hu, moved, "LPS"))))
    assert image.shape == (10, 8, 3) and image.header.get_zooms() == (1.0, 2.0, 4.0)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S") and not image.affine[:3, 3].any()
    for name, index in zip(PLANES, (2, 0, 0), strict=True):
        assert planes_of(image, index)[name][0, 0] == 700  # top left in every plane
    assert image.header["descrip"] == image.header["db_name"] == b""


def test_a_scan_that_cannot_be_read_is_told_without_its_path(client, study, paths, capsys):
    paths["phantom", study.cases[study.case_order("ab")[0]].scan_id].write_bytes(b"broken")
    response = fetch(client, "/api/case/0")
    assert response.status_code == 500
    assert response.json()["error"] == "the scan cannot be read; please tell who runs the study"
    assert ".nii" in capsys.readouterr().err
    assert fetch(client, "/api/case/1").status_code == 200


def test_a_scan_that_could_not_be_read_for_want_of_room_is_tried_again(client, monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(part_files, "make_part_folder", full)
        refused = fetch(client, "/api/case/0")
    assert refused.status_code == 500 and "scan cannot be read" in refused.json()["error"]
    assert "No space left on device" in capsys.readouterr().err
    assert fetch(client, "/api/case/0").status_code == 200


def test_a_server_killed_between_two_clicks_loses_nothing(study_server):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {study_server.secrets['ab']}"}

    def ask(path: str, content: dict | None = None) -> dict:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(study_server.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    shown = ask("api/case/0")["reports"]
    for score, letter in enumerate("ABC", start=2):
        assert ask("api/answer", {"case": 0, "letter": letter, "version": 0, "score": score}) == {"version": 1}
    ask("api/answer", {"case": 1, "letter": "A", "version": 0, "score": 5})
    study_server.kill()
    with study_server.answers.open("ab") as file:
        file.write(b'{"reader": "ab", "sub')  # and the disk had taken half of a click that was never confirmed
    study_server.start()
    folder = study_server.answers.parent
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.glob("*.json*")}
    assert modes == dict.fromkeys(("answers.jsonl", "readers.json", "study.json"), "0o600")
    assert folder.stat().st_mode & 0o777 == 0o700
    progress = ask("api/progress")
    assert (progress["case"], progress["report"]) == (1, 1)
    again = ask("api/case/0")["reports"]
    assert [report["text"] for report in again] == [report["text"] for report in shown]
    assert [report["score"] for report in again] == [2, 3, 4]
    ask("api/answer", {"case": 1, "letter": "B", "version": 0, "score": 1})
    assert [line.score for line in read_answers(study_server.answers)] == [2, 3, 4, 5, 1]
