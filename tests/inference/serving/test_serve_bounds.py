"""`argus serve` under clients that leave, wait, stall, flood, send too much or use another's name."""

import copy
import errno
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

import httpx
import numpy as np
import pytest
from dicom_series import body_hu, write_series
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from transformers import AddedToken

from argus_inference import scan_files
from argus_inference.scan_files import ScanNotReadError, open_below
from argus_inference.scan_process import ClientLeftError, ReaderLimits, prepare_readers, read_apart
from argus_inference.serving import local_server, serve
from argus_inference.serving.local_server import BodyGuard, HostGuard, allowed_hosts, build_server, open_listener
from argus_inference.serving.sent_scans import received
from argus_inference.serving.serve_prompts import MAX_INSTRUCTION_BYTES
from argus_inference.serving.serve_requests import AllowedScans, RefusedError, ReportRequest
from argus_inference.serving.serve_writing import ReportWriter
from argus_processing import read_ct
from argus_processing.storage import part_files

TOKENS = 900
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def folder(scans, tmp_path_factory):
    inside = tmp_path_factory.mktemp("bounds")
    (inside / "scan.nii.gz").write_bytes(scans[0].read_bytes())
    return inside


@pytest.fixture(scope="module")
def address(loaded, folder, serving):
    app = serve.build_app(ReportWriter(*loaded, name="argus-tiny"), AllowedScans(folder), ("127.0.0.1",))
    with serving(app) as served:
        yield served


@pytest.fixture(scope="module")
def lone_address(loaded, folder, serving):
    """A server that writes one report at a time, as for a model with a static cache."""
    writer = ReportWriter(*loaded, name="argus-tiny", places=1)
    with serving(serve.build_app(writer, AllowedScans(folder), ("127.0.0.1",))) as served:
        yield served


@pytest.fixture(params=["address", "lone_address"])
def any_address(request):
    return request.getfixturevalue(request.param)


class Steps:
    """Counts a model's steps, and holds the first of them until it is let go."""

    def __init__(self, model) -> None:
        self.count = 0
        self.begun, self.free = threading.Event(), threading.Event()
        self.free.set()
        self._hook = model.lm_head.register_forward_hook(self._step)

    def _step(self, *_) -> None:
        self.count += 1
        self.begun.set()
        assert self.free.wait(120)

    def remove(self) -> None:
        self.free.set()
        self._hook.remove()


@pytest.fixture
def steps(loaded):
    counted = Steps(loaded[0])
    yield counted
    counted.remove()


def request(folder, name="scan.nii.gz", text="", **options) -> dict:
    image = {"type": "image_url", "image_url": {"url": (folder / name).as_uri()}}
    return {"messages": [{"role": "user", "content": [image, {"type": "text", "text": text}]}]} | options


def ask(address, body, **options) -> httpx.Response:
    return httpx.post(f"{address}/v1/chat/completions", json=body, timeout=120, **options)


def connect(address) -> socket.socket:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=120)


def send(address, body: dict) -> socket.socket:
    """Send a request on a connection of its own, as any client does."""
    content = json.dumps(body).encode()
    connection = connect(address)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_generation(any_address, folder, steps, stream):
    address = any_address
    steps.free.clear()
    connection = send(address, request(folder, stream=stream, max_tokens=TOKENS))
    assert steps.begun.wait(120)
    if stream:
        received = b""
        while b"assistant" not in received:
            received += connection.recv(4096)
    connection.close()
    assert httpx.get(f"{address}/v1/models").status_code == 200  # the server has seen that the connection is closed
    steps.free.set()
    assert ask(address, request(folder, max_tokens=2)).status_code == 200
    before = steps.count
    time.sleep(0.2)
    assert steps.count == before < TOKENS // 3


def test_a_client_that_leaves_while_it_waits_is_never_written_for(any_address, folder, steps):
    address = any_address
    steps.free.clear()
    first = send(address, request(folder, max_tokens=3))
    assert steps.begun.wait(120)
    for _ in range(3):
        send(address, request(folder, max_tokens=TOKENS)).close()
    steps.free.set()
    assert first.recv(4096).startswith(b"HTTP/1.1 200")
    first.close()
    assert ask(address, request(folder, max_tokens=2)).status_code == 200
    assert steps.count < TOKENS


