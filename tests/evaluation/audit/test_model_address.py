"""A model at an address: the scan arrives as it was drawn, and every failure is one line that quotes nothing."""

import numpy as np
import pytest
from writer_server import WriterServer

from argus_evaluation.audit.model_address import AddressModel, complete_address, data_address, is_address
from argus_inference.serving.serve_requests import AllowedScans
from argus_processing import CTVolume
from argus_processing.instructions import INSTRUCTION
from argus_processing.phantom.scans import make_phantom

COARSE_MM = (12.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def volume():
    phantom = make_phantom(3, COARSE_MM)
    return CTVolume.from_array(phantom.hu, phantom.spacing_mm)


def written(model, volume, count=1):
    return dict(model.write([lambda: volume] * count))


def test_an_address_gets_the_drawn_voxels_and_the_papers_instruction(serving, volume):
    got = []
    server = WriterServer(lambda hu: got.append(hu) or "A report.")
    with serving(server.app()) as address:
        model = AddressModel(address)
        assert written(model, volume)[0].report == "A report."
    np.testing.assert_array_equal(got[0], volume.hu)
    assert model.name == "writer" and address in model.identity
    (request,) = server.asked
    assert request["messages"] == ("data:application/gzip;base64", INSTRUCTION)
    assert (request["model"], request["temperature"]) == ("writer", 0)
    # A server's own limit fits its model; another may not.
    assert "max_tokens" not in request


def test_a_limit_that_is_asked_for_is_sent(serving, volume):
    server = WriterServer(lambda hu: "A report.")
    with serving(server.app()) as address:
        written(AddressModel(address, max_new_tokens=77), volume)
    assert server.asked[0]["max_tokens"] == 77


def test_our_own_server_reads_the_same_scan(volume):
    read = AllowedScans(None).read(data_address(volume))
    np.testing.assert_array_equal(read.hu, volume.hu)
    np.testing.assert_allclose(read.spacing_mm, volume.spacing_mm, rtol=1e-5)


def test_the_key_comes_from_a_file_or_the_environment(serving, volume, tmp_path, monkeypatch):
    server = WriterServer(lambda hu: "A report.")
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    (tmp_path / "key").write_text("of-the-file\n")
    with serving(server.app()) as address:
        for options in ({}, {"key_file": tmp_path / "key"}):
            model = AddressModel(address, "writer", **options)
            written(model, volume)
            assert "of-the" not in model.identity
    assert server.keys == ["Bearer of-the-environment", "Bearer of-the-file"]
    (tmp_path / "key").write_text("two lines\nof a file")
    with pytest.raises(ValueError, match="holds no key") as refused:
        AddressModel(address, "writer", key_file=tmp_path / "key")
    assert "two lines" not in str(refused.value)


def test_a_scan_without_a_report_has_a_reason(serving, volume):
    answers = iter(["A report.", 400, "Another."])
    with serving(WriterServer(lambda hu: next(answers)).app()) as address:
        model = AddressModel(address, requests=1)
        told = written(model, volume, count=3)
    assert [told[index].report for index in range(3)] == ["A report.", None, "Another."]
    assert told[1].failure == "refused a request (400 Bad Request, bad_scan)"


@pytest.mark.parametrize(
    ("status", "told"), [(400, "400 Bad Request"), (401, "401 Unauthorized"), (404, "404 Not Found")]
)
def test_an_address_that_gives_no_report_is_not_asked_for_all(serving, volume, status, told):
    server = WriterServer(lambda hu: status)
    with serving(server.app()) as address:
        with pytest.raises(ConnectionError, match=told) as stopped:
            written(AddressModel(address), volume, count=40)
    assert "secret" not in str(stopped.value) and len(server.asked) < 10


def test_an_address_that_is_not_there_is_named():
    with pytest.raises(ConnectionError, match="http://127.0.0.1:9/v1: no connection"):
        AddressModel("http://someone:password@127.0.0.1:9")


def test_of_several_models_one_must_be_named(serving, volume):
    with serving(WriterServer(lambda hu: "A report.", models=("one", "two")).app()) as address:
        with pytest.raises(ValueError, match="one, two; name one with --name"):
            AddressModel(address)
        assert AddressModel(address, "two").name == "two"


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("https://host/openai/v1/", "https://host/openai/v1"),
    ],
)
def test_an_address_without_a_path_is_given_that_of_openai(given, asked):
    assert complete_address(given) == asked and is_address(given)


def test_a_folder_is_no_address():
    assert not is_address("runs/demo/argus-tiny")
    with pytest.raises(ValueError, match="is no address"):
        complete_address("http://")
