"""Train the parts of a model with learning rates of their own, or with rates that fall from epoch to epoch."""

from collections.abc import Sized
from dataclasses import dataclass, field
from math import ceil
from typing import Any, cast

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from argus_training.labelled_loss import LabelledLossTrainer

from .recipe import TRAINABLE_PARTS
from .sharded_weights import model_of


@dataclass(frozen=True)
class LearningRates:
    """Rates of a stage beside those of the trainer's own settings.

    Attributes:
        by_part: part of the model -> its learning rate; the others have the trainer's.
        epoch_decay: factor on all rates after each epoch, in place of the trainer's schedule. Default: that schedule.
    """

    by_part: dict[str, float] = field(default_factory=dict)
    epoch_decay: float | None = None


def stage_rates(settings: dict[str, Any]) -> LearningRates:
    """Return the rates that a stage's settings name."""
    return LearningRates(settings.get("learning_rates", {}), settings.get("epoch_decay"))


class RatesTrainer(LabelledLossTrainer):
    """TRL's trainer with the learning rates of a stage."""

    lr_scheduler: LRScheduler | None

    def __init__(self, *args: Any, rates: LearningRates, **kwargs: Any):
        self.rates = rates
        super().__init__(*args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Make the trainer's optimizer, with a group of parameters for every part that has a rate of its own."""
        optimizer = super().create_optimizer(*args, **kwargs)
        if not self.rates.by_part:
            return optimizer
        given = [model for model in (*args, *kwargs.values()) if model is not None]
        model = given[0] if given else model_of(self)
        part_of = {id(weight): self._part_of(name) for name, weight in model.named_parameters()}
        groups = []
        for group in optimizer.param_groups:
            by_part: dict[str | None, list[torch.Tensor]] = {}
            for weight in group["params"]:
                by_part.setdefault(part_of[id(weight)], []).append(weight)
            for part, weights in by_part.items():
                own = {} if part is None else {"lr": self.rates.by_part[part]}
                groups.append(group | {"params": weights} | own)
        optimizer.param_groups[:] = groups
        return optimizer

    def _part_of(self, name: str) -> str | None:
        """Return the part with a rate of its own that a parameter belongs to; adapters lengthen its name."""
        for part in self.rates.by_part:
            if any(f"{module}." in name for module in TRAINABLE_PARTS[part]):
                return part
        return None

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """Make the trainer's schedule, or the one that multiplies the rates after each epoch."""
        decay = self.rates.epoch_decay
        if decay is None or self.lr_scheduler is not None:
            return super().create_scheduler(num_training_steps, optimizer)
        scans_a_step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        steps_an_epoch = ceil(len(cast(Sized, self.train_dataset)) / scans_a_step)
        used = cast(torch.optim.Optimizer, optimizer or self.optimizer)
        self.lr_scheduler = LambdaLR(used, lambda step: decay ** (step // steps_an_epoch))
        return self.lr_scheduler
