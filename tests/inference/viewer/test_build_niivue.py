"""niivue is what the lock file says, wherever it was fetched from."""

import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from argus_inference.viewer import build_niivue as building
from argus_inference.viewer.build_niivue import PUBLIC_REGISTRY, build_niivue, fetch_archive, npm_registry, read_lock
from argus_inference.viewer.niivue_file import FOLDER

SCRIPT = b"export class Niivue {}\n"


@pytest.fixture
def archive() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as file:
        member = tarfile.TarInfo("package/dist/index.js")
        member.size = len(SCRIPT)
        file.addfile(member, io.BytesIO(SCRIPT))
    return held.getvalue()


@pytest.fixture
def lock(archive):
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    return replace(read_lock(), integrity=f"sha512-{digest}")


@pytest.fixture
def registry(archive, lock, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    path = tmp_path / "registry" / lock.path
    path.parent.mkdir(parents=True)
    path.write_bytes(archive)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "registry"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_the_lock_file_names_one_release_and_its_hash():
    lock = read_lock()
    assert lock.path == f"{lock.name}/-/niivue-{lock.version}.tgz"
    algorithm, _, digest = lock.integrity.partition("-")
    assert algorithm == "sha512" and len(base64.b64decode(digest)) == 64
    assert "BSD 2-Clause License" in (FOLDER / "LICENSES.txt").read_text()


def test_what_a_registry_gives_is_written_if_the_hash_is_right(registry, lock, tmp_path):
    script = tmp_path / "niivue.js"
    build_niivue(fetch_archive(lock, registry), lock, registry, script)
    assert script.read_bytes() == SCRIPT


def test_another_archive_is_refused_and_nothing_written(archive, lock, tmp_path):
    changed = archive[:-9] + bytes([archive[-9] ^ 1]) + archive[-8:]
    with pytest.raises(ValueError, match="is not @niivue/niivue 0"):
        build_niivue(changed, lock, "a copy", tmp_path / "niivue.js")
    assert list(tmp_path.glob("niivue*")) == []


def test_a_registry_without_it_is_told_with_what_to_do(registry, lock):
    for address in (f"{registry}none", "http://127.0.0.1:9"):
        with pytest.raises(ValueError, match="--archive"):
            fetch_archive(lock, address)


def test_the_registry_is_the_one_that_npm_is_set_to(monkeypatch, tmp_path):
    monkeypatch.setenv("npm_config_registry", "https://npm.hospital.example/")
    assert npm_registry() == "https://npm.hospital.example/"
    monkeypatch.delenv("npm_config_registry")
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\n[ "$*" = "config get registry" ] && echo https://mirror.example/npm/\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert npm_registry() == "https://mirror.example/npm/"
    npm.write_text("#!/bin/sh\nexit 1\n")
    assert npm_registry() == PUBLIC_REGISTRY


def test_the_command_is_one_line_and_loads_no_other_library(tmp_path):
    wrong = tmp_path / "niivue.tgz"
    wrong.write_bytes(b"something else")
    code = (
        "import sys; from argus_inference.viewer import build_niivue\n"
        "try: build_niivue.main()\n"
        "finally: print(*sorted({'torch', 'numpy', 'starlette'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "--archive", str(wrong)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (2, "")
    assert done.stderr.count("\n") == 1 and f"{wrong}: is not @niivue/niivue" in done.stderr


def test_the_built_file_is_the_one_of_the_lock_file():
    if not building.SCRIPT.exists():
        pytest.skip("niivue is not built here (make viewer)")
    text = building.SCRIPT.read_text(encoding="utf-8")
    assert f'"{read_lock().version}"' in text and "export {" in text
