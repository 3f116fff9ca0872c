"""RadGraph's weights, made safe for its package: only known settings reach it.

The package hands every entry of a model's config.json to a constructor, and one such entry, `regularizer`, looks up a
class by any dotted name and calls it. So it gets a folder of its own, with a config.json written anew.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from argus_processing.foreign_files import ForeignFileError, check_regular, read_bounded, read_json_object
from argus_processing.weight_files import check_pickled

from .clinical_weights import unpacked

_HUB_NAME = re.compile(r"(?!.*\.\.)[\w.-]+(/[\w.-]+)?")
_VOCABULARY_NAME = re.compile(r"[\w*-]{1,80}\.txt")
MAX_VOCABULARY_FILES = 64
MAX_VOCABULARY_BYTES = 4 << 20
Check = Callable[[Any], bool]


def _number(low: float, high: float) -> Check:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _whole(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _none(value: Any) -> bool:
    return value is None


def _words(value: Any) -> bool:
    return value is None or isinstance(value, list) and all(isinstance(word, str) for word in value)


def _hub_name(value: Any) -> bool:
    return isinstance(value, str) and _HUB_NAME.fullmatch(value) is not None


_SHARE = _number(0, 1)
_LANGUAGE_MODEL = {"model_name": _hub_name, "max_length": _whole(8, 4096)}
# Of the published model's config.json what its package reads, and what each may be. "?" marks what may be missing.
_READER = {"max_span_width": _whole(1, 64), "token_indexers": {"bert": _LANGUAGE_MODEL}}
_MODEL = {
    "feature_size": _whole(1, 1024),
    "max_span_width": _whole(1, 64),
    "target_task": lambda value: value in ("ner", "relation", "coref", "events"),
    "display_metrics?": _words,
    "regularizer?": _none,
    "feedforward_params": {"num_layers": _whole(1, 16), "hidden_dims": _whole(1, 8192), "dropout": _SHARE},
    "loss_weights": {f"{task}?": _number(0, 1000) for task in ("ner", "relation", "coref", "events")},
    "modules": {
        "ner": {"regularizer?": _none},
        "coref": {
            "spans_per_word": _number(0, 10),
            "max_antecedents": _whole(1, 1000),
            "coref_prop?": _whole(0, 10),
            "coref_prop_dropout_f?": _SHARE,
            "regularizer?": _none,
        },
        "relation": {
            "spans_per_word": _number(0, 10),
            "positive_label_weight?": _number(0, 1000),
            "regularizer?": _none,
        },
        "events": {
            "trigger_spans_per_word": _number(0, 10),
            "argument_spans_per_word": _number(0, 10),
            "loss_weights?": {"trigger?": _number(0, 1000), "arguments?": _number(0, 1000)},
            "regularizer?": _none,
        },
    },
}
# The package takes these off before it makes the model; what they say is never looked at.
_LEFT_OUT = ("type", "embedder", "initializer", "module_initializer")


def safe_config(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what the package reads of a config.json, and nothing else of it.

    Raises:
        ForeignFileError: naming a setting that is unknown, missing or not of its form.
    """
    reader, model = (_mapping(content.get(name), name, path) for name in ("dataset_reader", "model"))
    needed = {name: reader.get(name) for name in _READER}
    indexer = _mapping(_mapping(needed["token_indexers"], "token_indexers", path).get("bert"), "bert", path)
    needed["token_indexers"] = {"bert": {name: indexer.get(name) for name in _LANGUAGE_MODEL}}
    embedders = _mapping(_mapping(model.get("embedder"), "embedder", path).get("token_embedders"), "embedder", path)
    embedder = _mapping(embedders.get("bert"), "embedder.token_embedders.bert", path)
    embedder = {name: embedder.get(name) for name in _LANGUAGE_MODEL}
    own = {name: value for name, value in model.items() if name not in _LEFT_OUT}
    for name, said, known in (
        ("dataset_reader", needed, _READER),
        ("model", own, _MODEL),
        ("model.embedder", embedder, _LANGUAGE_MODEL),
    ):
        _check(said, known, name, path)
    empty = dict.fromkeys(_LEFT_OUT[2:], {}) | {"type": "dygie", "embedder": {"token_embedders": {"bert": embedder}}}
    return {"dataset_reader": needed, "model": own | empty}


def _mapping(value: Any, name: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ForeignFileError(f"{path}: {name} must be a mapping; these are not RadGraph-XL's weights")
    return value


def _check(said: Any, known: dict[str, Any], name: str, path: Path) -> None:
    for key in _mapping(said, name, path):
        if key not in known and f"{key}?" not in known:
            raise ForeignFileError(f"{path}: unknown setting {name}.{key[:60]}; these are not RadGraph-XL's weights")
    for entry, form in known.items():
        key = entry.removesuffix("?")
        if key not in said:
            if key == entry:
                raise ForeignFileError(f"{path}: lacks {name}.{key}; these are not RadGraph-XL's weights")
        elif isinstance(form, dict):
            _check(said[key], form, f"{name}.{key}", path)
        elif not form(said[key]):
            raise ForeignFileError(f"{path}: {name}.{key} is not what RadGraph-XL's weights say; fetch them again")


def language_model_name(content: dict[str, Any], path: Path) -> str:
    """Return the name on the Hub of the language model that a config.json asks for; raises as `safe_config`."""
    return safe_config(content, path)["model"]["embedder"]["token_embedders"]["bert"]["model_name"]


@contextmanager
def safe_weights(path: Path, name: str) -> Iterator[Path]:
    """Give a folder `name` for the package, out of a folder of that name or an archive: checked, and known files only.

    It goes away with the block.

    Raises:
        ForeignFileError: naming the file, what is wrong and what to do.
    """
    with unpacked(path, name) as source, tempfile.TemporaryDirectory(prefix="argus-") as root:
        folder = Path(root) / name
        (folder / "vocabulary").mkdir(parents=True)
        config = safe_config(read_json_object(source / "config.json"), source / "config.json")
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        _copy_vocabulary(source / "vocabulary", folder / "vocabulary")
        if not (source / "weights.th").exists():
            raise ForeignFileError(f"{source}: has no weights.th; fetch the weights again")
        check_pickled(source / "weights.th")
        os.symlink((source / "weights.th").resolve(), folder / "weights.th")
        yield folder


def _copy_vocabulary(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise ForeignFileError(f"{source}: the vocabulary is missing; fetch the weights again")
    files = [file for file in source.iterdir() if not file.name.startswith(".")]
    if len(files) > MAX_VOCABULARY_FILES or not (source / "non_padded_namespaces.txt").exists():
        raise ForeignFileError(f"{source}: is not RadGraph-XL's vocabulary; fetch the weights again")
    for file in files:
        if not _VOCABULARY_NAME.fullmatch(file.name):
            raise ForeignFileError(f"{file}: is no file of RadGraph-XL's vocabulary; remove it")
        check_regular(file)
        read_bounded(file, MAX_VOCABULARY_BYTES)
        shutil.copyfile(file, target / file.name)
