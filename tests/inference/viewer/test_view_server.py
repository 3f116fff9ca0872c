"""The server of `argus view`: what it gives, to whom, and what it refuses."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from starlette.testclient import TestClient

from argus_inference.viewer import niivue_file
from argus_inference.viewer import scan_image as images
from argus_inference.viewer.view_server import PAGE, View, build_app
from argus_inference.viewer.viewed_report import read_viewed_report
from argus_inference.viewer.viewer_routes import PLANES

SECRET = "a-secret-of-this-test"
PATIENTS = ("/api/report", "/api/scan", "/api/coarse", "/api/reduced", "/api/map/0")


@pytest.fixture
def client(written, some_niivue):
    app = build_app(View(read_viewed_report(written.folder), written.volume), SECRET, ("testserver",))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def fetch(client, path: str):
    return client.get(path, headers={"Authorization": f"Bearer {SECRET}"})


def image_of(content: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(content)


def test_without_the_secret_nothing_of_the_patient_is_given(client):
    for path in PATIENTS:
        for given in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {SECRET}"}):
            response = client.get(path, headers=given)
            assert response.status_code == 401 and "argus view" in response.json()["error"]
        assert client.get(f"{path}?secret={SECRET}").status_code == 401
        assert fetch(client, path).status_code == 200


def test_a_name_that_another_site_lets_point_here_is_refused(client):
    for path in ("/", "/niivue.js", *PATIENTS):
        headers = {"Authorization": f"Bearer {SECRET}", "host": "evil.example"}
        assert client.get(path, headers=headers).status_code == 400


def test_the_page_may_load_nothing_from_elsewhere_and_stores_nothing(client):
    for path in ("/", "/niivue.js", "/page/view.js", "/viewer/ct_viewer.js", *PATIENTS):
        headers = fetch(client, path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "http" not in policy and "unsafe" not in policy
        assert (headers["cache-control"], headers["cross-origin-resource-policy"]) == ("no-store", "same-origin")
    for file in (*PAGE.iterdir(), *PLANES.iterdir()):
        text = re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.M)
        assert not re.search(r"https?:|//[a-z]|@import|url\(|innerHTML|\beval\b", text), file
    linked = set(re.findall(r'(?:src|href)="(/(?:page|viewer)/[^"]+)"', client.get("/").text))
    assert linked == {"/page/view.css", "/page/view.js", "/viewer/ct_viewer.css"}
    assert all(client.get(path).status_code == 200 for path in linked)


def test_the_scan_comes_in_hu_where_it_lies_in_the_patient(client, written):
    image = image_of(fetch(client, "/api/scan").content)
    assert np.array_equal(np.asarray(image.dataobj), written.volume.hu.transpose(2, 1, 0))
    index = (3, 10, 20)
    place = image.affine @ [20, 10, 3, 1]
    assert place == pytest.approx(written.volume.affine @ [*index, 1], abs=1e-3)
    assert not image.header["descrip"].tobytes().strip(b"\0")


def test_a_large_scan_is_told_with_its_larger_voxels(client, written, monkeypatch):
    assert fetch(client, "/api/report").json()["reduced_mm"] is None
    monkeypatch.setattr(images, "REDUCED_VOXELS", written.volume.hu.size // 3)
    told = fetch(client, "/api/report").json()["reduced_mm"]
    image = image_of(fetch(client, "/api/reduced").content)
    assert image.header.get_zooms() == pytest.approx(told[::-1]) and np.prod(image.shape) <= written.volume.hu.size / 3


def test_a_map_has_its_peak_where_the_report_says(client, written):
    content = fetch(client, "/api/report").json()
    assert [sentence["peak_mm"] is None for sentence in content["sentences"]] == [False, False, True]
    for number, peak in enumerate(written.peaks_mm):
        assert content["sentences"][number]["peak_mm"] == pytest.approx(peak, abs=0.01)
        image = image_of(fetch(client, f"/api/map/{number}").content)
        values = np.asarray(image.dataobj)
        top = np.unravel_index(int(values.argmax()), values.shape)
        assert values.max() == pytest.approx(1, abs=0.05)
        assert np.abs((image.affine @ [*top, 1])[:3] - peak).max() <= 4
    for number in ("2", "9", "-1", "01", "²", 5000 * "9", "%2e%2e"):
        response = fetch(client, f"/api/map/{number}")
        assert response.status_code == 404 and "content-security-policy" in response.headers


def test_the_content_names_no_file_and_tells_its_limits(client, written):
    content = fetch(client, "/api/report").json()
    assert "phantoms only" in " ".join(content["limits"]) and "not a medical device" in content["limits"][0]
    assert not re.search(r"\.nii|/tmp|scan\.", json.dumps(content))
    assert [window["name"] for window in content["windows"]] == ["lung", "mediastinum", "bone", "brain"]
    assert len({window["key"] for window in content["windows"]}) == 4 and content["first_window"] == "lung"


def test_a_damaged_map_is_told_without_its_path(client, written, capsys):
    path = written.folder / "sentence_02.nii.gz"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:100])
        response = fetch(client, "/api/map/1")
    finally:
        path.write_bytes(whole)
    assert response.status_code == 500 and "/" not in response.json()["error"]
    assert "sentence_02.nii.gz: is no NIfTI file" in capsys.readouterr().err


def test_without_niivue_one_line_says_how(argus, written, monkeypatch, tmp_path):
    monkeypatch.setattr(niivue_file, "SCRIPT", tmp_path / "niivue.js")
    code, stdout, stderr = argus("view", written.folder)
    assert (code, stdout) == (2, "") and "make viewer" in stderr.splitlines()[-1]
    with pytest.raises(ValueError, match="build_niivue"):
        build_app(View(read_viewed_report(written.folder), written.volume), SECRET, ("testserver",))
