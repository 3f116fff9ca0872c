"""Two processes give what one gives; what they save is whole; a killed run goes on as if it had not been."""

import json
import random
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parent))
import two_processes


def said(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_ddp_and_fsdp2_give_the_losses_of_one_process(train_together):
    alone = said(train_together("ddp", 1, 20)[0])["losses"]
    assert len(alone) == 20
    for strategy, kind in (("ddp", "MULTI_CPU"), ("fsdp2", "FSDP")):
        together = said(train_together(strategy, 2, 20)[0])
        assert together["type"] == kind
        assert together["losses"] == pytest.approx(alone, abs=1e-4)


def test_adapters_trained_in_shards_are_merged_whole(train_together):
    folder, _ = train_together("fsdp2", 2, 2, **two_processes.ADAPTERS)
    two_processes.check_merged(folder)


def test_two_processes_say_once_how_many_scans_both_sent_through_the_tower(train_together, tmp_path):
    parts = {"trainable_parts": ["connector"], "learning_rate": 1e-3}
    out, codes = train_together("ddp", 2, 1, stage2=parts, feature_cache=str(tmp_path / "features"))
    assert codes == [0, 0] and (out / "model" / "config.json").exists()
    lines = [line for log in tmp_path.glob("meeting*.log") for line in log.read_text().splitlines()]
    told = [line for line in lines if "through the vision tower" in line]
    assert len(told) == 1 and f" stage 2: {two_processes.SUBSET['num_train']} scans " in told[0]
    assert len([line for line in lines if "step 1/1: loss " in line]) == 1


def test_a_run_killed_on_one_of_two_processes_goes_on_to_the_same_weights(train_together, tmp_path):
    whole, _ = train_together("ddp", 2, 4, save="steps")
    expected = load_file(whole / "model" / "model.safetensors")
    whole.parent.rename(tmp_path / "whole")
    killed, codes = train_together("ddp", 2, 4, kill_at=random.Random(0).randint(2, 3), save="steps")
    assert codes[-1] == -9 and not (killed / "model").exists()
    resumed, _ = train_together("ddp", 2, 4, save="steps")
    actual = load_file(resumed / "model" / "model.safetensors")
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
