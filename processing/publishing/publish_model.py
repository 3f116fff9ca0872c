"""Publish a trained model's folder on the Hub: weights, code, tokenizer, settings and card, and nothing else."""

from collections.abc import Collection
from pathlib import Path

from ..saved_models.model_folders import GENERATION, REPORT_WRITER, check_model, check_processor
from ..saved_models.provenance import read_provenance
from ..storage.card_file import CARD, read_card
from .disclosures import check_disclosures, entries_to_upload
from .hub_repository import Destination, FolderToPublish, upload
from .published_card import card_of_repository

# What of an earlier upload is removed if the folder no longer has it: old shards would be loaded with the new ones.
REPLACED = ("*.safetensors", "*.json", "*.py", "*.jinja", "*.png", "*.bin", "*.nii.gz")


def model_to_publish(folder: Path, repo_id: str, pictures: Collection[str] = ()) -> FolderToPublish:
    """Check a model's folder; return what would be uploaded. Nothing of the network is used.

    Args:
        folder: folder of the model.
        repo_id: repository that the examples of its card load it from.
        pictures: names of pictures in it that show no patient; others are refused.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is no whole model with a card, or holds anything that must not be published.
    """
    folder = Path(folder)
    check_model(folder, REPORT_WRITER)
    check_processor(folder)
    for name, maker in ((CARD, "argus create"), (GENERATION, "save_pretrained")):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: has no {name}, which {maker} writes; a model is not published without it")
    check_disclosures(folder, pictures)
    read_provenance(folder)  # refused if it is damaged, or holds what no model records
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in entries_to_upload(folder)}
    return FolderToPublish(folder, sizes, card_of_repository(read_card(folder), repo_id))


def publish_model(folder: Path, to: Destination, pictures: Collection[str] = ()) -> str:
    """Upload a model's folder in one commit; return the repository's address.

    Raises:
        FileNotFoundError, ValueError: as `model_to_publish` and `upload`; nothing is uploaded then.
    """
    model = model_to_publish(folder, to.repo_id, pictures)
    return upload(model, to, "model", f"Upload {_name_of(model.card)}", REPLACED)


def _name_of(card: str) -> str:
    """Return a card's title, which names the model."""
    titles = (line.removeprefix("# ") for line in card.splitlines() if line.startswith("# "))
    return next(titles, "the model")
