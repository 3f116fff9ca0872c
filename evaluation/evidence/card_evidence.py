"""Show on a model's card how well its maps of evidence point."""

from pathlib import Path
from typing import Any

from rich.table import Table

from argus_processing.storage.foreign_files import read_json_object
from argus_processing.storage.markdown_table import markdown_table
from argus_processing.storage.typed_json import from_json
from argus_training.assembly.model_card import CardCheck

from .evidence_results import Share

MAX_BYTES = 1 << 20
MEANINGS = {
    "pointing": "peak within one voxel of the finding",
    "pointing_moved": "the same, scans shifted, cropped or enlarged",
    "chance": "the same of a random voxel of the body",
    "no_model": "the same of what differs most from the mean scan",
    "other_sentence": "the same of another sentence's map",
    "deletion": "statement gone without the map's voxels",
    "deletion_elsewhere": "statement gone without as many voxels elsewhere",
}
TOLD = (
    "Whether the map of a sentence peaks at the finding that it tells of, by phantoms whose findings are known to the "
    "voxel. Maps were validated on phantoms only: of a patient's scan they prove nothing."
)


def read_card_evidence(path: Path, model_hash: str) -> CardCheck:
    """Read the measures of a model's maps of evidence for its card.

    Args:
        path: `results.json` that `make evidence-demo` wrote.
        model_hash: hash of the model's folder.

    Raises:
        FileNotFoundError, ValueError: if there are none, they are damaged, or belong to another model.
    """
    content = read_json_object(path, MAX_BYTES)
    shares = {name: _share(content[name], name, path) for name in MEANINGS if name in content}
    if "pointing" not in shares:
        raise ValueError(f"{path}: holds no measures of maps of evidence; make evidence-demo writes them")
    if content.get("model_hash") != model_hash:
        raise ValueError(f"{path}: is of another model, this one is {model_hash[:12]}; measure this one")
    return CardCheck("Maps of evidence on phantoms", TOLD, markdown_table(_table(shares)))


def _share(content: Any, name: str, path: Path) -> Share:
    try:
        return from_json(Share, content, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; measure again") from error


def _table(shares: dict[str, Share]) -> Table:
    table = Table("measure", "share", "95% interval", "sentences")
    for name, share in shares.items():
        table.add_row(MEANINGS[name], f"{share.value:.3f}", f"{share.low:.3f} to {share.high:.3f}", str(share.n))
    return table
