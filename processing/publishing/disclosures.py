"""Find in a model's folder what must not be published: scans, their headers, paths, secrets, pickles, a run's states.

A folder may hold only what a model consists of: every other file is a disclosure too, whatever it is.
"""

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_import_files

from ..mean_scan.mean_scan_file import is_recorded_mean_scan
from ..saved_models.pretrained import shapes_of_weights
from ..saved_models.weight_files import SAFETENSORS, SAFETENSORS_INDEX
from ..storage.card_file import CARD
from ..storage.foreign_files import (
    ForeignFileError,
    cause_of,
    check_extent,
    checked_object,
    read_bounded,
    read_json_object,
)
from .file_signatures import ARCHIVE, PICKLE, SCAN, is_picture, is_training_state, kind_of_file
from .picture_texts import private_in_picture
from .private_text import hidden_in_text, private_in_text, private_in_values, tokens_in_words
from .tokenizer_words import NO_VOCABULARY, VOCABULARIES, private_in_vocabulary

TRAINING_STATE, LINK, OTHER = "training state", "link", NO_VOCABULARY
_MOST_NAMED = 5
_MAX_JSON_BYTES = 256 << 20  # of a tokenizer
_MAX_TEXT_BYTES = 1 << 20  # no card, licence, template or file of code is longer
# The Hub's own client never uploads these.
_NEVER_UPLOADED = (".git", ".cache/huggingface")
_JSON = frozenset(
    (
        *("config.json", "generation_config.json", "processor_config.json", "preprocessor_config.json", "argus.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("chat_template.json", SAFETENSORS_INDEX),
    )
)
_TEXTS = frozenset((CARD, "chat_template.jinja", ".gitattributes"))
_LICENCES = frozenset(
    f"{name}{ending}" for name in ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY") for ending in ("", ".TXT", ".MD")
)
_WEIGHTS = ("model.vision_tower.", "model.connector.", "model.language_model.", "lm_head.")
_CODE_FOLDERS = (Path(str(getattr(find_spec("modeling_argus"), "origin", ""))).parent, Path(__file__).parent.parent)
_ENTRY_MODULES = ("modeling_argus", "configuration_argus", "processing_argus", "image_processing_argus")
_CAUSES = {
    SCAN: "a scan or a picture, which may show a patient",
    PICKLE: "a pickle, which runs code when it is loaded",
    ARCHIVE: "an archive, which may hold anything",
}


@dataclass(frozen=True)
class Disclosure:
    """Something in a folder that must not be published.

    Attributes:
        kind: such as "scan", "token" or "local path".
        file: its file, relative to the folder.
        cause: what was recognised and where; it quotes neither a secret nor a patient's data.
    """

    kind: str
    file: str
    cause: str

    def __str__(self) -> str:
        return f"{self.file}: {self.cause}"


class DisclosureError(ValueError):
    """Error that names in one line what in a folder must not be published."""

    def __init__(self, folder: Path, disclosures: list[Disclosure]):
        named = [str(each) for each in disclosures[:_MOST_NAMED]]
        named += [f"{len(disclosures) - _MOST_NAMED} more"] * (len(disclosures) > _MOST_NAMED)
        super().__init__(f"{folder}: not published, it holds what may not leave: {'; '.join(named)}")
        self.disclosures = disclosures


def check_disclosures(folder: Path, pictures: Collection[str] = ()) -> None:
    """Refuse a model's folder that holds anything that must not be published.

    Raises:
        DisclosureError: naming the files and causes.
    """
    if disclosures := find_disclosures(folder, pictures):
        raise DisclosureError(folder, disclosures)


def find_disclosures(folder: Path, pictures: Collection[str] = ()) -> list[Disclosure]:
    """Return everything in a model's folder that must not be published, sorted by file; links are not followed.

    Args:
        folder: folder of the model.
        pictures: names of pictures that somebody has looked at and that show no patient.
    """
    folder = Path(folder)
    code = _code_of(folder)
    found: list[Disclosure] = []
    for path in entries_to_upload(folder):
        name = path.relative_to(folder).as_posix()
        if name in pictures and path.is_file() and not path.is_symlink() and is_picture(path):
            found += (_disclosure(name, place, each) for place, each in private_in_picture(path))
        else:
            found += _in_entry(folder, path, code)
    return found


def entries_to_upload(folder: Path) -> list[Path]:
    """Return the files and links below a folder that an upload would take, sorted."""
    found = []
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if (inside / name).as_posix() not in _NEVER_UPLOADED]
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [Path(place) / name for name in (*files, *links)]
    return sorted(found)


def _code_of(folder: Path) -> frozenset[str]:
    """Return the names of the code files that a folder's own modules consist of."""
    entries = [folder / f"{name}.py" for name in _ENTRY_MODULES if (folder / f"{name}.py").is_file()]
    try:
        needed = [Path(file) for entry in entries for file in get_relative_import_files(str(entry))]
    except (OSError, UnicodeDecodeError):
        needed = []
    return frozenset(path.name for path in (*entries, *needed))