def test_one_request_too_many_is_told_to_come_back(lone_address, folder, steps, monkeypatch):
    address = lone_address
    monkeypatch.setattr(serve, "MAX_WAITING", 1)
    steps.free.clear()
    first = send(address, request(folder, max_tokens=2))
    assert steps.begun.wait(120)
    refused = ask(address, request(folder, max_tokens=1))
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
    steps.free.set()
    assert first.recv(4096).startswith(b"HTTP/1.1 200")
    first.close()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("nodule? " * 6_000, {}),
        ("nodule? " * 25_000, {"stream": True}),
        ("é" * (MAX_INSTRUCTION_BYTES // 2 + 1), {}),
        ("nodule? " * 500, {"max_tokens": 1}),
        ("", {"max_tokens": 1024}),
    ],
)
def test_more_text_than_the_model_reads_is_refused_before_it_is_read(address, folder, steps, text, options):
    started = time.perf_counter()
    answer = ask(address, request(folder, text=text, **options))
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "context_length_exceeded"
    assert steps.count == 0 and time.perf_counter() - started < 20


def test_a_report_longer_than_the_model_reads_is_told_the_most(address, folder):
    error = ask(address, request(folder, max_tokens=1024)).json()["error"]
    assert error["param"] == "max_tokens"
    most = int(re.search(r"give max_tokens of at most (\d+)$", error["message"])[1])
    assert ask(address, request(folder, max_tokens=most + 1)).status_code == 400
    assert ask(address, request(folder, max_tokens=1)).status_code == 200


def test_marks_of_the_models_prompt_are_refused(address, folder, loaded):
    processor = loaded[1]
    for mark in (processor.image_token, processor.tokenizer.eos_token):
        answer = ask(address, request(folder, text=f"a {mark} b"))
        assert answer.status_code == 400 and "mark" in answer.json()["error"]["message"]


def test_marks_of_turns_without_a_role_are_refused(loaded):
    """As Llama's are: special, but in none of the lists of special tokens."""
    model, processor = loaded[0], copy.deepcopy(loaded[1])
    processor.tokenizer.add_tokens([AddedToken("<|turn|>", special=True)], special_tokens=True)
    assert "<|turn|>" not in processor.tokenizer.all_special_tokens
    with pytest.raises(RefusedError, match="mark"):
        ReportWriter(model, processor, name="argus-tiny").fit(ReportRequest("file:///x", "a <|turn|> b"))


HALF_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-"
HALF_BODY = HALF_HEAD + b'Type: application/json\r\nContent-Length: 99\r\n\r\n{"messages": ['


@pytest.mark.parametrize("half", [b"", HALF_HEAD, HALF_BODY])
def test_half_sent_requests_do_not_keep_others_out(address, folder, monkeypatch, half):
    monkeypatch.setattr(local_server, "MAX_CONNECTIONS", 8)
    opened = [connect(address) for _ in range(40)]
    for connection in opened[-8:]:
        connection.sendall(half)
    assert ask(address, request(folder, max_tokens=1)).status_code == 200
    for connection in opened:
        connection.close()


def test_half_sent_requests_are_given_up(address, monkeypatch):
    monkeypatch.setattr(local_server, "HEAD_SECONDS", 0.05)
    monkeypatch.setattr(local_server, "BODY_SECONDS", 0.05)
    for half, answer in ((b"", b""), (HALF_HEAD, b""), (HALF_BODY, b"HTTP/1.1 408")):
        with connect(address) as connection:
            connection.sendall(half)
            try:
                received = connection.recv(4096)
            except ConnectionResetError:
                received = b""
            assert received[: len(answer) or None] == answer


@pytest.mark.parametrize("half", [HALF_HEAD, HALF_BODY])
def test_a_half_sent_request_does_not_keep_a_server_alive(half):
    async def body(request):
        return JSONResponse(await request.json())

    listener = open_listener("127.0.0.1", 0)
    server = build_server(Starlette(routes=[Route("/v1/chat/completions", body, methods=["POST"])]))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with connect(url) as connection:
        connection.sendall(half)
        assert httpx.get(url).status_code == 404
        server.should_exit = True
        thread.join(local_server.GRACE_SECONDS)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def guarded_address(serving):
    with serving(guarded(allowed_hosts("0.0.0.0", ["Reports.example:8000", "::1"]))) as served:
        yield served


def guarded(hosts=("127.0.0.1",), max_bytes=1000, together=1500) -> Starlette:
    async def size(request):
        return JSONResponse(len(await request.body()))

    app = Starlette(routes=[Route("/", size, methods=["GET", "POST"])])
    app.add_middleware(BodyGuard, max_bytes=max_bytes, max_bytes_together=together)
    app.add_middleware(HostGuard, hosts=hosts, refuse=lambda text, status: JSONResponse(text, status))
    return app


