"""Check RadGraph's weights, so that its package gets only known settings.

The package passes every entry of a model's config.json to a constructor, and one such entry, `regularizer`, can name
any class, which is then imported and called. So the package gets a new folder with a newly written config.json.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from argus_processing.saved_models.setting_forms import (
    LEFT_OUT,
    Form,
    list_of,
    number,
    printable,
    shown,
    text,
    whole,
    word,
)
from argus_processing.saved_models.weight_files import check_pickled
from argus_processing.storage.foreign_files import ForeignFileError, read_bounded, read_json_object
from argus_processing.storage.part_files import private_folder

from .clinical_weights import unpacked

_HUB_NAME = re.compile(r"(?!.*\.\.)[\w.-]{1,100}(/[\w.-]{1,100})?")
_VOCABULARY_NAME = re.compile(r"[\w*-]{1,80}\.txt")
MAX_VOCABULARY_FILES = 64
MAX_VOCABULARY_BYTES = 4 << 20
MAX_LABELS = 100_000  # in all files together; each label is a row of weights

_SHARE, _WEIGHT = number(0, 1), number(0, 1000)
_HUB_ID = Form("a name on the Hub", lambda value: isinstance(value, str) and _HUB_NAME.fullmatch(value) is not None)
_LANGUAGE_MODEL = {"model_name": _HUB_ID, "max_length": whole(8, 4096)}
_TASKS = ("ner", "relation", "coref", "events")
# Settings in the published model's config.json that the package reads, with their allowed values; "?" marks optional
# ones. The bounds are a few times the published values: memory grows with the number of spans, and with the square of
# the number of spans that are kept.
_READER = {"max_span_width": whole(1, 24), "token_indexers": {"bert": _LANGUAGE_MODEL}}
_MODEL = {
    "feature_size": whole(1, 256),
    "max_span_width": whole(1, 24),
    "target_task": word(*_TASKS),
    "display_metrics?": list_of(text(64), 0, 64).or_none(),
    "regularizer?": LEFT_OUT,
    "feedforward_params": {"num_layers": whole(1, 4), "hidden_dims": whole(1, 1024), "dropout": _SHARE},
    "loss_weights": {f"{task}?": _WEIGHT for task in _TASKS},
    "modules": {
        "ner": {"regularizer?": LEFT_OUT},
        "coref": {
            "spans_per_word": _SHARE,
            "max_antecedents": whole(1, 500),
            "coref_prop?": whole(0, 10),
            "coref_prop_dropout_f?": _SHARE,
            "regularizer?": LEFT_OUT,
        },
        "relation": {
            "spans_per_word": _SHARE,
            "positive_label_weight?": _WEIGHT,
            "regularizer?": LEFT_OUT,
        },
        "events": {
            "trigger_spans_per_word": _SHARE,
            "argument_spans_per_word": _SHARE,
            "loss_weights?": {"trigger?": _WEIGHT, "arguments?": _WEIGHT},
            "regularizer?": LEFT_OUT,
        },
    },
}
# The package removes these before it makes the model, so their values have no effect.
_LEFT_OUT = ("type", "embedder", "initializer", "module_initializer")


def safe_config(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return only those settings of a config.json that the package reads.

    Raises:
        ForeignFileError: if a setting is unknown, missing or not allowed; the message names it.
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
    empty: dict[str, Any] = dict.fromkeys(_LEFT_OUT[2:], {}) | {
        "type": "dygie",
        "embedder": {"token_embedders": {"bert": embedder}},
    }
    return {"dataset_reader": needed, "model": own | empty}


def _mapping(value: Any, name: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ForeignFileError(f"{path}: {name} must be a mapping; these are not RadGraph-XL's weights")
    return value


def _check(said: Any, known: dict[str, Any], name: str, path: Path) -> None:
    for key in _mapping(said, name, path):
        if key not in known and f"{key}?" not in known:
            raise ForeignFileError(
                f"{path}: unknown setting {name}.{printable(key)}; these are not RadGraph-XL's weights"
            )
    for entry, form in known.items():
        key = entry.removesuffix("?")
        if key not in said:
            if key == entry:
                raise ForeignFileError(f"{path}: lacks {name}.{key}; these are not RadGraph-XL's weights")
        elif isinstance(form, dict):
            _check(said[key], form, f"{name}.{key}", path)
        elif not form.accepts(said[key]):
            raise ForeignFileError(f"{path}: {name}.{key} must be {form.expected}, got {shown(said[key])}")


def language_model_name(content: dict[str, Any], path: Path) -> str:
    """Return the Hub name of the language model that a config.json asks for; raises the errors of `safe_config`."""
    return safe_config(content, path)["model"]["embedder"]["token_embedders"]["bert"]["model_name"]


@contextmanager
def safe_weights(path: Path, name: str) -> Iterator[Path]:
    """Yield a checked folder `name` for the package, with only known files, from a folder of that name or an archive.

    The folder is removed at the end of the block.

    Raises:
        ForeignFileError: if a check fails; the message names the file, what is wrong and what to do.
    """
    with unpacked(path, name) as source, private_folder() as root:
        folder = root / name
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
    num_labels = 0
    for file in files:
        if not _VOCABULARY_NAME.fullmatch(file.name):
            raise ForeignFileError(f"{source}: {printable(file.name)} is no file of a vocabulary; remove it")
        num_labels += 1 + read_bounded(file, MAX_VOCABULARY_BYTES).count("\n")
        if num_labels > MAX_LABELS:
            raise ForeignFileError(f"{source}: has more than {MAX_LABELS:,} labels; fetch the weights again")
        shutil.copyfile(file, target / file.name)
