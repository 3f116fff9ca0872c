"""Rates of single parts, and rates that fall from epoch to epoch, in the trainer that a stage uses."""

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig

from argus_training.stages.learning_rates import LearningRates, stage_rates
from argus_training.stages.recipe import RecipeArguments, set_trainable
from argus_training.stages.report_examples import report_examples
from argus_training.stages.report_trainer import make_trainer

PARTS = ["vision", "connector", "llm"]


@pytest.fixture
def trainer_with(model_dir, phantoms, tmp_path):
    def make(rates: LearningRates | None, parts: list[str] = PARTS, **settings):
        model = AutoModelForImageTextToText.from_pretrained(model_dir)
        set_trainable(model, parts)
        settings = {"learning_rate": 1e-6, "weight_decay": 0.1, "use_cpu": True, "bf16": False} | settings
        config = SFTConfig(output_dir=str(tmp_path), report_to="none", disable_tqdm=True, max_length=300, **settings)
        examples = {"train": report_examples(phantoms["train"])}
        return make_trainer(model, AutoProcessor.from_pretrained(model_dir), config, examples, rates=rates)

    return make


def rates_of(trainer) -> dict[str, set[float]]:
    """Rates by the part that a parameter belongs to; every trained parameter must be in one group."""
    names = {id(weight): name for name, weight in trainer.model.named_parameters()}
    found: dict[str, set[float]] = {}
    for group in trainer.create_optimizer().param_groups:
        for weight in group["params"]:
            found.setdefault(names.pop(id(weight)).split(".")[1], set()).add(group["lr"])
    assert not [name for name in names.values() if trainer.model.get_parameter(name).requires_grad]
    return found


def test_a_part_has_the_rate_that_is_named_for_it(trainer_with):
    trainer = trainer_with(LearningRates({"vision": 5e-5, "connector": 1e-4}))
    assert rates_of(trainer) == {"vision_tower": {5e-5}, "connector": {1e-4}, "language_model": {1e-6}}
    # Norms and biases are still without weight decay, in every part.
    decays = {(group["lr"], group["weight_decay"]) for group in trainer.optimizer.param_groups}
    assert decays == {(rate, decay) for rate in (5e-5, 1e-4, 1e-6) for decay in (0.0, 0.1)}


def test_without_rates_of_parts_the_groups_are_the_trainers(trainer_with):
    trainer = trainer_with(None, parts=["connector"])
    assert rates_of(trainer) == {"connector": {1e-6}} and len(trainer.optimizer.param_groups) == 2


def test_all_rates_fall_by_the_factor_after_each_epoch(trainer_with):
    # Three scans, two at a time: an epoch has two steps.
    trainer = trainer_with(LearningRates({"connector": 1e-4}, 0.8), per_device_train_batch_size=2, max_steps=6)
    trainer.create_optimizer_and_scheduler(6)
    seen = []
    for _ in range(6):
        seen.append(max(group["lr"] for group in trainer.optimizer.param_groups))
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    assert seen == pytest.approx([1e-4, 1e-4, 0.8e-4, 0.8e-4, 0.64e-4, 0.64e-4])


def test_a_stages_settings_name_its_rates():
    assert stage_rates({"trainable_parts": PARTS, "learning_rate": 1e-6}) == LearningRates({}, None)
    assert stage_rates({"learning_rates": {"vision": 1e-4}, "epoch_decay": 0.8}) == LearningRates({"vision": 1e-4}, 0.8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"learning_rates": {"eyes": 1e-4}}, "learning_rates names 'eyes'"),
        ({"learning_rates": {"llm": 1e-4}}, "learning_rates names 'llm'"),
        ({"learning_rates": {"vision": 0}}, "above 0"),
        ({"epoch_decay": 1.5}, "epoch_decay"),
    ],
)
def test_rates_of_untrained_parts_and_other_numbers_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        RecipeArguments(model_name_or_path="m", stage2={"trainable_parts": ["vision", "connector"]} | wrong)
