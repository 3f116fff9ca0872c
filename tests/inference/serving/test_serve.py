"""`argus serve` asked by OpenAI's own client, over a real socket."""

import base64
import json
import os
import re
import tracemalloc

import httpx
import nibabel as nib
import numpy as np
import openai
import pytest

from argus_inference.generation import generate_batch, inputs_of, prompt_of
from argus_inference.serving.serve import build_app
from argus_inference.serving.serve_requests import AllowedScans, RefusedError, ReportRequest, parse_request
from argus_inference.serving.serve_writing import ReportWriter
from argus_processing.instructions import INSTRUCTION, INSTRUCTIONS
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
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe.nii")
    (inside / "series").mkdir()
    (inside / "series" / "one.dcm").symlink_to(root / "secret.nii.gz")
    (inside / "piped").mkdir()
    os.mkfifo(inside / "piped" / "one.dcm")
    return inside


@pytest.fixture(scope="module")
def address(loaded, folder, serving):
    with serving(build_app(ReportWriter(*loaded, name="argus-tiny"), AllowedScans(folder), ("127.0.0.1",))) as served:
        yield f"{served}/v1"


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
    assert client.models.retrieve("argus-tiny").id == "argus-tiny"
    with pytest.raises(openai.NotFoundError, match="argus-tiny"):
        client.models.retrieve("org/other")


def test_answers_tell_what_the_model_was_made_from(loaded, folder, serving):
    origin = {"trained_on": "3,000 phantoms", "limits": "phantoms only"}
    writer = ReportWriter(*loaded, name="argus-tiny", origin=origin)
    with serving(build_app(writer, AllowedScans(folder), ("127.0.0.1",))) as served:
        with openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0) as client:
            assert client.models.retrieve("argus-tiny").argus == origin
            assert ask(client, file_url(folder)).argus == origin
            first, *rest = ask(client, file_url(folder), stream=True)
            assert first.argus == origin and not any(hasattr(chunk, "argus") for chunk in rest)


def test_a_model_without_a_record_tells_nothing_of_its_origin(client, folder):
    assert not hasattr(client.models.retrieve("argus-tiny"), "argus")
    assert not hasattr(ask(client, file_url(folder)), "argus")


@pytest.mark.parametrize("text", [None, INSTRUCTIONS[5]])
def test_streamed_words_are_those_of_generate(client, loaded, folder, text):
    expected = generate_batch(*loaded, [read_ct(folder / "a b.nii.gz")], [text or INSTRUCTION], TOKENS)[0]
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
        ("file://{folder}/" + "n" * 300, "no such scan in the folder"),
        ("file://{folder}/loop", "no such scan in the folder"),
        ("file://{folder}/pipe.nii", "no such scan in the folder"),
        ("file://{folder}/series", "no such scan in the folder"),
        ("file://{folder}/piped", "no such scan in the folder"),
        ("file://{folder}/%00", "no such scan in the folder"),
        ("file://{folder}/%ff%1b[31m", "no such scan in the folder"),
        ("file://[", "no such scan in the folder"),
        ("file://{folder}/a%20b.nii.gz#2.nii.gz", "no such scan in the folder"),
        ("file://{folder}/a%20b.nii.gz?raw=1", "no such scan in the folder"),
        ("file://{folder}/a%20b.nii\n.gz", "no such scan in the folder"),
        ("FILE:///etc/passwd", "no such scan in the folder"),
        ("https://example.org/scan.nii.gz", "nothing is fetched"),
        ("data:application/gzip,bm8=", "in base64"),
        ("data:;base64,bm8=bm8=", "no base64"),
        ("data:;base64,b\u00e9==", "no base64"),
        ("DATA:;Base64,????", "no base64"),
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


