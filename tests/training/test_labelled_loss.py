"""The loss on a CPU is TRL's own, and so are its gradients; only what is logged beside it is less."""

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

from argus_training.labelled_loss import LabelledLossTrainer, can_skip
from argus_training.stages.report_examples import report_examples
from argus_training.stages.report_trainer import make_trainer


@pytest.fixture
def trainer(model_dir, phantoms, tmp_path) -> LabelledLossTrainer:
    model, processor = AutoModelForImageTextToText.from_pretrained(model_dir), AutoProcessor.from_pretrained(model_dir)
    config = SFTConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=3)
    return make_trainer(model, processor, config, {"train": report_examples(phantoms["train"])})


@pytest.mark.parametrize("num_items", [None, torch.tensor(7)])
def test_loss_gradients_and_accuracy_are_those_of_trl(trainer, num_items):
    inputs, model = next(iter(trainer.get_train_dataloader())), trainer.model.train()
    found = []
    for compute_loss in (trainer.compute_loss, super(LabelledLossTrainer, trainer).compute_loss):
        model.zero_grad()
        loss = compute_loss(model, dict(inputs), num_items_in_batch=num_items)
        loss.backward()
        gradients = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
        found.append((loss.detach(), gradients))
    (own, own_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(own, theirs)
    torch.testing.assert_close(own_gradients, their_gradients, atol=1e-5, rtol=1e-4)
    assert trainer._metrics["train"]["mean_token_accuracy"][0] == pytest.approx(
        trainer._metrics["train"]["mean_token_accuracy"][1]
    )


def test_a_batch_without_labels_has_a_loss_of_zero_with_gradients(trainer):
    inputs = next(iter(trainer.get_train_dataloader()))
    inputs["labels"] = torch.full_like(inputs["labels"], -100)
    loss = trainer.compute_loss(trainer.model.train(), inputs)
    loss.backward()
    assert loss == 0


def test_other_losses_wrapped_models_and_evaluation_keep_to_trl(trainer):
    model = trainer.model.train()
    assert isinstance(trainer, SFTTrainer) and can_skip(model, "nll")
    assert not can_skip(model, "dft")
    assert not can_skip(torch.nn.Sequential(model), "nll")
    assert not can_skip(model.eval(), "nll")
