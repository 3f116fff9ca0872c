"""The GPU bench's own code, on a CPU with the tiny preset."""

import json
import subprocess
import sys

import pytest
import torch
from bench_gpu import Effort, make_batch, run_bench

from argus_training.planning.flops import train_step_flops
from modeling_argus import TOWERS, preset_config


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_so_and_leaves(tmp_path):
    command = [sys.executable, str(sys.modules[make_batch.__module__].__file__), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "needs a CUDA GPU" in done.stderr and not (tmp_path / "out").exists()


def test_all_of_it_runs_on_the_tiny_preset(tmp_path, capsys):
    run_bench(
        tmp_path,
        device="cpu",
        training={"argus-tiny": False},
        inference=["argus-tiny"],
        batch_sizes=[2],
        effort=Effort(warmup=0, steps=1, new_tokens=4),
        grids={},
    )
    results = json.loads((tmp_path / "gpu.json").read_text())
    (trained,) = results["training"]
    assert trained["samples_per_second"] > 0 and trained["mfu"] is None and results["hardware"] == "cpu"
    assert [row["tower"] for row in results["inference"]] == list(TOWERS)
    assert all(row["report_seconds"] > 0 for row in results["inference"])
    assert (tmp_path / trained["profile"]).stat().st_size > 1000


def test_lora_trains_adapters_vision_and_connector(tmp_path):
    pytest.importorskip("peft")
    from bench_gpu import random_model

    model = random_model(preset_config("argus-tiny"), "cpu", lora=True)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "vision_tower" in name or "connector" in name for name in trained)
    assert any("lora_" in name for name in trained) and any("vision_tower" in name for name in trained)


def test_a_batch_has_all_visual_tokens_and_teaches_only_the_report():
    config = preset_config("argus-tiny")
    batch = make_batch(config, 2, 5, "cpu")
    assert (batch["input_ids"] == config.image_token_id).sum() == 2 * 8
    assert (batch["labels"] != -100).sum() == 2 * 5


@pytest.mark.parametrize(
    ("preset", "tera"), [("argus-3b-nr", 9.5), ("argus-3b-hr", 16.8), ("argus-8b-nr", 20.8), ("argus-8b-hr", 34.6)]
)
def test_a_step_costs_what_was_counted_elsewhere(preset, tera):
    assert train_step_flops(
        preset_config(preset), 190, 130, frozenset(("vision", "connector", "llm")), False
    ) / 1e12 == pytest.approx(tera, rel=0.1)
