"""Pretrain the vision tower with labels: classify the findings of a CT and their sides."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import ModelOutput

from argus_training.pretraining.objective import Objective, settings_from
from modeling_argus import ArgusVisionModel, pixel_shuffle_3d

_SIDES = {"left": ("left",), "right": ("right",), "bilateral": ("left", "right")}


def targets_of(findings: Iterable[dict]) -> set[str]:
    """Return the targets of a scan: each label alone, with each of its sides, and with side and place."""
    names = set()
    for finding in findings:
        label, place = finding["label"], finding["place"]
        sides = _SIDES.get(finding["side"], ())
        names.add(label)
        names.update(f"{label}, {side}" for side in sides)
        if place:
            names.update(f"{label}, {side}, {place}" for side in sides or ("",))
    return names


def target_names(rows: Iterable[Iterable[dict]]) -> list[str]:
    """Return all targets that occur in the scans of a training split, in a fixed order."""
    return sorted(set().union(*(targets_of(findings) for findings in rows)))


def target_vector(findings: Iterable[dict], names: list[str]) -> torch.Tensor:
    """Return `(len(names),)` float32: 1 for each target that a scan shows, 0 for the others."""
    present = targets_of(findings)
    return torch.tensor([float(name in present) for name in names])


@dataclass
class LabelSettings:
    """Settings of label pretraining.

    Attributes:
        place_width: channels that each token is reduced to before the weights of its place are applied.
        read_width: width that merged tokens are mapped to.
    """

    place_width: int = 16
    read_width: int = 128


class LabelObjective(nn.Module):
    """Multi-label classification, computed from the tokens in two ways whose losses are averaged.

    By place: every token has its own weights, so that a finding in one patch is not lost among all the others; this is
    learned first. Like the connector: tokens are merged by pixel shuffle, mapped with the same weights and averaged, so
    that findings can be read by a language model, whose attention is uniform at the start.

    Args:
        vision_tower: the tower to train; its token grid divides by 2.
        num_targets: number of labels, sided labels and placed labels.
        settings: the widths.
    """

    def __init__(self, vision_tower: ArgusVisionModel, num_targets: int, settings: LabelSettings | None = None):
        super().__init__()
        settings = settings or LabelSettings()
        self.vision_tower = vision_tower
        config = vision_tower.config
        self.reduce = nn.Linear(config.hidden_size, settings.place_width)
        self.weigh = nn.Linear(settings.place_width * config.num_tokens, num_targets)
        self.map = nn.Linear(config.hidden_size * 8, settings.read_width)
        self.read = nn.Linear(settings.read_width, num_targets)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> ModelOutput:
        """Score `(B, 1, D, H, W)` volumes; labels are `(B, num_targets)` of 0 and 1.

        Returns:
            `logits` `(B, num_targets)`, the mean of both readings, and where labels are given `loss`, the mean of
            their binary cross-entropies.
        """
        tokens = self.vision_tower(pixel_values).last_hidden_state
        by_place = self.weigh(self.reduce(tokens).flatten(1))
        merged = pixel_shuffle_3d(tokens, self.vision_tower.config.token_grid, 2)
        as_connector = self.read(functional.gelu(self.map(merged)).mean(dim=1))
        logits = (by_place + as_connector) / 2
        if labels is None:
            return ModelOutput(logits=logits)
        losses = [functional.binary_cross_entropy_with_logits(reading, labels) for reading in (by_place, as_connector)]
        return ModelOutput(loss=sum(losses) / len(losses), logits=logits)


def share_of_f1(predicted: torch.Tensor, true: torch.Tensor) -> float:
    """Return F1 over all entries of two boolean tensors, 0 if nothing is predicted and nothing is true."""
    hits = (predicted & true).sum().item()
    return 2 * hits / max(1, predicted.sum().item() + true.sum().item())


def measure(names: list[str]) -> Callable[[LabelObjective, Callable[[], Iterator[dict]], Path], dict[str, float]]:
    """Return a function that measures F1 of held-out labels, of labels with a side, and of those with a place."""
    parts = torch.tensor([min(name.count(","), 2) for name in names])

    @torch.no_grad()
    def show(module: LabelObjective, batches: Callable[[], Iterator[dict]], folder: Path) -> dict[str, float]:
        predicted, true = [], []
        for batch in batches():
            predicted.append(module(batch["pixel_values"]).logits.cpu() > 0)
            true.append(batch["labels"].cpu() > 0)
        predicted_all, true_all = torch.cat(predicted), torch.cat(true)
        by_part = {name: parts == number for number, name in enumerate(("label_f1", "sided_f1", "placed_f1"))}
        scores = {name: share_of_f1(predicted_all[:, own], true_all[:, own]) for name, own in by_part.items()}
        return {"num_scans": len(true_all)} | scores

    return show


def build(tower: ArgusVisionModel, split: datasets.Dataset, options: dict, seed: int) -> Objective:
    """Make the objective for a split's findings; `options` are the fields of `LabelSettings`, `seed` is not used."""
    names = target_names(split["findings"])
    module = LabelObjective(tower, len(names), settings_from(LabelSettings, options))
    return Objective(module, lambda row: {"labels": target_vector(row["findings"], names)}, measure(names))
