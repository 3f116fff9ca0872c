"""List the vision towers that Argus can use: its own, and those of the systems it is compared with."""

from typing import NamedTuple

from .configuration_vision_argus import ArgusVisionConfig, VolumeVisionConfig
from .vision_argus import ArgusVisionModel, VisionTower
from .vision_ct2rep_argus import CT2RepVisionConfig, CT2RepVisionModel
from .vision_m3d_argus import M3DVisionConfig, M3DVisionModel
from .vision_radfm_argus import RadFMVisionConfig, RadFMVisionModel


class Tower(NamedTuple):
    """The configuration class and the model class of a tower.

    The model maps `pixel_values` `(B, 1, D, H, W)` to `last_hidden_state` `(B, N, C)` in (depth, height, width) order;
    the configuration holds N as `num_tokens`, the token grid as `token_grid` and C as `hidden_size`.
    """

    config_class: type[VolumeVisionConfig]
    model_class: type[VisionTower]


TOWERS = {
    "argus": Tower(ArgusVisionConfig, ArgusVisionModel),
    "m3d": Tower(M3DVisionConfig, M3DVisionModel),
    "radfm": Tower(RadFMVisionConfig, RadFMVisionModel),
    "ct2rep": Tower(CT2RepVisionConfig, CT2RepVisionModel),
}


def tower_of(model_type: str) -> Tower:
    """Return the tower whose configuration has a `model_type`.

    Raises:
        ValueError: if there is none.
    """
    for tower in TOWERS.values():
        if tower.config_class.model_type == model_type:
            return tower
    known = ", ".join(tower.config_class.model_type for tower in TOWERS.values())
    raise ValueError(f"unknown vision tower {model_type!r}; known: {known}")
