"""Check weight files that somebody else may have written: names and sizes of tensors, from their headers only."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..storage.foreign_files import ForeignFileError, check_regular, read_json_object

SAFETENSORS, SAFETENSORS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_PLAIN_NAME = re.compile(r"[\w][\w.-]*")
_MAX_INDEX_BYTES = 64 << 20


def weight_files(folder: Path, *, pickled: bool = False) -> list[Path]:
    """Return the files that hold a model's weights, in the order transformers looks for them.

    Args:
        folder: folder of the model.
        pickled: accept torch's own format too, which is then read only as tensors.

    Raises:
        ForeignFileError: if there are none, one is missing or damaged, or the index names files elsewhere.
    """
    single, index = folder / SAFETENSORS, folder / SAFETENSORS_INDEX
    if single.exists() or index.exists():
        files = [single] if single.exists() else _sharded(index)
        for file in files:
            names_in(file)
        return files
    single, index = folder / PICKLED, folder / PICKLED_INDEX
    if not single.exists() and not index.exists():
        raise ForeignFileError(f"{folder}: holds no weights ({SAFETENSORS})")
    if not pickled:
        raise ForeignFileError(f"{folder}: holds pickled weights only; give a folder of safetensors")
    files = [single] if single.exists() else _sharded(index)
    for file in files:
        check_pickled(file)
    return files


def names_in(file: Path) -> set[str]:
    """Return the names of a safetensors file's tensors; its header is checked against its length.

    Raises:
        ForeignFileError: if it is damaged.
    """
    check_regular(file)
    try:
        with safe_open(file, "pt") as opened:
            return set(opened.keys())
    except (OSError, SafetensorError) as error:
        raise ForeignFileError(f"{file}: the weights are damaged ({error}); copy the file again") from None


def check_pickled(file: Path) -> None:
    """Refuse files with compressed parts, which torch never writes and which could grow to any size.

    Raises:
        ForeignFileError: naming the file.
    """
    check_regular(file)
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ForeignFileError(f"{file}: the weights are damaged ({error}); copy the file again") from None
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ForeignFileError(f"{file}: its parts are compressed, which torch never does; it is refused")


def _sharded(index: Path) -> list[Path]:
    """Return the files that an index names, all in its folder, and check that each has exactly the listed tensors."""
    mapping = read_json_object(index, _MAX_INDEX_BYTES, max_values=None).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise ForeignFileError(f"{index}: has no weight_map of tensors to files; copy it again")
    names = {name for name in mapping.values() if isinstance(name, str) and _PLAIN_NAME.fullmatch(name)}
    if len(names) > 4096 or any(name not in names for name in _distinct(mapping.values())):
        raise ForeignFileError(f"{index}: names weights outside its folder; only files beside it are read")
    files = [index.parent / name for name in sorted(names)]
    if missing := [file.name for file in files if not file.exists()]:
        raise ForeignFileError(f"{index}: names {missing[0]}, which is not there; copy the missing shards")
    if index.name == SAFETENSORS_INDEX:
        _check_shares(index, mapping, files)
    return files


def _distinct(values: Iterable) -> set:
    return {value if isinstance(value, str) else repr(value) for value in values}


def _check_shares(index: Path, mapping: dict[str, str], files: list[Path]) -> None:
    for file in files:
        said = {name for name, place in mapping.items() if place == file.name}
        held = names_in(file)
        if said != held:
            odd = sorted(said ^ held)[0]
            where = "lacks" if odd in said else "also holds"
            raise ForeignFileError(f"{index}: {file.name} {where} {odd[:80]!r}; the shards are not of one model")
