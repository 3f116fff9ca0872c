"""Tell which scans a number is of: their ids, and hashes of ids and references; read lists of scans to score."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets

from argus_processing.storage.foreign_files import read_bounded
from argus_processing.storage.typed_json import from_json, to_json
from argus_processing.storage.whole_files import write_json

MANIFEST_FILE = "test_set.json"
FORMAT = 1
MAX_BYTES = 64 << 20
_SHORT = 16  # digits of one reference's hash
_SHOWN = 3  # ids that an error names
# A name of CT-RATE's lists, `valid_1_a_2.nii.gz`: a volume, one of a scan's reconstructions, which share a report.
_VOLUME = re.compile(r"(?:.*/)?(?P<scan>(?:train|valid)_\d+_[a-z]+)(?:_\d+)?(?:\.nii(?:\.gz)?)?")


@dataclass(frozen=True)
class ScoredScans:
    """The scans that numbers are of.

    Attributes:
        ids_sha256: of the ids, sorted, each with a line feed: what `LC_ALL=C sort ids.txt | sha256sum` prints.
        references_sha256: of the lines of id, tab and hash of the reference, sorted in the same way.
        scans: by id, the first digits of the SHA-256 of its reference.
    """

    ids_sha256: str
    references_sha256: str
    scans: dict[str, str]


@dataclass(frozen=True)
class ManifestFile:
    """The content of `test_set.json`."""

    format: int
    subset: str
    split: str
    num_scans: int
    scored: ScoredScans


def scored_scans(references: Mapping[str, str]) -> ScoredScans:
    """Return the scans with these references by id."""
    scans = {scan_id: _reference_hash(reference) for scan_id, reference in references.items()}
    return ScoredScans(
        _sha256(f"{scan_id}\n" for scan_id in _sorted(scans)),
        _sha256(f"{scan_id}\t{scans[scan_id]}\n" for scan_id in _sorted(scans)),
        scans,
    )


def _reference_hash(reference: str) -> str:
    return _sha256([reference])[:_SHORT]


def _sorted(ids: Iterable[str]) -> list[str]:
    return sorted(ids, key=_encoded)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _sha256(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(_encoded(text))
    return digest.hexdigest()


def difference(first: ScoredScans | None, second: ScoredScans | None) -> str:
    """Return in one line how two sets of scans differ; empty if they are the same, or one of them is not known."""
    if first is None or second is None or first.references_sha256 == second.references_sha256:
        return ""
    only = [_sorted(one.scans.keys() - other.scans.keys()) for one, other in ((first, second), (second, first))]
    if any(only):
        told = [
            f"{len(ids)} only in the {which} ({_some(ids)})"
            for ids, which in zip(only, ("first", "second"), strict=True)
            if ids
        ]
        return f"{len(first.scans)} and {len(second.scans)} scans, {', '.join(told)}"
    changed = [scan_id for scan_id in _sorted(first.scans) if first.scans[scan_id] != second.scans[scan_id]]
    return f"the same scans, with other references for {len(changed)} ({_some(changed)})"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")


def write_manifest(folder: Path, subset: str, split: str, scored: ScoredScans) -> None:
    """Write `test_set.json` into a folder."""
    write_json(folder / MANIFEST_FILE, to_json(ManifestFile(FORMAT, subset, split, len(scored.scans), scored)))


def read_test_set(path: Path) -> dict[str, str]:
    """Read the ids of a test set, each with the hash of its reference, or "" where the file does not tell it.

    Args:
        path: `test_set.json` of an evaluation, or a text file with one id a line; empty lines and those that begin
            with # are skipped. A JSON list of ids will do too.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged, names no scan or names one twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not there; give {MANIFEST_FILE} of an evaluation, or a file with one id a line"
        )
    text = read_bounded(path, MAX_BYTES)
    try:
        known = _from_json(text) if path.suffix == ".json" else dict.fromkeys(_lines(text), "")
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: is neither {MANIFEST_FILE} nor a list of ids ({error})") from None
    if not known:
        raise ValueError(f"{path}: names no scan")
    return known


def _from_json(text: str) -> dict[str, str]:
    content = json.loads(text)
    if isinstance(content, list):
        return dict.fromkeys(_once([str(scan_id) for scan_id in content]), "")
    return from_json(ManifestFile, content).scored.scans


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    return _once([line for line in lines if line and not line.startswith("#")])


def _once(ids: list[str]) -> list[str]:
    twice = [scan_id for scan_id, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"it names {_some(twice)} twice")
    return ids


def select_scans(
    dataset: datasets.Dataset, wanted: Mapping[str, str], path: Path, id_of: Callable[[str], str] = str
) -> datasets.Dataset:
    """Return the wanted scans of a split, in its order.

    Args:
        dataset: rows with `scan_id` and `report`.
        wanted, path: see `choose_ids`.
        id_of: gives the name under which a scan is written; a file may hold either.

    Raises:
        ValueError: as `choose_ids`.
    """
    texts = dataset.select_columns(["scan_id", "report"])
    references = dict(zip(texts["scan_id"], texts["report"], strict=True))
    real = {id_of(scan_id): scan_id for scan_id in references}
    chosen = choose_ids(references, {real.get(name, name): known for name, known in wanted.items()}, path)
    return dataset.select([place for place, scan_id in enumerate(references) if scan_id in chosen])


def choose_ids(references: Mapping[str, str], wanted: Mapping[str, str], path: Path) -> set[str]:
    """Return the ids of the wanted scans.

    Args:
        references: the reports of all scans, by id.
        wanted: as `read_test_set` returns them; names of CT-RATE's volumes stand for their scans.
        path: their file, for errors.

    Raises:
        ValueError: if there is no scan of an id, or it has another reference.
    """
    found = {name: name if name in references else _scan_of(name) for name in wanted}
    if missing := [name for name, scan_id in found.items() if scan_id not in references]:
        raise ValueError(f"{path}: {len(missing)} of its {len(wanted)} scans are not there ({_some(missing)})")
    known = ((name, scan_id) for name, scan_id in found.items() if wanted[name])
    changed = [name for name, scan_id in known if _reference_hash(references[scan_id]) != wanted[name]]
    if changed:
        raise ValueError(f"{path}: {len(changed)} of its scans have another reference here ({_some(changed)})")
    return set(found.values())


def _scan_of(name: str) -> str:
    """Return the scan of a name in CT-RATE's lists of volumes; other names stay as they are."""
    volume = _VOLUME.fullmatch(name)
    return volume["scan"] if volume else name
