import json
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING, BitsAndBytesConfig, GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from argus_processing import ArgusImageProcessor
from argus_processing.saved_models.config_limits import check_values
from argus_processing.saved_models.known_settings import IMAGE_PROCESSOR
from argus_processing.storage.foreign_files import ForeignFileError
from argus_processing.tower_preprocessing import TOWER_SETTINGS
from modeling_argus import PRESETS, TOWERS, preset_config


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tower", TOWERS)
def test_every_preset_is_within_the_limits(preset, tower):
    config = preset_config(preset, tower)
    check_values(Path("config.json"), json.loads(config.to_json_string()))
    settings = json.loads(
        ArgusImageProcessor(**TOWER_SETTINGS[tower](config.vision_config.image_size)).to_json_string()
    )
    assert settings.keys() >= IMAGE_PROCESSOR.keys()
    check_values(Path("preprocessor_config.json"), settings)
    check_values(Path("processor_config.json"), {"image_processor": settings, "num_image_tokens": 8})


@pytest.mark.parametrize(
    "name", ["llama", "qwen2", "qwen3", "mistral", "gemma3_text", "phi3", "gpt2", "mixtral", "bert"]
)
def test_configurations_written_by_transformers_are_within_them(name):
    assert name == "bert" or name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    check_values(Path("config.json"), json.loads(CONFIG_MAPPING[name]().to_json_string(use_diff=False)))
    generation = GenerationConfig.from_model_config(CONFIG_MAPPING[name]())
    check_values(Path("generation_config.json"), json.loads(generation.to_json_string(use_diff=False)))


# As they stand beside published decoders.
PUBLISHED = {
    "llama 1": {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": -1},
    "llama 3": {"eos_token_id": [128001, 128008, 128009], "do_sample": True, "temperature": 0.6, "top_p": 0.9},
    "qwen 1": {"chat_format": "chatml", "max_window_size": 6144, "eos_token_id": 151643, "top_k": 0},
    "qwen 2": {"repetition_penalty": 1.05, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "eos_token_id": [151645]},
    "gemma 2": {"cache_implementation": "hybrid", "eos_token_id": 1, "pad_token_id": 0},
    "phi": {"max_length": 4096, "eos_token_id": 50256, "transformers_version": "4.37.0"},
    "of older libraries": {"num_beam_groups": 1, "diversity_penalty": 0.0, "guidance_scale": 1, "penalty_alpha": 0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_generation_settings_are_within_them(name):
    check_values(Path("generation_config.json"), PUBLISHED[name])


def test_every_setting_of_generation_is_known():
    check_values(Path("generation_config.json"), json.loads(GenerationConfig().to_json_string(use_diff=False)))
    # What a release brings is refused where it is set, until it is looked at.
    with pytest.raises(ForeignFileError, match="prefill_chunk_size must be left out, got 4"):
        check_values(Path("generation_config.json"), {"prefill_chunk_size": 4})


@pytest.mark.parametrize("bits", [8, 4])
def test_what_bitsandbytes_writes_is_within_them(bits):
    config = BitsAndBytesConfig(load_in_8bit=bits == 8, load_in_4bit=bits == 4, llm_int8_skip_modules=["lm_head"])
    check_values(Path("config.json"), {"quantization_config": json.loads(config.to_json_string(use_diff=False))})


def test_a_message_never_holds_what_it_is_about():
    long = "x" * 1_000_000
    for content in (
        {"top_k": long},
        {"top_k": [1] * 4000},
        {f"_{long}\n": 1},
        {"top_k": 10**4000},
        {"top_k": "\x1b[2J"},
    ):
        with pytest.raises(ForeignFileError) as error:
            check_values(Path("generation_config.json"), content)
        assert len(str(error.value)) < 250 and str(error.value).isprintable()
