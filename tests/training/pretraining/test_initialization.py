"""Initial weights of the pretraining objectives, on memory that nothing was written to."""

import math

import pytest
import torch
from torch import nn

from argus_training.pretraining.label_objective import LabelObjective
from argus_training.pretraining.mae_objective import MAEObjective, MAESettings


@pytest.fixture(autouse=True)
def uninitialized_is_nan():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def objectives(tower, objective_of) -> dict[str, nn.Module]:
    mae = MAESettings(decoder_width=24, decoder_layers=1, decoder_heads=2)
    return {
        "flip": objective_of("flip"),
        "vox2vec": objective_of("vox2vec"),
        "mae": MAEObjective(tower, mae, seed=0),
        "labels": LabelObjective(tower, num_targets=5),
    }


def is_evenly_drawn(weight: torch.Tensor, bound: float) -> bool:
    """Return True if all lie within the bound, fill it, and have a uniform distribution's deviation."""
    close = 5 / weight.numel() ** 0.5
    return bool(weight.abs().max() <= bound) and abs(weight.std().item() / (bound / math.sqrt(3)) - 1) < close


@pytest.mark.parametrize("name", ["flip", "vox2vec", "mae", "labels"])
def test_an_objectives_own_weights_are_all_drawn_as_intended(objectives, name):
    own = {key: value for key, value in objectives[name].named_parameters() if "tower" not in key}
    own = {key: value for key, value in own.items() if not key.startswith("text_encoder")}
    assert own
    for key, value in own.items():
        if key == "logit_scale":
            assert value.item() == pytest.approx(math.log(1 / 0.07))
        elif key == "decoder.mask_token":
            assert abs(value.std().item() / 0.02 - 1) < 5 / len(value) ** 0.5
        elif "norm" in key:
            assert (value == float(key.endswith("weight"))).all(), key
        elif name == "mae":
            bound = math.sqrt(6 / sum(value.shape)) if value.ndim == 2 else 0
            assert is_evenly_drawn(value, bound) if bound else not value.any(), key
        elif value.ndim == 2:
            assert is_evenly_drawn(value, 1 / math.sqrt(value.shape[1])), key
        else:
            assert value.isfinite().all() and value.abs().max() < 1, key
