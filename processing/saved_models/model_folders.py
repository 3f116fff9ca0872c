"""Check model folders that somebody else may have made, before transformers reads them.

Nothing in a folder is run: no code of its own, no pickle, no kernel of the Hub. Every refusal is one line, and comes
before anything of the model's size is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
)
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from ..storage.foreign_files import ForeignFileError, check_regular, read_json_object, values_of
from .config_limits import check_values
from .missing_models import missing_model
from .tokenizer_files import check_tokenizer_file
from .weight_files import weight_files

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer.json"
OWN_CODE_ADVICE = "--trust-remote-code (trust_remote_code: true in a recipe) runs it, if you trust who made it"
MAX_ENTRIES = 10_000
# Limit for vocabularies and similar files; Gemma's tokenizer.json has 33 MB.
MAX_TEXT_BYTES, MAX_TEMPLATE_BYTES = 256 << 20, 1 << 20
# The code files in an Argus folder; if Argus is installed, its own classes are used instead.
SHIPPED_CODE = (
    "configuration_argus",
    "modeling_argus",
    "processing_argus",
    "image_processing_argus",
    "configuration_vision_argus",
    "vision_argus",
    "vision_m3d_argus",
    "vision_radfm_argus",
    "vision_ct2rep_argus",
)


@dataclass(frozen=True)
class ModelKind:
    """The kind of model that a folder must hold.

    Attributes:
        name: name in messages.
        accepts: whether a `model_type` is of this kind.
        of_argus: its classes are Argus's, and its files may name only Argus's code.
        pickled: whether torch's own format is read too, only as tensors.
    """

    name: str
    accepts: Callable[[str], bool]
    of_argus: bool = False
    pickled: bool = False


def _is_tower(model_type: str) -> bool:
    return (
        model_type in CONFIG_MAPPING
        and getattr(CONFIG_MAPPING[model_type], "base_config_key", "") == ("vision_config")
        and not CONFIG_MAPPING[model_type].__module__.startswith("transformers.")
    )


REPORT_WRITER = ModelKind("a saved Argus model", lambda name: name == "argus", of_argus=True)
VISION_TOWER = ModelKind("a vision tower of Argus", _is_tower, of_argus=True)
LANGUAGE_MODEL = ModelKind(
    "a decoder that transformers knows", MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.__contains__, pickled=True
)
# All text encoders have a masked-language class; among all models some download a part from the Hub.
TEXT_ENCODER = ModelKind(
    "a text encoder that transformers knows", MODEL_FOR_MASKED_LM_MAPPING_NAMES.__contains__, pickled=True
)
TAGGER = ModelKind(
    "a tagger that transformers knows", MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES.__contains__, pickled=True
)


def check_model(folder: Path, kind: ModelKind, trust: bool = False) -> list[Path]:
    """Check everything in a model folder that is read when it is loaded; return the files of its weights.

    Args:
        folder: folder of the model.
        kind: kind of model that it must hold.
        trust: whether its own code may run; its sizes and files are checked in any case.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ForeignFileError: naming the file, what is wrong and what to do.
    """
    check_entries(folder)
    check_configuration(folder, kind, trust)
    return weight_files(folder, pickled=kind.pickled)


def check_entries(folder: Path) -> None:
    """Check that a folder holds only files and folders: reading a pipe or a device could wait or run for ever.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ForeignFileError: naming the other entry.
    """
    if not folder.is_dir():
        raise missing_model(folder)
    for count, path in enumerate(folder.iterdir(), start=1):
        if count > MAX_ENTRIES:
            raise ForeignFileError(f"{folder}: holds more than {MAX_ENTRIES:,} files; give the folder of one model")
        if path.exists() and not path.is_dir():
            size = check_regular(path)
            most = MAX_TEMPLATE_BYTES if path.suffix == ".jinja" else MAX_TEXT_BYTES
            if path.suffix in (".json", ".txt", ".jinja", ".model") and size > most:
                raise ForeignFileError(f"{path}: has {size:,} bytes, more than the {most:,} such a file can need")


def check_configuration(folder: Path, kind: ModelKind, trust: bool = False) -> dict[str, Any]:
    """Check a folder's configuration files; return the content of `config.json`.

    Raises:
        ForeignFileError: naming the file, what is wrong and what to do.
    """
    path = folder / CONFIG
    if not path.exists():
        raise ForeignFileError(f"{folder}: not {kind.name}, it has no {CONFIG}")
    if (folder / "adapter_config.json").exists():
        raise ForeignFileError(f"{folder}: holds adapters to another model (adapter_config.json); merge them first")
    config = read_json_object(path)
    if not trust:
        _check_types(path, config, kind)
    check_side_files(folder, kind.of_argus and not trust)
    check_tokenizer(folder, trust)
    return config


def check_side_files(folder: Path, of_argus: bool) -> None:
    """Check the values of every configuration file of a folder, and that Argus's folders name only Argus's code.

    Raises:
        ForeignFileError: naming the file and the setting.
    """
    for path in sorted(folder.glob("*config*.json")):
        content = read_json_object(path)
        check_values(path, content)
        # A language model's tokenizer may have its own map, which `check_tokenizer` checks.
        if of_argus and path.name != "tokenizer_config.json":
            _check_own_code(path, content)


def _check_own_code(path: Path, content: dict[str, Any]) -> None:
    for name, value in values_of(path, content):
        # The language model inside is loaded by transformers' own class; its map is not used.
        if name == "auto_map" or name.endswith(".auto_map") and not name.startswith("text_config"):
            named = value.values() if isinstance(value, dict) else [value]
            if any(not isinstance(code, str) or code.partition(".")[0] not in SHIPPED_CODE for code in named):
                raise ForeignFileError(f"{path}: {name} brings its own code, which is not run; {OWN_CODE_ADVICE}")


def _check_types(path: Path, config: dict[str, Any], kind: ModelKind) -> None:
    """Refuse models of another kind, and classes that only the folder's own code defines."""
    places = [("model_type", config.get("model_type"), kind)]
    if kind is REPORT_WRITER:
        for name, part in (("vision_config", VISION_TOWER), ("text_config", LANGUAGE_MODEL)):
            inner = config.get(name)
            if not isinstance(inner, dict):
                raise ForeignFileError(f"{path}: {name} must be a mapping; not {kind.name}")
            default = "argus_vision" if part is VISION_TOWER else "llama"
            places.append((f"{name}.model_type", inner.get("model_type", default), part))
    for name, value, part in places:
        if isinstance(value, str) and part.accepts(value):
            continue
        if isinstance(config.get("auto_map"), dict) and str(value) not in CONFIG_MAPPING:
            raise ForeignFileError(f"{path}: it brings its own code, which is not run; {OWN_CODE_ADVICE}")
        raise ForeignFileError(f"{path}: {name} {str(value)[:60]!r} is not {part.name}")


