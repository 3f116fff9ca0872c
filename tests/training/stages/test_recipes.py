"""The six presets' recipes against the paper, and the launch configurations against the parsers that read them."""

from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from trl import SFTConfig, TrlParser

from argus_training.stages.recipe import RecipeArguments, accumulation_steps, stage_config

TRAINING = Path(__file__).parents[3] / "training"
CONFIGS = TRAINING / "accelerate_configs"


def parsed(name: str) -> tuple[RecipeArguments, SFTConfig]:
    arguments = ["--config", str(TRAINING / "recipes" / f"{name}.yaml"), "--bf16", "false", "--use_cpu", "true"]
    return TrlParser((RecipeArguments, SFTConfig)).parse_args_and_config(arguments)


@pytest.mark.parametrize("size", ["3b", "8b", "70b"])
@pytest.mark.parametrize("resolution", ["nr", "hr"])
def test_a_presets_recipe_is_the_papers(size, resolution):
    recipe, config = parsed(f"argus_{size}_{resolution}")
    assert recipe.model_name_or_path == f"models/argus-{size}-{resolution}"
    assert (recipe.global_batch_size, recipe.max_text_tokens) == (16, 1024)
    assert (config.num_train_epochs, config.lr_scheduler_type, config.weight_decay) == (1, "linear", 0.0)
    assert config.optim == "adamw_torch" and config.get_warmup_steps(1000) == 50
    assert recipe.stage1 == {"trainable_parts": ["connector"], "learning_rate": 1e-4}
    assert recipe.stage2 == {"trainable_parts": ["vision", "connector", "llm"], "learning_rate": 1e-6}
    adapters = (recipe.use_peft, recipe.lora_r, recipe.lora_alpha, recipe.lora_dropout)
    assert adapters == (size == "70b", 128, 64, 0.1)
    assert stage_config(config, recipe.stage2, "x").learning_rate == 1e-6


@pytest.mark.parametrize("size", ["3b", "8b", "70b"])
@pytest.mark.parametrize(("resolution", "tower"), [("nr", "mae_flip"), ("hr", "mae_flip_hr")])
def test_a_presets_recipe_names_the_pretrained_tower_it_needs(size, resolution, tower):
    text = (TRAINING / "recipes" / f"argus_{size}_{resolution}.yaml").read_text()
    assert f"argus create argus-{size}-{resolution} models/" in text and f"--vision runs/pretrain/{tower}/model" in text
    pretraining = (TRAINING / "recipes" / "pretrain" / f"{tower}.yaml").read_text()
    assert f"output_dir: runs/pretrain/{tower}\n" in pretraining and "objective: flip" in pretraining


@pytest.mark.parametrize("path", sorted((TRAINING / "recipes").glob("argus_*.yaml")), ids=lambda path: path.stem)
def test_a_presets_recipe_trains_in_bfloat16(path):
    assert "\nbf16: true\n" in path.read_text()


def test_batches_are_accumulated_to_the_global_one():
    config = SFTConfig(output_dir="x", per_device_train_batch_size=2, use_cpu=True, bf16=False)
    assert accumulation_steps(16, config) == 8
    with pytest.raises(ValueError, match="no multiple"):
        accumulation_steps(15, config)


def test_four_bits_without_adapters_are_refused():
    with pytest.raises(ValueError, match="use_peft"):
        RecipeArguments(model_name_or_path="m", load_in_4bit=True)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_each_configuration(path, monkeypatch):
    monkeypatch.chdir(TRAINING.parent)
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", str(path), "sft.py"]))
    assert args.use_fsdp == (path.stem == "fsdp2")
    assert args.use_deepspeed == path.stem.startswith("zero")
    if args.use_deepspeed:
        assert Path(args.deepspeed_config_file).is_file()