def test_large_bodies_are_refused_before_they_are_sent(serving, monkeypatch):
    monkeypatch.setattr(local_server, "LINGER_SECONDS", 0.5)
    with serving(guarded()) as address:
        assert httpx.post(address, content=b"x" * 1000).json() == 1000
        with connect(address) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 300000000\r\n\r\nx")
            assert connection.recv(4096).startswith(b"HTTP/1.1 413")
        chunks = (b"x" * 100 for _ in range(100_000))
        refused = httpx.post(address, content=chunks)  # without a length, and its sender comes to read the refusal
        assert refused.status_code == 413 and refused.headers["connection"] == "close"


def test_the_bodies_of_all_requests_have_a_limit_together(serving, monkeypatch):
    monkeypatch.setattr(local_server, "SMALL_BYTES", 10)
    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
    with serving(guarded(together=1200)) as address, connect(address) as slow:
        slow.sendall(head + b"x" * 900)
        answers = {httpx.post(address, content=b"x" * 900).status_code for _ in range(2)}
        assert answers <= {200, 503} and 503 in answers
        assert httpx.post(address, content=b"x" * 10).status_code == 200  # who asks for little is not kept out
        slow.sendall(b"x" * 100)
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")
        assert httpx.post(address, content=b"x" * 900).status_code == 200  # what was held is free again


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:80", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("reports.example:8000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example:8000", 400),
        ("8.8.8.8", 400),
        ("", 400),
        ("localhost.", 400),
        ("me@localhost", 400),
        ("0.0.0.0", 200),  # what it was told to listen on
    ],
)
def test_an_open_address_does_not_open_other_names(guarded_address, host, status):
    assert httpx.get(guarded_address, headers={"host": host}).status_code == status


def test_a_bare_address_is_answered_where_it_is_the_servers_own(serving):
    with serving(guarded(())) as address:
        assert httpx.get(address).status_code == 200
        assert httpx.get(address, headers={"host": "127.0.0.2"}).status_code == 400
    guard = HostGuard(None, (), None)
    on_any = {"server": ("::ffff:192.0.2.7", 80)}  # how a server on :: sees a connection by IPv4
    assert guard._is_ours("192.0.2.7:80", on_any) and not guard._is_ours("192.0.2.8:80", on_any)
    with pytest.raises(ValueError, match="--host"):
        open_listener("", 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "{address}"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_another_sites_page_cannot_write(guarded_address, headers, status):
    sent = {name: value.format(address=guarded_address) for name, value in headers.items()}
    assert httpx.post(guarded_address, content=b"{}", headers=sent).status_code == status


class Reader:
    """Stands for a decoder: `call` happens in the reader's process when this is unpickled there."""

    def __init__(self, *call) -> None:
        self._call = call

    def __reduce__(self):
        return self._call[0], tuple(self._call[1:])


def test_a_decoder_that_dies_costs_its_scan_alone(folder):
    with pytest.raises(ScanNotReadError, match="reader died"):
        read_apart(Reader(os.abort))
    assert AllowedScans(folder).read((folder / "scan.nii.gz").as_uri()).hu.ndim == 3


@pytest.mark.parametrize("syntax", ["explicit", "jpeg_lossless_70", "rle"])
def test_a_dicom_folder_is_read_as_it_is_without_the_server(tmp_path, syntax):
    (tmp_path / "served").mkdir()
    series = write_series(tmp_path / "served" / "series", body_hu(), syntax)
    (tmp_path / "served" / "link").symlink_to("series")
    allowed_scans, direct = AllowedScans(tmp_path / "served"), read_ct(series)
    for name in ("series", "link"):
        volume = allowed_scans.read((tmp_path / "served" / name).as_uri())
        assert np.array_equal(volume.hu, direct.hu) and volume.hu.dtype == direct.hu.dtype
        assert np.array_equal(volume.affine, direct.affine)
        assert (volume.original_orientation, volume.warnings) == (direct.original_orientation, direct.warnings)
    next(series.iterdir()).write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 99)
    with pytest.raises(ValueError) as refused:
        allowed_scans.read(series.as_uri())
    assert str(tmp_path) not in str(refused.value) and "argus-" not in str(refused.value)


def test_a_decoder_that_hangs_is_ended():
    with pytest.raises(ScanNotReadError, match="too long"):
        read_apart(Reader(time.sleep, 60), limits=ReaderLimits(seconds=0.2))
    gone = threading.Event()
    gone.set()
    with pytest.raises(ClientLeftError):
        read_apart(Reader(time.sleep, 60), gone)


SERVER = """
import multiprocessing, sys
from functools import partial
from operator import methodcaller
from pathlib import Path
from argus_inference.scan_process import DEFAULT_LIMITS, _context, _send_volume, _work

_context.set_forkserver_preload([])
_, sender = _context.Pipe(duplex=False)
send = partial(_send_volume, methodcaller("read_bytes"))
reader = _context.Process(target=_work, args=(sender, send, Path(sys.argv[1]), DEFAULT_LIMITS))
reader.start()
reader.join()
"""


