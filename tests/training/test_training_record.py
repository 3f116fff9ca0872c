"""The record of a training: the same recipe on the same data has the same one on every machine."""

import json
from types import SimpleNamespace

import datasets
import pytest
from transformers import TrainingArguments
from trl import SFTConfig

from argus_processing.saved_models.provenance import PATIENTS, PHANTOMS, UNKNOWN, TrainedSubset
from argus_processing.storage.file_hash import hash_file
from argus_training import training_record
from argus_training.stages.recipe import RecipeArguments
from argus_training.training_record import SECONDS_FILE, TrainingClock, data_of, hardware_of, recipe_hash, versions


def config_for(folder, kind=SFTConfig, **settings):
    common = {"use_cpu": True, "bf16": False, "report_to": "none", "per_device_train_batch_size": 4}
    return kind(output_dir=str(folder), **common | settings)


def hash_of(folder, recipe=None, **settings) -> str:
    recipe = recipe or RecipeArguments(model_name_or_path=str(folder / "model"))
    return recipe_hash(recipe.deciding_settings("1"), config_for(folder, **settings))


def test_a_recipes_hash_is_the_same_wherever_and_however_it_runs(tmp_path):
    expected = hash_of(tmp_path / "a")
    elsewhere = RecipeArguments(
        model_name_or_path="other/model",
        subset_options={"cache_dir": "/somewhere"},
        volume_cache="cache",
        stage="1",
        stage2={"trainable_parts": ["llm"]},
    )
    assert hash_of(tmp_path / "b", elsewhere) == expected
    for same in (
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
        {"logging_steps": 3, "save_steps": 7, "eval_strategy": "epoch", "dataloader_num_workers": 2},
        {"run_name": "mine", "disable_tqdm": True, "gradient_checkpointing": False, "seed": 42},
    ):
        assert hash_of(tmp_path / "a", **same) == expected, same


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 7},
        {"learning_rate": 3e-4},
        {"num_train_epochs": 2},
        {"per_device_train_batch_size": 8},
        {"max_length": 99},
        {"lr_scheduler_type": "cosine"},
        {"dataloader_drop_last": True},
        {"pad_token": "<pad>"},
    ],
)
def test_a_setting_that_decides_weights_changes_the_hash(tmp_path, changed):
    assert hash_of(tmp_path, **changed) != hash_of(tmp_path)


def test_a_stages_own_settings_change_its_hash(tmp_path):
    other = RecipeArguments(model_name_or_path="m", stage1={"trainable_parts": ["connector", "vision"]})
    half = RecipeArguments(model_name_or_path="m", train_share=0.5)
    assert len({hash_of(tmp_path), hash_of(tmp_path, other), hash_of(tmp_path, half)}) == 3


def test_phantoms_are_identified_by_their_settings_and_not_by_their_folder():
    train = datasets.Dataset.from_dict({"scan_id": ["a", "b", "c"]})
    first, second = (data_of("phantom", {"num_train": 3, "cache_dir": place}, train) for place in ("a", "b"))
    assert first == second and first.subsets == (TrainedSubset("phantom", 3, PHANTOMS),)
    assert data_of("phantom", {"num_train": 3, "seed": 1}, train).sha256 != first.sha256
    assert data_of("phantom", {"num_train": 3, "labels": ["Emphysema"]}, train).sha256 != first.sha256
    spaced = [data_of("phantom", {"spacing_mm": kind([5.0, 3.0, 3.0])}, train).sha256 for kind in (list, tuple)]
    assert spaced[0] == spaced[1] != first.sha256


@pytest.mark.parametrize(
    ("phantoms", "kinds"),
    [(["inspect"], (PATIENTS, PHANTOMS)), ([], (PATIENTS, PATIENTS)), (None, (UNKNOWN, UNKNOWN))],
)
def test_a_prepared_folder_tells_counts_and_which_sources_are_phantoms(tmp_path, phantoms, kinds):
    manifest = {"counts": {"ct-rate": {}, "inspect": {}}} | ({} if phantoms is None else {"phantoms": phantoms})
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    train = datasets.Dataset.from_dict({"source": ["inspect", "ct-rate", "ct-rate"]})
    data = data_of("all", {"data_dir": str(tmp_path)}, train)
    assert data.subsets == (TrainedSubset("ct-rate", 2, kinds[0]), TrainedSubset("inspect", 1, kinds[1]))
    assert data.sha256 == hash_file(tmp_path / "manifest.json")


def test_seconds_go_on_from_the_checkpoint(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(training_record.time, "monotonic", lambda: now[0])
    args = SimpleNamespace(output_dir=str(tmp_path))
    state = SimpleNamespace(global_step=4, is_world_process_zero=True)
    checkpoint = tmp_path / "checkpoint-4"
    checkpoint.mkdir()
    first = TrainingClock()
    first.on_train_begin(args, state, None)
    now[0] += 30
    first.on_save(args, state, None)
    now[0] += 500  # lost: the run was killed after its checkpoint
    second = TrainingClock(checkpoint)
    second.on_train_begin(args, state, None)
    now[0] += 12
    assert second.seconds == 42.0
    (checkpoint / SECONDS_FILE).unlink()
    unknown = TrainingClock(checkpoint)
    unknown.on_train_begin(args, state, None)
    unknown.on_save(args, state, None)
    assert unknown.seconds is None and not (checkpoint / SECONDS_FILE).exists()


def test_machine_and_libraries_are_told_without_a_name_of_the_host(tmp_path):
    assert hardware_of(config_for(tmp_path, TrainingArguments)).startswith("1 x cpu ")
    assert {"argus-ct", "torch", "transformers", "trl"} <= set(versions())
