"""The GPU bench's own code, on a CPU with the tiny presets."""

import json
import subprocess
import sys
import time
from pathlib import Path

import bench_gpu
import pytest
import torch
from bench_gpu import Part, run_bench
from gpu_bench.gpu_measurements import ALL_PARTS
from gpu_bench.gpu_models import loss_in_tiles, loss_of, make_batch, random_model
from gpu_bench.gpu_tables import part_names
from gpu_bench.gpu_timing import Effort

from argus_training.planning.flops import train_step_flops
from argus_training.stages.recipe import TRAINABLE_PARTS
from modeling_argus import TOWERS, preset_config

BENCH = Path(bench_gpu.__file__)
# What this project needs, and images made for computing do not hold.
HIDDEN = "bitsandbytes blosc2 datasets isal nibabel pydicom rapidfuzz rouge_score simplejpeg trl wordcloud".split()
WITHOUT = f"""
import sys, runpy
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {HIDDEN} else super().find_spec(name, path, target)

sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
sys.argv = sys.argv[1:]
sys.path.insert(0, {str(BENCH.parent)!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory, model_dir):
    out = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-c", WITHOUT, str(BENCH), str(out), "--tiny", "--model", str(model_dir)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((out / "gpu.json").read_text())


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_so_and_leaves(tmp_path):
    done = subprocess.run([sys.executable, str(BENCH), str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 2 and "needs a CUDA GPU" in done.stderr and not (tmp_path / "out").exists()


def test_an_image_for_computing_runs_every_part(results):
    assert results["absent"] == ["nibabel", "datasets"]
    assert {row["loss"] for row in results["training"]} == {"tiles of labelled tokens"}
    rows = [(name, row) for name in part_names() for row in results[name]]
    assert [row["error"] for _, row in rows if "error" in row] == [] and results["skipped"] == []
    assert {row["preset"] for row in results["training"]} == {"argus-tiny", "argus-tiny-hr"}
    assert {row["tower"] for row in results["towers"]} == {row["tower"] for row in results["writing"]} == set(TOWERS)


def test_what_it_computes_there_is_right(results):
    same, together = [row for row in results["parity"] if "float32" in row["dtype"]]
    assert same["model"] == "saved" and same["equal_tokens"] == same["tokens"] > 0
    assert together["equal_reports"] == together["scans"] == 8
    assert all(row["is_finite"] and row["seconds_per_sentence"] > 0 for row in results["evidence"])
    assert {row["recompute"] for row in results["evidence"]} == {False, True}
    differences = [value for row in results["resampling"] for name, value in row.items() if "difference" in name]
    assert len(differences) == 6 and max(differences) < 1e-5


def test_a_part_that_fails_is_a_row_and_not_the_end(tmp_path, monkeypatch):
    def failing():
        yield {"preset": "first"}
        raise torch.OutOfMemoryError("CUDA out of memory")

    parts = [
        Part("training", 1, failing, "a part"),
        Part("writing", 1e9, lambda: iter([{}]), "a long one"),
        Part("parity", 1, lambda: iter([{"preset": "last"}]), "another"),
    ]
    monkeypatch.setattr(bench_gpu, "parts_of", lambda *_: parts)
    run_bench(tmp_path, device="cpu", minutes=1)
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [row.get("error") for row in written["training"]] == [None, "out of memory: CUDA out of memory"]
    assert [row["about"] for row in written["skipped"]] == ["a long one"] and written["parity"][0]["preset"] == "last"


def test_rows_that_no_longer_fit_are_listed_as_skipped(tmp_path, monkeypatch):
    def rows():
        for number in range(9):
            time.sleep(0.05)
            yield {"preset": str(number)}

    monkeypatch.setattr(bench_gpu, "parts_of", lambda *_: [Part("training", 0.05, rows, "a part")])
    results = run_bench(tmp_path, device="cpu", minutes=0.3 / 60)
    assert len(results["training"]) < 9 and "all but the rows above" in results["skipped"][0]["about"]


def test_a_part_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such part: trainings; there are ceilings, training"):
        run_bench(tmp_path, device="cpu", only=["trainings"])


def test_loss_in_tiles_is_that_of_trl(monkeypatch):
    monkeypatch.setattr("gpu_bench.gpu_models.TILE_TOKENS", 4)
    config = preset_config("argus-tiny")
    model, batch = random_model(config, "cpu", lora=False), make_batch(config, 2, 5, "cpu")
    gradients = []
    for loss in (loss_of(model, batch), loss_in_tiles(model, batch)):
        loss.backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()] + [loss.detach()])
        model.zero_grad()
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_lora_trains_adapters_vision_and_connector():
    pytest.importorskip("peft")
    model = random_model(preset_config("argus-tiny"), "cpu", lora=True)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "vision_tower" in name or "connector" in name for name in trained)
    assert any("lora_" in name for name in trained) and any("vision_tower" in name for name in trained)
    assert {weight.dtype for weight in trained.values()} == {torch.float32}


def test_a_batch_has_all_visual_tokens_and_teaches_only_the_report():
    config = preset_config("argus-tiny")
    batch = make_batch(config, 2, 5, "cpu")
    assert (batch["input_ids"] == config.image_token_id).sum() == 2 * 8
    assert (batch["labels"] != -100).sum() == 2 * 5


def test_all_parts_are_those_of_a_recipe():
    assert set(TRAINABLE_PARTS) == ALL_PARTS and Effort().new_tokens == 130


@pytest.mark.parametrize(
    ("preset", "tera"), [("argus-3b-nr", 9.5), ("argus-3b-hr", 16.8), ("argus-8b-nr", 20.8), ("argus-8b-hr", 34.6)]
)
def test_a_step_costs_what_was_counted_elsewhere(preset, tera):
    assert train_step_flops(preset_config(preset), 190, 130, ALL_PARTS, False) / 1e12 == pytest.approx(tera, rel=0.1)
