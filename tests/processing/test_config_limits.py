import json
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from argus_processing.config_limits import check_values
from modeling_argus import PRESETS, TOWERS, preset_config


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tower", TOWERS)
def test_every_preset_is_within_the_limits(preset, tower):
    check_values(Path("config.json"), json.loads(preset_config(preset, tower).to_json_string()))


@pytest.mark.parametrize(
    "name", ["llama", "qwen2", "qwen3", "mistral", "gemma3_text", "phi3", "gpt2", "mixtral", "bert"]
)
def test_the_configurations_that_transformers_itself_writes_are_within_them(name):
    assert name == "bert" or name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    check_values(Path("config.json"), json.loads(CONFIG_MAPPING[name]().to_json_string(use_diff=False)))
