"""Supervised pretraining of the vision tower: which findings does a CT show, and on which side."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import ModelOutput

from modeling_argus import ArgusVisionModel

_SIDES = {"left": ("left",), "right": ("right",), "bilateral": ("left", "right")}


def targets_of(findings: Iterable[dict]) -> set[str]:
    """Name what is to be learned of a scan: each label, and each label with each of its sides."""
    names = set()
    for finding in findings:
        names.add(finding["label"])
        names.update(f"{finding['label']}, {side}" for side in _SIDES.get(finding["side"], ()))
    return names


def target_names(rows: Iterable[Iterable[dict]]) -> list[str]:
    """Name all targets that occur in the scans of a training split, in a fixed order."""
    return sorted(set().union(*(targets_of(findings) for findings in rows)))


def target_vector(findings: Iterable[dict], names: list[str]) -> torch.Tensor:
    """Return 1 for each named target a scan shows and 0 for the others, `(len(names),)` float32."""
    present = targets_of(findings)
    return torch.tensor([float(name in present) for name in names])


class LabelObjective(nn.Module):
    """Multi-label classification that reads every token at its own place in the chest.

    Averaging tokens would drown a finding of one patch in a whole chest; a weight for each place does not, and it
    leaves in each token what the language model later reads there.

    Args:
        vision_tower: the tower to train.
        num_targets: number of labels and sided labels.
        width: channels that each token is reduced to before the places are weighed.
    """

    def __init__(self, vision_tower: ArgusVisionModel, num_targets: int, width: int = 16):
        super().__init__()
        self.vision_tower = vision_tower
        self.reduce = nn.Linear(vision_tower.config.hidden_size, width)
        self.weigh = nn.Linear(width * vision_tower.config.num_tokens, num_targets)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> ModelOutput:
        """Score `(B, 1, D, H, W)` volumes; labels are `(B, num_targets)` of 0 and 1.

        Returns:
            `logits` `(B, num_targets)`, and `loss`, the mean binary cross-entropy, where labels are given.
        """
        tokens = self.vision_tower(pixel_values).last_hidden_state
        logits = self.weigh(self.reduce(tokens).flatten(1))
        if labels is None:
            return ModelOutput(logits=logits)
        return ModelOutput(loss=functional.binary_cross_entropy_with_logits(logits, labels), logits=logits)