@pytest.mark.parametrize("stream", [False, True])
def test_a_report_ends_before_a_stop_and_its_tokens_are_counted(client, loaded, folder, stream):
    model, processor = loaded
    whole = generate_batch(model, processor, [read_ct(folder / "a b.nii.gz")], [INSTRUCTION], TOKENS)[0]
    parts = re.findall("[!-~]{1,3}", whole.text)  # a random model also writes bytes of no letter
    stop = parts[len(parts) // 2]
    answer = ask(client, file_url(folder), stop=[stop, "never there"], stream=stream, **usage_in(stream))
    if stream:
        chunks = list(answer)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        reason, usage = chunks[-2].choices[0].finish_reason, chunks[-1].usage
        assert chunks[-1].choices == [] and all(chunk.usage is None for chunk in chunks[:-1])
    else:
        text, reason, usage = answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage
    assert text.strip() == whole.text[: whole.text.index(stop)].strip()
    # As many as it takes to write the stop, not more, though a word is known to be whole only tokens later.
    inputs = inputs_of(processor, [prompt_of(processor, INSTRUCTION)], [read_ct(folder / "a b.nii.gz")])
    ids = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    decoded = [processor.tokenizer.decode(ids[:count], skip_special_tokens=True) for count in range(len(ids) + 1)]
    assert reason == "stop" and usage.completion_tokens == next(n for n, text in enumerate(decoded) if stop in text)
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": INSTRUCTION}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    inputs = processor(images=[folder / "a b.nii.gz"], text=[prompt], add_special_tokens=False, return_tensors="pt")
    assert usage.prompt_tokens == inputs["input_ids"].shape[1]
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def usage_in(stream: bool) -> dict:
    return {"stream_options": {"include_usage": True}} if stream else {}


GREEDY = "reports are written greedily"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stream": "false"}, "stream: "),
        ({"stream": 1}, "stream: "),
        ({"n": 2}, "n is 1"),
        ({"n": True}, "n is 1"),
        ({"temperature": 0.7}, GREEDY),
        ({"temperature": float("nan")}, GREEDY),
        ({"top_p": 0}, "top_p"),
        ({"seed": "1"}, "seed"),
        ({"max_tokens": 0}, "max_tokens is a whole number"),
        ({"max_tokens": 5.0}, "max_tokens is a whole number"),
        ({"max_tokens": 10**300}, "max_tokens is a whole number"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "differ"),
        ({"stop": ["", "a"]}, "stop.0"),
        ({"stop": list("abcde")}, "stop"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": []}, "tools is unknown"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"stream_options": {"include_usage": True}}, "stream: true"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"model": 3}, "model"),
        ({"messages": "text"}, "messages"),
        ({"messages": [{"role": "system", "content": "be brief"}]}, "role user only"),
        ({"messages": [{"role": "user", "content": "no scan"}]}, "one scan"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "type"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "holds text"),
        ({"\x1b[31m" * 99: 1}, "unknown"),
    ],
)
def test_what_is_asked_wrongly_is_refused_and_named(address, changes, said):
    request = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}]}
    body = json.dumps(request | changes)
    answer = httpx.post(f"{address}/chat/completions", content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert answer.status_code == 400 and said in error["message"] and error["type"] == "invalid_request_error"
    assert error["message"].isprintable() and len(error["message"]) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b"{",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"messages": "\\ud800"}',
        b"\xff",
        b'{"seed": 1e999}',
    ]
    + [b'{"seed": ' + b"9" * 20_000 + b"}"],
)
def test_what_is_no_request_is_refused(address, body):
    answer = httpx.post(f"{address}/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [' + b"1," * (2 << 20) + b"1]}",
        b'{"messages": [' + b"[]," * (1 << 20) + b"1]}",
        b'{"stop": [' + b"{}," * (1 << 20) + b"1]}",
        b"{" + b'"a":1,' * (1 << 20) + b'"a":1}',
        b"{" + b",".join(b'"%x":1' % number for number in range(300_000)) + b"}",
    ],
)
def test_what_would_swell_when_it_is_read_is_refused_unread(body):
    """4 MB of short values were 200 MB once they were read."""
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="too many values"):
            parse_request(body, "argus-tiny")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_fields_that_ask_for_nothing_else_are_taken():
    """As clients send them that write every field they know."""
    kept = "frequency_penalty temperature stop n tools functions logit_bias audio prediction verbosity".split()
    asked = dict.fromkeys(kept) | {"tool_choice": "none", "modalities": ["text"], "metadata": {"run": "7"}}
    asked |= {"response_format": {"type": "text"}, "service_tier": "auto", "user": "me", "top_logprobs": 0}
    asked |= {"temperature": 0, "top_p": 0.5, "seed": 1, "n": 1, "logit_bias": {}, "parallel_tool_calls": True}
    content = [{"type": "image_url", "image_url": {"url": "file:///x"}}, *[{"type": "text", "text": "a"}] * 2]
    message = {"role": "user", "content": content}
    request = parse_request(json.dumps(asked | {"messages": [message]}).encode(), "argus-tiny")
    assert request == ReportRequest("file:///x", "a\na")


def test_unknown_addresses_and_methods_answer_in_the_same_form(address):
    for answer in (httpx.get(f"{address}/nothing"), httpx.get(f"{address}/chat/completions")):
        assert answer.status_code in (404, 405) and answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, KeyboardInterrupt])
def test_a_failure_costs_its_request_alone_and_tells_nothing(client, loaded, folder, monkeypatch, capfd, error):
    def fail(**inputs):
        raise error("a patient's value")

    with monkeypatch.context() as patch:
        patch.setattr(loaded[0], "generate", fail)
        with pytest.raises(openai.InternalServerError) as failed:
            ask(client, file_url(folder))
    assert "patient" not in str(failed.value) and "patient" not in capfd.readouterr().err
    assert ask(client, file_url(folder), max_completion_tokens=1).choices


def test_without_a_folder_no_file_is_opened(scans):
    with pytest.raises(ValueError, match="opens no folder"):
        AllowedScans(None).read(scans[0].as_uri())
