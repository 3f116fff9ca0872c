"""Publish the allowed parts of a prepared data set on the Hub: only on request, by default no volume and no report."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..curation.dataset_card import FIGURE, LICENCE_FILE, published_card
from ..curation.prepared_folder import DATA, DECISION_FEATURES, DECISIONS, SPLITS, read_manifest
from ..storage.card_file import CARD, read_card
from ..storage.file_hash import hash_file
from ..storage.progress import progress_bar
from .disclosures import OTHER, Disclosure, DisclosureError
from .embedded_rows import private_in_rows
from .hub_repository import Destination, FolderToPublish, upload
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
    for name in _parts(prepared, manifest, with_data):
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        # Linked in place of copied: embedded volumes may be larger than the disk for temporary files.
        (staged / name).symlink_to((prepared / name).resolve())
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


def _parts(prepared: Path, manifest: dict[str, Any], with_data: tuple[str, ...]) -> list[str]:
    """Return the files that are published as `argus prepare` wrote them; whatever else lies there is left.

    Raises:
        ValueError: if a file is not there, or was changed since.
    """
    begins = tuple(f"{DATA}/{source}/" for source in with_data)
    decisions = [f"{DECISIONS}/{source}.parquet" for source in manifest["counts"]]
    written = manifest.get("files")
    written = written if isinstance(written, dict) else {}
    names = [
        *(name for name in written if name.startswith(begins) and ".." not in Path(name).parts),
        *decisions,
        FIGURE,
    ]
    with progress_bar() as progress:
        for name in progress.track(names, description="files compared with the manifest"):
            path, known = prepared / name, written.get(name)
            if not isinstance(known, dict) or not path.is_file() or hash_file(path) != known.get("sha256"):
                raise ValueError(f"{path}: is not as argus prepare wrote it; run argus prepare again")
    return names


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
    """Return what the texts, the decisions and the rows of a staged folder hold that must not be published."""
    found = [Disclosure(each.kind, CARD, each.cause) for each in private_in_text(read_card(staged))]
    for path in sorted((staged / DECISIONS).glob("*.parquet")):
        found += (Disclosure(kind, f"{DECISIONS}/{path.name}", cause) for kind, cause in _in_decisions(path))
    with progress_bar() as progress:
        for path in progress.track(sorted((staged / DATA).rglob("*.parquet")), description="rows searched"):
            name = path.relative_to(staged).as_posix()
            found += (Disclosure(each.kind, name, each.cause) for each in private_in_rows(path))
    return found


def _in_decisions(path: Path) -> Iterator[tuple[str, str]]:
    """Yield kind and cause of what is in a file of decisions besides ids, splits, reasons and numbers."""
    schema = pq.read_schema(path)
    if schema.remove_metadata() != DECISION_FEATURES.arrow_schema.remove_metadata():
        yield OTHER, "other columns than argus prepare writes"
        return
    table = pq.read_table(path)
    words = {name: {str(word) for word in table[name].unique().to_pylist()} for name in ("scan_id", "split", "reason")}
    if not words["split"] <= {"", *SPLITS} or not all(
        re.fullmatch(r"[a-z0-9_]{0,60}", each) for each in words["reason"]
    ):
        yield OTHER, "a split or a reason that argus prepare never writes"
    # Ids of a source may look like a header's identifiers: they are the source's own pseudonyms.
    for each in private_in_text("\n".join(sorted(words["scan_id"] | words["reason"]))):
        if each.kind in (TOKEN, LOCAL_PATH):
            yield each.kind, f"{each.cause}; prepare with --anonymous-paths"


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
        yield FolderToPublish(staged, sizes, read_card(staged))


def publish_data(prepared: Path, to: Destination, with_data: tuple[str, ...] = ()) -> str:
    """Upload the parts of a prepared folder that may be published to a data set repository; return its address.

    Raises:
        ValueError: as `publishable_folder` and `upload`; nothing is uploaded then.
    """
    with data_to_publish(prepared, to.repo_id, with_data) as checked:
        return upload(checked, to, "dataset", "Upload CT-3DRRG", REPLACED)
