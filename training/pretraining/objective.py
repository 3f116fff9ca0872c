"""Define a pretraining objective, and shared parts: settings, reproducible draws, held-out batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import nn
from transformers import default_data_collator

Settings = TypeVar("Settings")


def no_inputs(row: dict) -> dict:
    """Return no inputs: for an objective that needs only the volume."""
    return {}


def nothing_to_show(module: nn.Module, batches: Callable[[], Iterator[dict]], folder: Path) -> dict[str, Any]:
    """Measure and draw nothing: for an objective without measurements of its own."""
    return {}


def nothing_to_keep(module: nn.Module, folder: Path) -> None:
    """Keep nothing but the tower: for an objective whose other parts nobody needs again."""


@dataclass
class Objective:
    """A task that a vision tower learns from.

    Attributes:
        module: maps `(pixel_values, ...)` to an output with `loss`; holds the tower as `vision_tower`. If its `forward`
            takes them, it also gets `index` `(B,)`, the positions of the rows in the split; `step`, counted from 1 in
            training and 0 on held-out scans; and `progress`, the share of the training that is done.
        inputs_of: function from a row of the split to the module's other inputs.
        show: called after training as `show(module, batches, folder)` with held-out batches; writes pictures into the
            folder and returns its measurements.
        keep: called after that as `keep(module, folder)`; writes what shall be kept beside the tower.
    """

    module: nn.Module
    inputs_of: Callable[[dict], dict] = no_inputs
    show: Callable[[nn.Module, Callable[[], Iterator[dict]], Path], dict[str, Any]] = nothing_to_show
    keep: Callable[[nn.Module, Path], None] = nothing_to_keep


def settings_from(settings: type[Settings], options: dict[str, Any]) -> Settings:
    """Make an objective's settings from a recipe's `objective_options`.

    Raises:
        ValueError: if an option is unknown, naming the known ones.
    """
    known = [entry.name for entry in fields(cast(Any, settings))]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"objective_options: no such setting: {', '.join(unknown)}; known: {', '.join(known)}")
    return settings(**options)


def check_mask_ratio(mask_ratio: float) -> None:
    """Check that the share of dropped patches is between 0 and 1, so that some are dropped and some are kept.

    Raises:
        ValueError: if the ratio is not between 0 and 1.
    """
    if not 0 < mask_ratio < 1:
        raise ValueError(f"mask_ratio is the share of patches dropped, between 0 and 1, got {mask_ratio}")


def generators_of(seed: int, step: int, index: torch.Tensor) -> list[torch.Generator]:
    """Return a random generator for each sample of a batch that depends on seed, step and sample alone.

    So a resumed run draws the same numbers as an uninterrupted one, and several processes the same as one.
    """
    states = (np.random.SeedSequence([seed, step, place]).generate_state(1, np.uint64) for place in index.tolist())
    return [torch.Generator().manual_seed(int(state[0])) for state in states]


def draw_orders(num_tokens: int, generators: list[torch.Generator], device: torch.device) -> torch.Tensor:
    """Draw a permutation of the tokens for each sample, `(B, num_tokens)`."""
    return torch.stack([torch.randperm(num_tokens, generator=generator) for generator in generators]).to(device)


def held_out_batches(
    scans: torch.utils.data.Dataset, batch_size: int, device: torch.device
) -> Callable[[], Iterator[dict]]:
    """Return a function that yields scans in order, batch by batch, on a device."""

    def batches() -> Iterator[dict]:
        loader = torch.utils.data.DataLoader(scans, batch_size, collate_fn=default_data_collator)
        for batch in loader:
            yield {name: value.to(device) for name, value in batch.items()}

    return batches