def _in_entry(folder: Path, path: Path, code: frozenset[str]) -> Iterator[Disclosure]:
    """Yield what one file discloses; of a file that is no part of a model only that."""
    name = path.relative_to(folder).as_posix()
    if path.is_symlink() and (path.is_dir() or not _is_inside(folder, path)):
        yield Disclosure(LINK, name, "a link that leads out of the folder; put the file itself there")
        return
    if not path.is_file():
        yield Disclosure(OTHER, name, "no regular file")
        return
    if is_training_state(path.name):
        yield Disclosure(TRAINING_STATE, name, "the state of a training run")
        return
    if is_recorded_mean_scan(folder, path):
        return
    if path.suffix == ".safetensors" and path.parent == folder:
        yield from _in_weights(folder, path)
        return
    kind = kind_of_file(path)
    if kind is not None:
        yield Disclosure(kind, name, _CAUSES[kind])
    elif path.parent != folder or not _is_of_model(path.name, code):
        yield Disclosure(OTHER, name, "no file of a model; take it out of the folder")
    else:
        yield from (_disclosure(name, place, found) for place, found in _in_text_file(path))


def _is_inside(folder: Path, path: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def _is_of_model(name: str, code: frozenset[str]) -> bool:
    return name in _JSON | _TEXTS | VOCABULARIES | code or name.upper() in _LICENCES


def _in_weights(folder: Path, path: Path) -> Iterator[Disclosure]:
    """Yield what a safetensors file discloses: tensors that are no weights, and texts among its metadata."""
    if path.name not in _names_of_weights(folder):
        yield Disclosure(OTHER, path.name, "not among the model's weights; take it out of the folder")
        return
    try:
        with safe_open(path, "pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            metadata = file.metadata() or {}
    except (OSError, SafetensorError):
        yield Disclosure(OTHER, path.name, "damaged weights")
        return
    if strange := _no_weights(folder, held):
        yield Disclosure(OTHER, path.name, f"holds {len(strange)} tensors that are no weights of the model")
    for content in (metadata, strange):
        yield from (_disclosure(path.name, place, found) for place, found in private_in_values(content))


def _no_weights(folder: Path, held: dict[str, tuple[int, ...]]) -> list[str]:
    """Return the names of tensors that the folder's configuration does not ask for, or not in their shape."""
    try:
        expected = shapes_of_weights(folder)
    except ForeignFileError:
        expected = None  # the folder's other files are told as disclosures, or refused before
    if expected is None:
        return sorted(name for name in held if not name.startswith(_WEIGHTS))
    return sorted(name for name, shape in held.items() if expected.get(name) != shape)


def _names_of_weights(folder: Path) -> set[str]:
    """Return the names of the files that transformers would read the weights from."""
    if (folder / SAFETENSORS).is_file():
        return {SAFETENSORS}
    try:
        content = read_json_object(folder / SAFETENSORS_INDEX, _MAX_JSON_BYTES, max_values=None)
        return {str(name) for name in content.get("weight_map", {}).values()}
    except (AttributeError, FileNotFoundError, ForeignFileError):
        return set()


def _in_text_file(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a text of the model holds, each with its place in the file."""
    if _is_argus_own(path):
        return
    if path.name in VOCABULARIES:
        yield from (("", found) for found in private_in_vocabulary(path))
    elif path.suffix == ".json":
        yield from _in_json(path)
    else:
        text = read_bounded(path, _MAX_TEXT_BYTES)
        yield from (("", found) for found in private_in_text(text, is_code=path.suffix == ".py"))
        yield from (("", found) for found in hidden_in_text(text))


def _is_argus_own(path: Path) -> bool:
    """Return whether a file is the code of this Argus, unchanged."""
    own = [folder / path.name for folder in _CODE_FOLDERS]
    return path.suffix == ".py" and any(each.is_file() and each.read_bytes() == path.read_bytes() for each in own)


def _in_json(path: Path) -> Iterator[tuple[str, Any]]:
    content = _read_json(path)
    if path.name == "tokenizer.json" and isinstance(content.get("model"), dict):
        model = content["model"]
        words = (str(word[0] if isinstance(word, list) else word) for word in model.get("vocab") or ())
        yield from (("model.vocab", found) for found in tokens_in_words(words))
        content = content | {"model": {key: value for key, value in model.items() if key not in ("vocab", "merges")}}
    yield from private_in_values(content)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a name that stands in it twice could hide the first value from a search.

    Raises:
        ForeignFileError: naming the file and what is wrong.
    """
    try:
        content = json.loads(read_bounded(path, _MAX_JSON_BYTES), object_pairs_hook=_once)
    except (RecursionError, ValueError) as error:
        if isinstance(error, ForeignFileError):
            raise
        raise ForeignFileError(f"{path}: is damaged ({cause_of(error)}); copy it again") from None
    check_extent(path, content, None)
    return checked_object(path, content)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name stands twice in the same mapping")
    return content


def _disclosure(name: str, place: str, found: Any) -> Disclosure:
    return Disclosure(found.kind, name, f"{place}: {found.cause}" if place else found.cause)
