import pytest
from transformers import TrainingArguments
from trl import SFTConfig

from argus_processing.publishing.hub_repository import Destination
from argus_training import pretrain
from argus_training.stages.recipe import RecipeArguments
from argus_training.stages.run_upload import HubArguments, upload_destination, without_upload


@pytest.fixture
def config_with(tmp_path):
    def make(**settings) -> SFTConfig:
        return SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", **settings)

    return make


@pytest.mark.parametrize(
    ("settings", "to"),
    [
        ({}, Destination("lab/a", tag="v1")),
        ({"hub_private_repo": False}, Destination("lab/a", public=True, tag="v1")),
        ({"hub_private_repo": True}, Destination("lab/a", tag="v1")),
        ({"hub_revision": "trial", "hub_token": "t"}, Destination("lab/a", revision="trial", tag="v1", token="t")),
    ],
)
def test_the_trainers_settings_name_the_one_upload(config_with, settings, to):
    config = config_with(push_to_hub=True, hub_model_id="lab/a", **settings)
    assert upload_destination(config, HubArguments(hub_tag="v1")) == to
    assert "'t'" not in repr(to)


def test_a_run_uploads_nothing_unless_it_is_asked(config_with):
    assert upload_destination(config_with(), HubArguments()) is None


def test_the_trainer_itself_uploads_nothing_and_knows_no_token(config_with):
    asked = config_with(push_to_hub=True, hub_model_id="lab/a", hub_token="secret", hub_private_repo=False)
    assert without_upload(asked).to_dict() == config_with().to_dict()
    assert without_upload(asked).hub_token is None


@pytest.mark.parametrize(
    ("settings", "hub", "said"),
    [
        ({"push_to_hub": True}, {}, "needs hub_model_id"),
        ({"push_to_hub": True, "hub_model_id": "lab/a", "hub_strategy": "all_checkpoints"}, {}, "hub_strategy"),
        ({}, {"hub_tag": "v1"}, "push_to_hub: true"),
        ({}, {"hub_stages": True}, "push_to_hub: true"),
    ],
)
def test_settings_that_ask_for_other_uploads_are_refused(config_with, settings, hub, said):
    with pytest.raises(ValueError, match=said):
        upload_destination(config_with(**settings), HubArguments(**hub))


@pytest.mark.parametrize("name", ["push_to_hub", "hub_model_id"])
def test_an_upload_is_no_setting_of_a_stage(name):
    with pytest.raises(ValueError, match=f"stage1: {name} is a setting of the whole run"):
        RecipeArguments(model_name_or_path="m", stage1={"trainable_parts": ["connector"], name: True})


def test_pretraining_uploads_nothing(tmp_path):
    config = TrainingArguments(output_dir=str(tmp_path / "run"), push_to_hub=True, use_cpu=True, report_to="none")
    with pytest.raises(ValueError, match="push_to_hub is for training/sft.py"):
        pretrain.pretrain(pretrain.PretrainArguments(preset="argus-tiny"), config)
    assert not (tmp_path / "run").exists()
