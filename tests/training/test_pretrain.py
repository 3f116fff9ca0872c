import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, TrainingArguments

from argus_training.create import create_model
from argus_training.pretrain import PretrainArguments, pretrain

SUBSET = {"num_train": 4, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 12.0, 12.0]}


def config_for(output_dir, steps: int = 4) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(output_dir),
        per_device_train_batch_size=2,
        max_steps=steps,
        save_steps=2,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> PretrainArguments:
    cache = tmp_path_factory.mktemp("pretrain-data")
    return PretrainArguments(preset="argus-tiny", subset_options=SUBSET | {"cache_dir": str(cache)})


def test_the_pretrained_tower_is_a_folder_that_create_takes(recipe, tmp_path, model_dir):
    tower = pretrain(recipe, config_for(tmp_path / "vision"))
    assert type(AutoModel.from_pretrained(tower)).__name__ == "ArgusVisionModel"
    created = create_model(
        "argus-tiny", tmp_path / "model", llm=model_dir.parent / "llm", vision=tower, dtype="float32"
    )
    inside = load_file(created / "model.safetensors")
    for name, value in load_file(tower / "model.safetensors").items():
        assert torch.equal(inside[f"model.vision_tower.{name}"], value)


def test_pretraining_resumed_from_a_checkpoint_ends_with_the_same_weights(recipe, tmp_path):
    whole = load_file(pretrain(recipe, config_for(tmp_path / "whole")) / "model.safetensors")
    # The state of a run that was killed after its first checkpoint: that checkpoint and nothing later.
    stopped = tmp_path / "whole"
    for later in (stopped / "model" / "config.json", stopped / "checkpoint-4" / "trainer_state.json"):
        later.unlink()
    (stopped / "model").rename(stopped / "old")
    resumed = load_file(pretrain(recipe, config_for(stopped)) / "model.safetensors")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"none such.*labels"):
        PretrainArguments(preset="argus-tiny", objective="none such")
