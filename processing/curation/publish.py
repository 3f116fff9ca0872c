"""Publish the allowed parts of a prepared data set on the Hub: only on request, by default no volume and no report."""

import shutil
import tempfile
from pathlib import Path

from huggingface_hub import DatasetCard, HfApi

from .prepared_folder import DATA, DECISIONS, read_manifest

# Their terms forbid redistribution of volumes or reports; rows of BIMCV-R may be published if they are asked for.
NOT_REDISTRIBUTABLE = {
    "ct-rate": "CT-RATE (CC BY-NC-SA, gated: every user agrees to its terms at the source)",
    "inspect": "INSPECT (Stanford's research use agreement: no redistribution)",
}


def publishable_folder(prepared: Path, staged: Path, with_data: tuple[str, ...] = ()) -> Path:
    """Copy the parts of a prepared folder that may be published into `staged`: decisions, card and figure.

    Args:
        prepared: a folder made by `argus prepare`.
        staged: an empty folder.
        with_data: sources whose rows are published too, if their licence allows it and volumes are embedded.

    Raises:
        ValueError: if a source is not in the folder, may not be redistributed, or has no embedded volumes.
    """
    manifest = read_manifest(prepared)
    for source in with_data:
        if source in NOT_REDISTRIBUTABLE:
            raise ValueError(
                f"{NOT_REDISTRIBUTABLE[source]} may not be redistributed; its decisions are published, from which "
                f"argus prepare --decisions rebuilds it from a download"
            )
        if source not in manifest["counts"]:
            raise ValueError(f"{prepared}: holds no {source}; it holds {', '.join(manifest['counts'])}")
        if not manifest["with_volumes"]:
            raise ValueError(f"{prepared}: its volumes are paths of this machine; prepare with --embed-volumes first")
        shutil.copytree(prepared / DATA / source, staged / DATA / source)
    shutil.copytree(prepared / DECISIONS, staged / DECISIONS)
    for picture in prepared.glob("*.png"):
        shutil.copy(picture, staged)
    card = DatasetCard.load(prepared / "README.md")
    kept = [config for config in card.data.configs if config["config_name"] in with_data]
    decisions = [
        {"config_name": f"decisions-{source}", "data_files": f"{DECISIONS}/{source}.parquet"}
        for source in manifest["counts"]
    ]
    card.data.configs = kept + decisions
    card.save(staged / "README.md")
    return staged


def publish(prepared: Path, repo_id: str, with_data: tuple[str, ...] = (), private: bool = True) -> str:
    """Upload the parts of a prepared folder that may be published to a data set repository; return its address.

    Raises:
        ValueError: as `publishable_folder`.
    """
    with tempfile.TemporaryDirectory() as folder:
        staged = publishable_folder(prepared, Path(folder), with_data)
        api = HfApi()
        address = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, repo_type="dataset", folder_path=staged)
    return str(address)
