"""Publish a run's model on the Hub once, at its end, in place of the trainer's own uploads.

The trainer would upload each stage and each checkpoint, weights and settings twice, with adapters in place of the
merged model. So `push_to_hub` and the settings beside it are taken out of its arguments.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers.trainer_utils import HubStrategy
from trl import SFTConfig

from argus_processing.publishing.hub_repository import Destination
from argus_processing.publishing.publish_model import publish_model

# The trainer's settings of uploads, each with its default.
TRAINERS_UPLOAD: dict[str, Any] = {
    "push_to_hub": False,
    "hub_model_id": None,
    "hub_private_repo": None,
    "hub_revision": None,
    "hub_strategy": "every_save",
    "hub_token": None,
    "hub_always_push": False,
}


@dataclass
class HubArguments:
    """Settings of a run's upload beside the trainer's push_to_hub, hub_model_id, hub_private_repo and hub_revision.

    Attributes:
        hub_tag: name that the uploaded state gets, such as v1.0. Default: none.
        hub_stages: upload the model of each earlier stage too, to a branch with the stage's name, such as stage1.
    """

    hub_tag: str | None = None
    hub_stages: bool = False


def upload_destination(config: SFTConfig, hub: HubArguments) -> Destination | None:
    """Return where a run's model goes, None if it is not uploaded; a new repository is private unless told otherwise.

    Raises:
        ValueError: if the repository is not named, or settings ask for other uploads than the one of the model.
    """
    if not config.push_to_hub:
        if hub.hub_tag or hub.hub_stages:
            raise ValueError("hub_tag and hub_stages are for a run with push_to_hub: true")
        return None
    if not config.hub_model_id:
        raise ValueError("push_to_hub needs hub_model_id, a repository such as lab/argus-8b-hr; docs/publishing.md")
    if config.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        raise ValueError("hub_strategy: checkpoints are not uploaded, only the finished model; take the setting out")
    return Destination(
        config.hub_model_id,
        public=config.hub_private_repo is False,
        revision=config.hub_revision,
        tag=hub.hub_tag,
        token=config.hub_token,
    )


def without_upload(config: SFTConfig) -> SFTConfig:
    """Return a trainer's settings with which it uploads nothing, and knows no token."""
    return replace(config, **TRAINERS_UPLOAD)


def upload_run(model: Path, earlier: dict[str, Path], to: Destination) -> str:
    """Upload a run's last model, after those of earlier stages to branches of their own; return the address.

    Args:
        model: folder of the last model.
        earlier: folders of earlier stages' models that are uploaded too, by stage.
        to: where the last model goes.

    Raises:
        ValueError: if a folder holds what must not be published, or the Hub refuses; it tells how to go on.
    """
    try:
        for stage, folder in earlier.items():
            publish_model(folder, replace(to, revision=f"stage{stage}", tag=None))
        return publish_model(model, to)
    except ValueError as error:
        told = f"{error}; the trained model stays there, and argus publish model {model} {to.repo_id} uploads it"
        raise ValueError(told) from error
