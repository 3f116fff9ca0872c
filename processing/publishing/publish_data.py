"""Publish the allowed parts of a prepared data set on the Hub: only on request, by default no volume and no report."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from ..curation.dataset_card import LICENCE_FILE, published_card
from ..curation.prepared_folder import DATA, DECISIONS, read_manifest
from ..storage.foreign_files import read_bounded
from .disclosures import CARD, Disclosure, DisclosureError
from .hub_repository import MAX_CARD_BYTES, Destination, FolderToPublish, upload
from .private_text import LOCAL_PATH, TOKEN, private_in_text

# Their terms forbid redistribution of volumes or reports; rows of BIMCV-R may be published if they are asked for.
NOT_REDISTRIBUTABLE = {
    "ct-rate": "CT-RATE (CC BY-NC-SA, gated: every user agrees to its terms at the source)",
    "inspect": "INSPECT (Stanford's research use agreement: no redistribution)",
}
TERMS = NOT_REDISTRIBUTABLE | {"bimcv-r": "BIMCV-R (the terms of its own release)"}
REPLACED = ("*.parquet", "*.md", "*.png")  # rows of an earlier upload do not stay there


def publishable_folder(prepared: Path, staged: Path, with_data: tuple[str, ...] = (), repo_id: str = "REPO") -> Path:
    """Put the parts of a prepared folder that may be published into `staged`: decisions, card, terms and figure.

    Args:
        prepared: a folder made by `argus prepare`.
        staged: an empty folder.
        with_data: sources whose rows are published too, if their licence allows it and volumes are embedded.
        repo_id: repository that the card names.

    Raises:
        ValueError: if a source is not in the folder, may not be redistributed, or has no embedded volumes; or if
            something in the decisions or the card must not be published.
    """
    manifest = read_manifest(prepared)
    for source in with_data:
        _check_source(prepared, source, manifest)
    for part in (*(f"{DATA}/{source}" for source in with_data), DECISIONS):
        shutil.copytree(prepared / part, staged / part, copy_function=_link)
    for picture in prepared.glob("*.png"):
        shutil.copy(picture, staged)
    (staged / CARD).write_text(published_card(manifest, repo_id, with_data), encoding="utf-8")
    (staged / LICENCE_FILE).write_text(_terms(list(manifest["counts"])), encoding="utf-8")
    if disclosures := _disclosures(staged):
        raise DisclosureError(prepared, disclosures)
    return staged


def _check_source(prepared: Path, source: str, manifest: dict) -> None:
    if source in NOT_REDISTRIBUTABLE:
        raise ValueError(
            f"{NOT_REDISTRIBUTABLE[source]} may not be redistributed; its decisions are published, from which "
            f"argus prepare --decisions rebuilds it from a download"
        )
    if source not in manifest["counts"]:
        raise ValueError(f"{prepared}: holds no {source}; it holds {', '.join(manifest['counts'])}")
    if source not in TERMS:
        raise ValueError(
            f"{source}: whether its rows may be redistributed is not known; add its terms to TERMS in "
            f"processing/publishing/publish_data.py"
        )
    if not manifest["with_volumes"]:
        raise ValueError(f"{prepared}: its volumes are paths of this machine; prepare with --embed-volumes first")


def _link(source: str, target: str) -> None:
    """Link a file in place of a copy: embedded volumes may be larger than the disk for temporary files."""
    Path(target).symlink_to(Path(source).resolve())


def _terms(sources: list[str]) -> str:
    """Return the text of the licence file: what holds for the decisions, and for each source."""
    lines = [f"- {TERMS.get(source, f'{source} (the terms of its own release)')}" for source in sources]
    return "\n".join(
        [
            "# Terms",
            "",
            "`decisions/` holds facts about the sources: ids, splits and the numbers of kept sentences, none of their",
            "images or reports. Rows in `data/`, if there are any, are under the terms of their source. Who uses the",
            "decisions gets the sources from where they are published, and agrees to their terms there:",
            "",
            *lines,
            "",
        ]
    )


def _disclosures(staged: Path) -> list[Disclosure]:
    """Return what the texts and the decisions of a staged folder hold that must not be published."""
    found = [
        Disclosure(each.kind, path.name, each.cause)
        for path in sorted(staged.glob("*.md"))
        for each in private_in_text(read_bounded(path, MAX_CARD_BYTES))
    ]
    for path in sorted((staged / DECISIONS).glob("*.parquet")):
        table = pq.read_table(path)
        words = {str(word) for name in ("scan_id", "reason") for word in table[name].unique().to_pylist()}
        # Ids of a source may look like a header's identifiers: they are the source's own pseudonyms.
        found += [
            Disclosure(each.kind, f"{DECISIONS}/{path.name}", f"{each.cause}; prepare with --anonymous-paths")
            for each in private_in_text("\n".join(sorted(words)))
            if each.kind in (TOKEN, LOCAL_PATH)
        ]
    return found


@contextmanager
def data_to_publish(prepared: Path, repo_id: str, with_data: tuple[str, ...] = ()) -> Iterator[FolderToPublish]:
    """Yield what would be uploaded of a prepared folder, in a temporary folder. Nothing of the network is used.

    Raises:
        ValueError: as `publishable_folder`.
    """
    with tempfile.TemporaryDirectory() as folder:
        staged = publishable_folder(prepared, Path(folder), with_data, repo_id)
        files = sorted(path for path in staged.rglob("*") if path.is_file())
        sizes = {path.relative_to(staged).as_posix(): path.stat().st_size for path in files}
        yield FolderToPublish(staged, sizes, read_bounded(staged / CARD, MAX_CARD_BYTES))


def publish_data(prepared: Path, to: Destination, with_data: tuple[str, ...] = ()) -> str:
    """Upload the parts of a prepared folder that may be published to a data set repository; return its address.

    Raises:
        ValueError: as `publishable_folder` and `upload`; nothing is uploaded then.
    """
    with data_to_publish(prepared, to.repo_id, with_data) as checked:
        return upload(checked.folder, to, "dataset", "Upload CT-3DRRG", REPLACED)
