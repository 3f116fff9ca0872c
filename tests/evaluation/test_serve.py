"""`argus serve` asked by OpenAI's own client, over a real socket."""

import base64
import threading

import httpx
import nibabel as nib
import numpy as np
import openai
import pytest
import uvicorn

from argus_evaluation.generation import generate_batch
from argus_evaluation.local_server import open_listener
from argus_evaluation.serve import ReportWriter, build_app
from argus_evaluation.serve_requests import ScanDoor
from argus_processing.instructions import INSTRUCTIONS
from argus_processing.read_ct import read_ct

TOKENS = 40


@pytest.fixture(scope="module")
def folder(scans, tmp_path_factory):
    """An open folder with one scan, a text file and a link that leads out of it; another scan lies beside it."""
    root = tmp_path_factory.mktemp("served")
    inside = root / "scans"
    inside.mkdir()
    (inside / "a b.nii.gz").write_bytes(scans[0].read_bytes())
    (root / "secret.nii.gz").write_bytes(scans[1].read_bytes())
    (inside / "notes.nii.gz").write_text("no scan")
    (inside / "link.nii.gz").symlink_to(root / "secret.nii.gz")
    return inside


@pytest.fixture(scope="module")
def address(loaded, folder):
    app = build_app(ReportWriter(*loaded, name="argus-tiny"), ScanDoor(folder), ("127.0.0.1",))
    listener = open_listener("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        yield client


def file_url(folder, name="a b.nii.gz"):
    return (folder / name).as_uri()


def ask(client, url, text=None, **changes):
    content = [{"type": "image_url", "image_url": {"url": url}}]
    content += [] if text is None else [{"type": "text", "text": text}]
    options = {"model": "argus-tiny", "max_completion_tokens": TOKENS} | changes
    return client.chat.completions.create(messages=[{"role": "user", "content": content}], **options)


def test_the_model_is_listed(client):
    assert [model.id for model in client.models.list()] == ["argus-tiny"]


@pytest.mark.parametrize("text", [None, INSTRUCTIONS[5]])
def test_streamed_words_are_those_of_generate(client, loaded, folder, text):
    expected = generate_batch(*loaded, [read_ct(folder / "a b.nii.gz")], [text or INSTRUCTIONS[0]], TOKENS)[0]
    chunks = [chunk.choices[0] for chunk in ask(client, file_url(folder), text, stream=True)]
    words = [chunk.delta.content for chunk in chunks if chunk.delta.content]
    assert "".join(words).strip() == expected.text and expected.text
    assert chunks[-1].finish_reason == ("length" if expected.truncated else "stop")
    assert len(words) > 1 or " " not in expected.text  # words leave when a space follows
    whole = ask(client, file_url(folder), text)
    assert whole.choices[0].message.content == expected.text


def test_a_sent_scan_is_read_as_the_file_is(client, folder):
    sent = base64.b64encode((folder / "a b.nii.gz").read_bytes()).decode()
    answers = [ask(client, url) for url in (file_url(folder), f"data:application/gzip;base64,{sent}")]
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content


def mr_url() -> str:
    """A volume whose values are no HU."""
    image = nib.Nifti1Image(np.random.default_rng(0).integers(0, 255, (16, 16, 16)).astype(np.uint8), np.eye(4))
    return "data:;base64," + base64.b64encode(image.to_bytes()).decode()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file://{folder}/../secret.nii.gz", "no such scan in the folder"),
        ("file://{folder}/link.nii.gz", "no such scan in the folder"),
        ("file://{folder}/%2e%2e/secret.nii.gz", "no such scan in the folder"),
        ("file:///etc/passwd", "no such scan in the folder"),
        ("file://elsewhere{folder}/a%20b.nii.gz", "no such scan in the folder"),
        ("http://127.0.0.1/scan.nii.gz", "nothing is fetched"),
        ("file://{folder}/notes.nii.gz", "notes.nii.gz"),
        ("data:;base64,????", "no base64"),
        ("data:;base64,bm8gc2Nhbg==", "the scan"),
        (mr_url(), "the scan"),
    ],
)
def test_a_bad_scan_is_refused_in_one_line(client, folder, url, said, capfd):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, url.format(folder=folder))
    message = refused.value.body["message"]
    assert said in message and "\n" not in message
    assert str(folder) not in message and "/tmp" not in message
    assert capfd.readouterr().err == ""


def test_other_models_and_two_scans_are_refused(client, folder):
    with pytest.raises(openai.NotFoundError, match="argus-tiny"):
        ask(client, file_url(folder), model="gpt-4")
    with pytest.raises(openai.BadRequestError, match="one scan"):
        part = {"type": "image_url", "image_url": {"url": file_url(folder)}}
        client.chat.completions.create(model="argus-tiny", messages=[{"role": "user", "content": [part, part]}])


def test_other_hosts_and_forms_are_refused(address):
    elsewhere = httpx.get(f"{address}/models", headers={"host": "evil.example"})
    form = httpx.post(f"{address}/chat/completions", content="{}", headers={"content-type": "text/plain"})
    assert elsewhere.status_code == form.status_code == 400


def test_a_reader_who_leaves_ends_the_generation(loaded, folder):
    from argus_evaluation.serve_requests import ReportRequest

    writer = ReportWriter(*loaded, name="argus-tiny")
    volume = read_ct(folder / "a b.nii.gz")
    steps = []
    hook = writer.model.lm_head.register_forward_hook(lambda *_: steps.append(1))
    parts = writer.stream(volume, ReportRequest("", INSTRUCTIONS[0], 900, True))
    next(parts)
    parts.close()
    writer.write(volume, ReportRequest("", INSTRUCTIONS[0], 2, False))  # waits until the model is free
    hook.remove()
    assert 2 <= len(steps) < 900


def test_without_a_folder_no_file_is_opened(scans):
    with pytest.raises(ValueError, match="opens no folder"):
        ScanDoor(None).read(scans[0].as_uri())
