import pytest
from transformers import AutoModelForImageTextToText
from trl import SFTConfig

from argus_training.stages.recipe import RecipeArguments, set_trainable, stage_config


def trained_names(model) -> set[str]:
    return {name.split(".")[1] if "." in name else name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("parts", "modules"),
    [
        (["connector"], {"connector"}),
        (["vision", "connector"], {"vision_tower", "connector"}),
        (["vision", "connector", "llm"], {"vision_tower", "connector", "language_model"}),
    ],
)
def test_only_the_named_parts_train(model_dir, parts, modules):
    model = AutoModelForImageTextToText.from_pretrained(model_dir)
    count = set_trainable(model, parts)
    assert trained_names(model) == modules
    assert count == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_stages_settings_win_over_the_common_ones(tmp_path):
    common = SFTConfig(output_dir="x", learning_rate=1.0, num_train_epochs=3, use_cpu=True, bf16=False)
    own = stage_config(common, {"learning_rate": 0.5, "trainable_parts": ["connector"]}, str(tmp_path))
    assert (own.learning_rate, own.num_train_epochs, own.output_dir) == (0.5, 3, str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stage": "3"}, "stage is 1, 2 or both"),
        ({"train_count": 0}, "train_count is at least 1"),
        ({"train_count": 3, "train_share": 0.5}, "takes the place of train_share"),
        ({"stage1": {"trainable_parts": ["conector"]}}, "conector"),
        ({"stage2": {}}, "trainable_parts"),
        ({"stage2": {"trainable_parts": ["llm"], "learning_rat": 1}}, "learning_rat"),
    ],
)
def test_a_misspelt_recipe_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        RecipeArguments(model_name_or_path="m", **changes)