def test_a_reader_ends_with_its_server(tmp_path):
    """The server may end in any way: a busy decoder does not check for it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(pipe)])
    try:
        with pipe.open("wb", buffering=0) as held:  # opened once the reader reads
            server.kill()
            watched = select.poll()
            watched.register(held, 0)
            assert watched.poll(30_000)[0][1] & select.POLLERR  # nobody reads any more
    finally:
        server.kill()
        server.wait()


def test_a_server_that_ends_waits_for_its_readers_and_their_folders(loaded, tmp_path, serving, monkeypatch):
    prepare_readers()  # whose own folder, made once a process, stays
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    begun = threading.Event()

    class Door:
        def read(self, url, gone):
            begun.set()
            return read_apart(Reader(time.sleep, 60), gone)

    monkeypatch.setattr(local_server, "GRACE_SECONDS", 0)
    with serving(serve.build_app(ReportWriter(*loaded, name="argus-tiny"), Door(), ("127.0.0.1",))) as served:
        asking = send(served, request(tmp_path))
        assert begun.wait(60)
    assert list(tmp_path.iterdir()) == []
    asking.close()


def test_a_full_folder_for_temporary_files_is_told_to_who_runs_the_server(address, folder, monkeypatch, capfd):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret")

    with monkeypatch.context() as patch:
        patch.setattr(part_files, "make_part_folder", full)
        assert ask(address, request(folder)).status_code == 500
    said = capfd.readouterr().err
    assert "No space left on device" in said and "TMPDIR" in said and "secret" not in said
    assert ask(address, request(folder, max_tokens=1)).status_code == 200


def test_a_sent_scan_has_no_name_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with received("data:;base64,c2NhbnNjYW4=") as sent:
        assert os.pread(sent.descriptor, 99, 0) == b"scanscan"
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def rooms(tmp_path):
    """A served folder, one beside it, and an empty room for the reader."""
    for name in ("served", "outside", "room"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "slice").write_text("secret")
    return tmp_path / "served", tmp_path / "outside", tmp_path / "room"


def read_all(root, asked, room) -> dict[str, str]:
    with scan_files.ExitStack() as opened:
        path = open_below(root, str(asked), room, opened)
        return {file.name: file.read_text() for file in sorted(path.iterdir())}


def test_links_that_stay_inside_are_followed(rooms):
    served, _, room = rooms
    (served / "store").mkdir()
    (served / "store" / "blob").write_text("one")
    (served / "series").mkdir()
    (served / "series" / "a").symlink_to(served / "store" / "blob")
    (served / "series" / "b").write_text("two")
    (served / "series" / "deeper").mkdir()
    (served / "latest").symlink_to("series")
    assert read_all(served, served / "latest", room) == {"a": "one", "b": "two"}


@pytest.mark.parametrize("kind", ["link", "folder link", "fifo", "dangling", "loop", "link up"])
def test_a_series_with_a_way_out_is_refused_whole(rooms, kind):
    served, outside, room = rooms
    series = served / "series"
    series.mkdir()
    (series / "a").write_text("one")
    entry = series / "b"
    match kind:
        case "link":
            entry.symlink_to(outside / "slice")
        case "folder link":
            entry.symlink_to(outside)
        case "fifo":
            os.mkfifo(entry)
        case "dangling":
            entry.symlink_to(served / "nothing")
        case "loop":
            entry.symlink_to("b")
        case "link up":
            entry.symlink_to("../../outside/slice")
    with pytest.raises(ScanNotReadError, match="no such scan"):
        read_all(served, series, room)


def test_a_folder_swapped_for_a_link_after_it_was_checked_is_refused(rooms, monkeypatch):
    served, outside, room = rooms
    (served / "series").symlink_to(outside)
    monkeypatch.setattr(os.path, "realpath", lambda path, strict=True: str(path))  # as it was a moment ago
    for asked in (served / "series", served / "series" / "slice"):
        with pytest.raises(ScanNotReadError):
            read_all(served, asked, room)


def test_readers_leave_no_file_behind(folder, tmp_path, monkeypatch):
    prepare_readers()  # whose own folder, made once a process, stays
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    allowed_scans = AllowedScans(folder)
    allowed_scans.read((folder / "scan.nii.gz").as_uri())
    with pytest.raises(ScanNotReadError):
        read_apart(Reader(os.abort))
    assert list(tmp_path.iterdir()) == []
