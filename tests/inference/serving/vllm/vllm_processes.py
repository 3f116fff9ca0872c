"""vLLM in several processes writes what one process of transformers writes; `make test-vllm` runs this."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers_reports import MAX_TOKENS

WRITTEN = ("predictions.jsonl", "predictions_blank.jsonl", "reports.jsonl")
LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
WAYS = {
    "one process": ((), ()),
    "two processes": (LAUNCHER, ()),
    "a language model split over two": ((), ("--engine-option", "tensor_parallel_size=2")),
}


def evaluate(model: Path, out: Path, cache: Path, launcher: tuple[str, ...], *options: str) -> list[bytes]:
    """Run `argus evaluate` on eight phantoms; return the files that it writes."""
    command = [sys.executable, "-m", *launcher, "argus_cli", "evaluate", str(out), "--model", str(model)]
    command += ["--num-phantoms", "1", "1", "8", "--batch-size", "2", "--max-new-tokens", str(MAX_TOKENS), *options]
    environment = os.environ | {"HF_DATASETS_CACHE": str(cache)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr
    return [(out / name).read_bytes() for name in WRITTEN]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def by_transformers(model_folder, cache, tmp_path_factory) -> list[bytes]:
    return evaluate(model_folder, tmp_path_factory.mktemp("out") / "transformers", cache, ())


@pytest.mark.parametrize("way", WAYS)
def test_predictions_are_those_of_transformers_in_one_process(model_folder, cache, by_transformers, way, tmp_path):
    launcher, options = WAYS[way]
    engine = ("--engine", "vllm", "--engine-option", "enforce_eager=true")
    assert evaluate(model_folder, tmp_path / "out", cache, launcher, *engine, *options) == by_transformers
