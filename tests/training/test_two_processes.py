"""Two processes give what one gives; what they save is whole; a killed run goes on as if it had not been."""

import importlib.util
import itertools
import json
import random
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

sys.path.append(str(Path(__file__).parent))
import two_processes

ADAPTERS = {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0}
NO_DEEPSPEED = "DeepSpeed is not installed: pip install -e '.[deepspeed]'"


@pytest.fixture
def run(model_dir, tmp_path, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "two-processes-data"

    meetings = itertools.count()

    def start(strategy, world, max_steps, kill_at=None, save="no", **changes):
        recipe = {
            "model_name_or_path": str(model_dir),
            "subset_options": two_processes.SUBSET | {"cache_dir": str(cache)},
            "stage": "2",
            "stage2": {"trainable_parts": ["vision", "connector", "llm"], "learning_rate": 1e-3},
            "global_batch_size": 2,
        } | changes
        out = tmp_path / f"{strategy}-{world}-{save}-{bool(changes)}"
        config = {"output_dir": str(out), "per_device_train_batch_size": 2 // world, "max_steps": max_steps}
        config |= {"save_strategy": save, "save_steps": 1, "logging_steps": 1, "use_cpu": strategy == "ddp"}
        config |= {"bf16": False, "gradient_checkpointing": False, "report_to": "none", "disable_tqdm": True}
        # A file of its own for every run: processes that find an old one wait for partners that are gone.
        meeting = tmp_path / f"meeting{next(meetings)}"
        codes = two_processes.run(strategy, world, meeting, recipe, config | {"seed": 0}, kill_at)
        return out / "stage2", codes

    return start


def said(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_ddp_and_fsdp2_give_the_losses_of_one_process(run):
    alone = said(run("ddp", 1, 20)[0])["losses"]
    assert len(alone) == 20
    for strategy, kind in (("ddp", "MULTI_CPU"), ("fsdp2", "FSDP")):
        together = said(run(strategy, 2, 20)[0])
        assert together["type"] == kind
        assert together["losses"] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("strategy", ["fsdp2", "zero3"])
def test_adapters_trained_in_shards_are_merged_whole(run, strategy):
    if strategy == "zero3" and importlib.util.find_spec("deepspeed") is None:
        pytest.skip(NO_DEEPSPEED)
    folder, _ = run(strategy, 2, 2, **ADAPTERS)
    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32)
    assert all(parameter.numel() for parameter in model.parameters())
    expected = load_file(folder / "logits.safetensors")["logits"]
    torch.testing.assert_close(two_processes.logits_of(model), expected, atol=1e-4, rtol=1e-4)
    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert {name.split(".")[3] for name in adapter} == {"vision_tower", "connector", "language_model"}
    assert all(tensor.numel() for tensor in adapter.values())


def test_two_processes_say_once_how_many_scans_both_sent_through_the_tower(run, tmp_path):
    parts = {"trainable_parts": ["connector"], "learning_rate": 1e-3}
    out, codes = run("ddp", 2, 1, stage2=parts, feature_cache=str(tmp_path / "features"))
    assert codes == [0, 0] and (out / "model" / "config.json").exists()
    lines = [line for log in tmp_path.glob("meeting*.log") for line in log.read_text().splitlines()]
    told = [line for line in lines if "through the vision tower" in line]
    assert len(told) == 1 and f" stage 2: {two_processes.SUBSET['num_train']} scans " in told[0]
    assert len([line for line in lines if "step 1/1: loss " in line]) == 1


def test_a_run_killed_on_one_of_two_processes_goes_on_to_the_same_weights(run, tmp_path):
    whole, _ = run("ddp", 2, 4, save="steps")
    expected = load_file(whole / "model" / "model.safetensors")
    whole.parent.rename(tmp_path / "whole")
    killed, codes = run("ddp", 2, 4, kill_at=random.Random(0).randint(2, 3), save="steps")
    assert codes[-1] == -9 and not (killed / "model").exists()
    resumed, _ = run("ddp", 2, 4, save="steps")
    actual = load_file(resumed / "model" / "model.safetensors")
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