def check_tokenizer(folder: Path, trust: bool = False) -> None:
    """Refuse a tokenizer that is not a class of transformers, or whose steps make a text much longer.

    Raises:
        ForeignFileError: naming the file.
    """
    if (folder / TOKENIZER).exists():
        check_tokenizer_file(folder / TOKENIZER)
    path = folder / "tokenizer_config.json"
    content = read_json_object(path) if path.exists() else {}
    said = {path: content.get("tokenizer_class")}
    if (folder / CONFIG).exists():
        said[folder / CONFIG] = read_json_object(folder / CONFIG).get("tokenizer_class")
    known = False
    for place, name in said.items():
        if name is None:
            continue
        found = tokenizer_class_from_name(name) if isinstance(name, str) else None
        if found is not None and not (isinstance(found, type) and issubclass(found, PreTrainedTokenizerBase)):
            raise ForeignFileError(f"{place}: tokenizer_class {str(name)[:60]!r} is no tokenizer")
        known = known or found is not None
    own = content.get("auto_map")
    own = own.get("AutoTokenizer") if isinstance(own, dict) else own
    if own and not known and not trust:
        raise ForeignFileError(f"{path}: brings its own code, which is not run; {OWN_CODE_ADVICE}")


def check_processor(folder: Path, trust: bool = False) -> None:
    """Refuse preprocessing by other classes than Argus's own.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ForeignFileError: naming the file and the class.
    """
    check_entries(folder)
    check_side_files(folder, not trust)
    check_tokenizer(folder, trust)
    if trust:
        return
    found = False
    for name in ("processor_config.json", "preprocessor_config.json"):
        path = folder / name
        if not path.exists():
            continue
        content = read_json_object(path)
        inner = content.get("image_processor", content)
        kinds = (content.get("processor_class"), inner.get("image_processor_type") if isinstance(inner, dict) else 0)
        if any(
            kind not in (None, own) for kind, own in zip(kinds, ("ArgusProcessor", "ArgusImageProcessor"), strict=True)
        ):
            raise ForeignFileError(
                f"{path}: its classes are not Argus's, and its own code is not run; {OWN_CODE_ADVICE}"
            )
        found = found or "ArgusImageProcessor" in kinds
    if not found:
        raise ForeignFileError(f"{folder}: has no preprocessing of Argus (processor_config.json)")
