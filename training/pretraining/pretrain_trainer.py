"""Pretrain with transformers' trainer, extended to pass the step to an objective, which draws its masks from it."""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from argus_training.stages.sharded_weights import model_of


class PretrainTrainer(Trainer):
    """Trainer of an objective's module; the loss is the mean over a batch, also on held-out scans."""

    def compute_loss(self, model: nn.Module, inputs: dict, *args, **kwargs) -> Any:
        """Compute the loss; add `step` and `progress` to the inputs if the objective takes them."""
        own = model_of(self)
        step = self.state.global_step + 1 if own.training else 0
        clock = {"step": step, "progress": self.state.global_step / max(self.state.max_steps, 1)}
        taken = inspect.signature(own.forward).parameters
        inputs = inputs | {name: value for name, value in clock.items() if name in taken}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def prediction_step(
        self, model: nn.Module, inputs: dict, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, None, None]:
        """Return only the loss. Overridden because transformers computes a loss only if there are labels."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach().mean(), None, None

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the parameters with weight decay; single vectors and numbers, such as a mask token, have none."""
        matrices = {name for name, parameter in model.named_parameters() if parameter.ndim > 1}
        return [name for name in super().get_decay_parameter_names(model) if name in matrices]
