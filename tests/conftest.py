import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
import torch
import yaml
from local_hub import TOKEN, LocalHub
from tiny_models import enlarge_matrices
from transformers import set_seed

import argus_processing  # noqa: F401  registers the data set
from argus_cli import main
from argus_evaluation.metrics import meteor
from argus_inference.model_folder import load_model
from argus_inference.serving.local_server import build_server, open_listener
from argus_inference.viewer import niivue_file
from argus_processing.instructions import INSTRUCTIONS
from argus_training.assembly.create import create_model
from argus_training.assembly.language import tiny_llama
from argus_training.assembly.report_tokenizer import train_tokenizer

PHANTOMS = {"num_train": 3, "num_validation": 1, "num_test": 4, "spacing_mm": (12.0, 8.0, 8.0)}


def pytest_make_parametrize_id(config, val, argname) -> str | None:
    """Name bytes by their argument: those made at import may hold a time, and two processes would collect two lists."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads that wait for a shared core make so small a model twenty times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory) -> Path:
    """A whole argus-tiny with random weights, assembled and saved as `argus create` does it."""
    root = tmp_path_factory.mktemp("tiny")
    texts = [*INSTRUCTIONS, "There is a small pleural effusion on the right.", "No lung nodule."]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    set_seed(0)
    language_model = tiny_llama(tokenizer, seed=0)
    enlarge_matrices(language_model, 4)  # or it writes the same report for every scan
    language_model.save_pretrained(root / "llm")
    tokenizer.save_pretrained(root / "llm")
    return create_model("argus-tiny", root / "model", llm=root / "llm", dtype="float32")


@pytest.fixture(scope="session")
def loaded(model_dir):
    return load_model(model_dir)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> datasets.DatasetDict:
    cache = tmp_path_factory.mktemp("cache")
    return datasets.load_dataset("ct3drrg", "phantom", cache_dir=str(cache), **PHANTOMS)


@pytest.fixture
def split(phantoms) -> datasets.Dataset:
    return phantoms["test"].cast_column("image", datasets.Nifti(decode=False))


@pytest.fixture(scope="session")
def scans(phantoms) -> list[Path]:
    test = phantoms["test"].cast_column("image", datasets.Nifti(decode=False))
    return [Path(image["path"]) for image in test["image"]]


@pytest.fixture(scope="session", autouse=True)
def without_java():
    """METEOR's program needs half a minute to start: only its own tests run it, where Java is there."""
    patch = pytest.MonkeyPatch()
    patch.setattr(meteor, "_find_java", lambda: None)
    yield
    patch.undo()


@pytest.fixture
def empty_hub_cache(tmp_path, monkeypatch):
    """The Hub's cache as on a machine that has fetched nothing."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def argus(monkeypatch, capsys):
    """Run the console command in this process; give exit code, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["argus", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def some_niivue(monkeypatch, tmp_path_factory) -> Path:
    """A file in niivue's place, for servers of pages that no browser opens."""
    script = tmp_path_factory.mktemp("niivue") / "niivue.js"
    script.write_text("export const Niivue = null;\n")
    monkeypatch.setattr(niivue_file, "SCRIPT", script)
    return script


@pytest.fixture
def make_runs(tmp_path) -> Callable[..., Path]:
    """Write evaluation folders with given reports and the runs file that names them; return the runs file."""

    def make(reports: dict[tuple[str, str, str], dict[str, tuple[str, str]]], split: str = "test") -> Path:
        """`reports` gives, by (system, resolution, subset), scan id -> (prediction, reference)."""
        entries = []
        for number, ((system, resolution, subset), lines) in enumerate(reports.items()):
            folder = tmp_path / f"run{number}"
            folder.mkdir()
            rows = [
                {"scan_id": scan, "prediction": told, "reference": true, "num_tokens": 1, "truncated": False}
                for scan, (told, true) in lines.items()
            ]
            (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            settings = {"subset": subset, "split": split, "model_hash": f"{number:064d}", "image": "scan"}
            (folder / "predictions.jsonl.settings.json").write_text(json.dumps(settings))
            entries.append({"system": system, "resolution": resolution, "folder": folder.name})
        path = tmp_path / "runs.yaml"
        path.write_text(yaml.safe_dump({"runs": entries}))
        return path

    return make


@pytest.fixture(scope="session")
def serving():
    """Serve a web application in this process, as the commands do; give its address."""

    @contextmanager
    def serve(app) -> Iterator[str]:
        listener = open_listener("127.0.0.1", 0)
        server = build_server(app)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

    return serve


@pytest.fixture
def local_hub(serving, monkeypatch, tmp_path) -> Iterator[LocalHub]:
    """A Hub on this machine with a token that may write there, to which the client of this process speaks."""
    hub = LocalHub()
    with serving(hub.app()) as address:
        hub.address = address
        settings = {
            "ENDPOINT": address,
            "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(tmp_path / "hub-cache"),
        }
        for name, value in settings.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        for name, value in {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": False, "USE_PARQUET_EXPORT": False}.items():
            monkeypatch.setattr(datasets.config, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield hub


@pytest.fixture
def hub_environment(local_hub, tmp_path) -> dict[str, str]:
    """The environment of another process that speaks to the local Hub, with a cache of its own."""
    own = {"HF_ENDPOINT": local_hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "other-home")}
    switches = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return os.environ | own | switches | {"OMP_NUM_THREADS": "1"}
