"""Layers that get adapters, and parts that train in full beside them."""

import re

import pytest
from transformers import AutoModelForImageTextToText

from argus_training.stages.lora import adapter_config
from argus_training.stages.recipe import RecipeArguments

M3DS_PARTS = ["vision", "connector", "llm", "token_embeddings", "output_layer"]


@pytest.fixture
def model(model_dir):
    return AutoModelForImageTextToText.from_pretrained(model_dir)


def adapters(model, parts: list[str]):
    recipe = RecipeArguments(model_name_or_path="m", use_peft=True, lora_r=16, stage2={"trainable_parts": parts})
    return adapter_config(model, recipe, "2")


def test_adapters_are_on_the_language_models_linear_layers_alone(model):
    config = adapters(model, ["vision", "connector", "llm"])
    adapted = {name for name, _ in model.named_modules() if re.fullmatch(config.target_modules, name)}
    assert len(adapted) == 4 * 7 and all(name.startswith("model.language_model.layers.") for name in adapted)
    assert set(config.modules_to_save) == {"model.vision_tower", "model.connector"} and config.r == 16
    assert not config.ensure_weight_tying
    assert adapters(model, ["vision", "connector"]) is None


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_and_output_layer_train_in_full_and_stay_tied(model, tied):
    model.config.tie_word_embeddings = tied
    config = adapters(model, M3DS_PARTS)
    assert {"model.language_model.embed_tokens", "lm_head"} < set(config.modules_to_save)
    assert config.ensure_weight_tying == tied


def test_tied_embeddings_in_full_beside_adapters_are_refused_under_fsdp(model, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match=r"stage2: FSDP cannot train .*zero3_offload"):
        adapters(model, M3DS_PARTS)
    assert adapters(model, ["vision", "connector", "llm"]) is not None
