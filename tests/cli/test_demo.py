"""The demo is one cell of an ablation: its plan, and the folders that it refuses."""

import pytest

from argus_cli.demo import MODEL, RECIPE, claim
from argus_training.ablations.ablation_grid import overlay, read_base
from argus_training.ablations.ablation_steps import last_step

SETTINGS = read_base(RECIPE).recipe


def test_the_recipe_trains_language_tower_and_both_stages_with_one_seed():
    steps = last_step(SETTINGS, 0).with_needs()
    assert [step.kind for step in steps] == ["language", "vision", "create", "sft", "sft"]
    assert [step.settings.get("stage") for step in steps] == [None, None, None, "1", "2"]
    assert {step.settings["seed"] for step in steps} == {0}
    assert steps[2].settings["dtype"] == "float32"


def test_a_seed_changes_every_training_and_none_is_shared_with_another():
    steps = [last_step(SETTINGS, seed, shared_seed=seed).with_needs() for seed in (0, 1)]
    assert {step.settings["seed"] for step in steps[1]} == {1}
    assert not {step.name for step in steps[0]} & {step.name for step in steps[1]}
    assert [step.name for step in steps[0]] == [step.name for step in last_step(SETTINGS, 0).with_needs()]


def test_a_folder_of_other_settings_is_refused_for_any_step(tmp_path):
    claim(SETTINGS, 0, tmp_path)
    claim(SETTINGS, 0, tmp_path)
    for change in ({"objectives": {"labels": {"warmup_steps": 1}}}, {"sft": {"stage2": {"warmup_steps": 1}}}):
        with pytest.raises(ValueError, match=f"other settings .{next(iter(change))}"):
            claim(overlay(SETTINGS, change), 0, tmp_path)
    with pytest.raises(ValueError, match="other settings .seed None, not 1"):
        claim(SETTINGS, 1, tmp_path)


def test_a_folder_with_another_model_is_refused_before_anything_is_trained(argus, tmp_path):
    (tmp_path / MODEL).mkdir()
    code, out, err = argus("demo", tmp_path)
    assert (code, out) == (2, "")
    told = "holds a model argus-tiny of unknown settings; remove it or choose another folder"
    assert err == f"argus: {tmp_path}: {told}\n"
    assert [path.name for path in tmp_path.iterdir()] == [MODEL]
