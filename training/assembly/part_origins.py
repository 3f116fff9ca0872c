"""Describe the parts that a model folder is assembled from: their size, where their weights come from, their licence.

A vision tower or a language model that Argus trained brings the record of its trainings along.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, try_to_load_from_cache
from transformers import PreTrainedConfig

from argus_processing.saved_models.provenance import (
    NOT_RECORDED,
    PRETRAINED,
    RANDOM,
    LanguagePart,
    Provenance,
    VisionPart,
    read_provenance,
    recordable,
)
from argus_processing.storage.card_file import CARD, read_card
from argus_processing.storage.foreign_files import ForeignFileError
from modeling_argus.presets_argus import TEXT_PRESETS
from modeling_argus.vision_towers_argus import VisionTower

# Size of a preset -> the licence of the Llama of that size, as the Hub names it.
LLAMA_LICENCES = {"3b": "llama3.2", "8b": "llama3.1", "70b": "llama3.1"}
# Of the Llama of these sizes before, which has no scaled positions.
LLAMA_3, LLAMA_3_SIZES = "llama3", ("8b", "70b")
BY_SIZE = "its size and vocabulary"  # a guess: other models are made from a Llama, under terms of their own
_LICENCE = re.compile(r"[\w.-]{1,40}", re.ASCII)
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)", re.ASCII)  # the Hub's cache names a model's folder so
_PUBLISHED = re.compile(r"(meta-)?llama-[\w.-]{1,80}", re.ASCII | re.IGNORECASE)


def assembled_from(
    preset: str,
    *,
    tower_name: str,
    vision_tower: VisionTower,
    vision: str | os.PathLike | None,
    language_config: PreTrainedConfig,
    num_language_parameters: int,
    llm: str | os.PathLike,
    preprocessing: str,
    has_presets_size: bool,
) -> Provenance:
    """Return the provenance of a new model: that of its parts, joined; for the arguments see `create_model`."""
    seeing = tower_from(vision, vision_tower, tower_name)
    writing = _found(llm)
    told = writing.language if writing and writing.language else None
    earlier = writing or Provenance()
    return Provenance(
        vision=seeing.vision,
        language=told or language_part(language_config, num_language_parameters, llm),
        preset=preset,
        has_presets_size=has_presets_size,
        preprocessing="paper" if preprocessing == "own" and tower_name == "argus" else preprocessing,
        stages=(*earlier.stages, *seeing.stages),
        runs=(*earlier.runs, *seeing.runs),
    )


def tower_from(start: str | os.PathLike | None, tower: VisionTower, name: str, weights: str = "") -> Provenance:
    """Return the provenance of a vision tower that starts from a folder, or from random weights if there is none.

    Args:
        start: folder that its weights come from.
        tower: the tower itself, for its size.
        name: system that it comes from.
        weights: its weights in the model or folder that is made. Default: as the start says.
    """
    found = _found(start)
    if start is None:
        source, own = "", RANDOM
    else:
        source, own = (found.vision.source if found and found.vision else NOT_RECORDED), PRETRAINED
    part = vision_part(tower, name, weights or own, source)
    earlier = found or Provenance()
    return Provenance(vision=part, stages=earlier.stages, runs=earlier.runs)


def vision_part(tower: VisionTower, name: str, weights: str, source: str = "") -> VisionPart:
    """Describe a vision tower by its size and the origin of its weights."""
    return VisionPart(name, weights, tower.config.hidden_size, tower.num_parameters(), source)


def language_part(config: PreTrainedConfig, num_parameters: int, llm: str | os.PathLike) -> LanguagePart:
    """Describe a language model by its size, its name on the Hub and its licence, as far as its folder tells them."""
    licence, licence_from = _licence_in_card(llm), "its card"
    if not licence:
        licence, licence_from = _licence_by_size(config), BY_SIZE
    return LanguagePart(
        model_type=config.model_type,
        num_parameters=num_parameters,
        name=public_name(llm),
        licence=licence,
        licence_from=licence_from if licence else "",
    )


def public_name(llm: str | os.PathLike) -> str:
    """Return a language model's name on the Hub; empty if its folder is named as only its owner knows.

    A name in a folder's path is taken if the Hub's cache wrote it, or if it is one of Llama's.
    """
    path = Path(llm)
    if not path.is_dir():
        return recordable(str(llm))
    if cached := _CACHED.search(str(path.absolute())):
        return f"{cached[1]}/{cached[2]}"
    return path.name if _PUBLISHED.fullmatch(path.name) else ""


def _found(folder: str | os.PathLike | None) -> Provenance | None:
    return read_provenance(Path(folder)) if folder is not None and Path(folder).is_dir() else None


def _licence_in_card(llm: str | os.PathLike) -> str:
    """Return the licence that a model's card names, read from its folder or from the Hub's cache."""
    path: Any = Path(llm) / CARD
    if not Path(llm).is_dir():
        path = try_to_load_from_cache(str(llm), CARD)
    if not isinstance(path, str | Path) or not Path(path).is_file():
        return ""
    try:
        card = read_card(Path(path).parent)
        # Without metadata, ModelCard would print a warning.
        data: Any = ModelCard(card, ignore_metadata_errors=True).data if card.lstrip().startswith("---") else {}
    except (ForeignFileError, ValueError, TypeError, RecursionError, yaml.YAMLError):
        return ""
    said = data.get("license_name") or data.get("license")
    return said if isinstance(said, str) and _LICENCE.fullmatch(said) else ""


def _licence_by_size(config: PreTrainedConfig) -> str:
    for size, licence in LLAMA_LICENCES.items():
        own = TEXT_PRESETS[size]
        names = ("vocab_size", "hidden_size", "num_hidden_layers")
        if config.model_type == "llama" and all(getattr(config, name) == own[name] for name in names):
            scaled = (getattr(config, "rope_parameters", None) or {}).get("rope_type") == "llama3"
            return licence if scaled or size not in LLAMA_3_SIZES else LLAMA_3
    return ""
