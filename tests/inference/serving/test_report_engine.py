"""The server in front of any engine: its key, its health and numbers, many reports together."""

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import torch
from safetensors.torch import save

from argus_inference.generation import Generated
from argus_inference.scan_files import ScanNotReadError
from argus_inference.serving.access_key import check_key, chosen_key
from argus_inference.serving.sent_embeddings import MEDIA_TYPE
from argus_inference.serving.serve import MAX_WAITING, build_app
from argus_inference.serving.serve_requests import AllowedScans
from argus_inference.serving.serve_writing import ReportWriter

KEY = "a key"


class Echo:
    """An engine that writes the sum of the embeddings it was sent; all of its places wait for each other."""

    name, origin, places = "echo", {}, 4

    def __init__(self):
        self.healthy, self.together, self.most_together = True, 0, 0
        self.go_on = asyncio.Event()

    def fit(self, asked):
        return 3, 8

    def prepare(self, scan, asked):
        if scan.shape != (2, 3):
            raise ScanNotReadError("embeddings for this model are (2, 3)")
        return float(scan.sum())

    async def words(self, prepared, asked, gone):
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        if asked.instruction == "wait":
            await self.go_on.wait()
        else:
            await asyncio.sleep(0.05)
        self.together -= 1
        yield f"{prepared:g}"
        yield Generated(f"{prepared:g}", 5, False)

    def is_healthy(self):
        return self.healthy

    def metrics(self):
        return "engine_steps_total 7\n"

    def close(self):
        self.closed = True


def body(scan: torch.Tensor | str, **options) -> dict:
    url = scan
    if isinstance(scan, torch.Tensor):
        url = f"data:{MEDIA_TYPE};base64,{base64.b64encode(save({'image_embeds': scan})).decode()}"
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]} | options


@pytest.fixture
def echo(serving):
    engine = Echo()
    with serving(build_app(engine, AllowedScans(None), ("127.0.0.1",), KEY)) as address:
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
            yield engine, client
    assert engine.closed


def test_an_engine_is_asked_for_as_many_reports_together_as_it_has_places(echo):
    engine, client = echo
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: client.post("/v1/chat/completions", json=body(torch.full((2, 3), n))),
                                map(float, range(12))))  # fmt: skip
    told = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert told == [f"{6 * n}" for n in range(12)]
    assert 4 <= engine.most_together <= engine.places + 1


def test_none_of_many_requests_is_lost(echo):
    engine, client = echo
    with ThreadPoolExecutor(60) as pool:
        ask = lambda n: client.post("/v1/chat/completions", json=body(torch.ones(2, 3)))  # noqa: E731
        answers = list(pool.map(ask, range(60)))
    counts = {status: [answer.status_code for answer in answers].count(status) for status in (200, 429)}
    assert counts[200] + counts[429] == 60 and counts[200] >= MAX_WAITING
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 429)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", KEY])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/metrics", "/none"])
def test_without_the_key_nothing_is_told(echo, header, path):
    _, client = echo
    method = "POST" if path.endswith("completions") else "GET"
    answer = client.request(method, path, headers={"Authorization": header})
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert "echo" not in answer.text


def test_the_key_opens_the_models_and_health_needs_none(echo):
    engine, client = echo
    assert client.get("/v1/models").json()["data"][0]["id"] == "echo"
    assert client.get("/health", headers={"Authorization": ""}).status_code == 200
    engine.healthy = False
    assert client.get("/health").status_code == 503


def test_numbers_tell_reports_and_refusals(echo):
    _, client = echo
    for scan in (torch.ones(2, 3), torch.ones(3, 3), "http://example.org/scan.nii"):
        client.post("/v1/chat/completions", json=body(scan))
    lines = client.get("/metrics").text.splitlines()
    assert 'argus_answers_total{status="200"} 1' in lines and 'argus_answers_total{status="400"} 2' in lines
    assert "argus_reports_total 1" in lines and "argus_report_tokens_total 5" in lines
    assert "argus_requests_running 0" in lines and "engine_steps_total 7" in lines
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {line.split("{")[0].split()[0] for line in lines if not line.startswith("#")} <= names | {
        "engine_steps_total"
    }


def test_a_stream_comes_from_any_engine(echo):
    _, client = echo
    answer = client.post("/v1/chat/completions", json=body(torch.ones(2, 3), stream=True)).text
    parts = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in parts) == "6"


def test_a_model_in_this_process_takes_no_embeddings(loaded, serving):
    with serving(build_app(ReportWriter(*loaded, name="tiny"), AllowedScans(None), ("127.0.0.1",))) as address:
        answer = httpx.post(f"{address}/v1/chat/completions", json=body(torch.ones(2, 3)), timeout=60)
        assert httpx.get(f"{address}/health").status_code == 200
        assert "argus_reports_total 0" in httpx.get(f"{address}/metrics").text
    assert answer.status_code == 400 and "not embeddings" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["", " ", "a\nb", "schlüssel"])
def test_a_key_that_no_client_can_send_is_refused(key):
    with pytest.raises(ValueError, match="--api-key"):
        check_key(key)


def test_a_key_may_lie_in_a_file(tmp_path):
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    assert chosen_key(None, file) == "s3cret" and chosen_key("a", None) == "a" and chosen_key(None, None) is None
    with pytest.raises(ValueError, match="both"):
        chosen_key("a", file)
    for text in ("", "\n", "one\ntwo\n", "schlüssel"):
        file.write_text(text)
        with pytest.raises(ValueError, match="key: holds no key"):
            chosen_key(None, file)


def test_no_key_is_none():
    assert check_key(None) is None and check_key("s3cret") == "s3cret"
