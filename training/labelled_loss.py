"""Compute TRL's loss on a CPU from the labelled tokens alone."""

from typing import Any, TypeGuard

import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional
from transformers import PreTrainedModel
from trl import SFTConfig, SFTTrainer


class LabelledLossTrainer(SFTTrainer):
    """TRL's trainer; on a CPU it computes logits for labelled tokens only.

    TRL does so on a GPU. Elsewhere it scores every token, twice, to log entropy and accuracy with the same loss: for a
    small language model that is a third of a step. The loss is the same up to rounding; no entropy is logged.
    """

    args: SFTConfig

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the summed cross-entropy of the labelled tokens over `num_items_in_batch`, by default their number."""
        # A wrapped model, such as one of several processes or with adapters, keeps TRL's way through its forward.
        if return_outputs or self.aux_loss_enabled or not can_skip(model, self.args.loss_type):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        others = {name: value for name, value in inputs.items() if name != "labels"}
        hidden_states = model.base_model(**others, use_cache=False).last_hidden_state[:, :-1]
        labels = inputs["labels"][:, 1:]
        is_labelled = labels != -100
        targets = labels[is_labelled]
        logits = model.get_output_embeddings()(hidden_states[is_labelled]).float()
        accuracy = (logits.detach().argmax(dim=-1) == targets).float().mean().item() if len(targets) else 0.0
        self._metrics["train"]["mean_token_accuracy"].append(accuracy)
        loss = functional.cross_entropy(logits, targets, reduction="sum")
        count = len(targets) if num_items_in_batch is None else num_items_in_batch
        return loss / torch.as_tensor(count).clamp(min=1)


def can_skip(model: torch.nn.Module, loss_type: str) -> TypeGuard[PreTrainedModel]:
    """Return whether a model is a plain one that trains on a CPU, by the negative log-likelihood.

    One that FSDP2 shards is still of its own class, but only its own forward gathers the weights.
    """
    is_plain = isinstance(model, PreTrainedModel) and not isinstance(model, FSDPModule)
    return is_plain and model.training and model.device.type == "cpu" and loss_type == "nll"
