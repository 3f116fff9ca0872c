"""Write the card of a model folder or of a preset: `hub_cards/model_card.md` with its parts, trainings and results.

Nothing in it is written by hand: parts come from the configuration, trainings from the provenance, numbers from result
files. A tower that was never pretrained is named, so that no model hides it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData

import argus_training
from argus_processing.image_processing_argus import SETTINGS, ArgusImageProcessor
from argus_processing.instructions import INSTRUCTION
from argus_processing.publishing.publish_data import NOT_REDISTRIBUTABLE
from argus_processing.publishing.repository_names import repository_name
from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_config, load_image_processor
from argus_processing.saved_models.provenance import (
    PATIENTS,
    PHANTOM_REPORTS,
    RANDOM,
    LanguagePart,
    Provenance,
    TrainingRun,
    TrainingStage,
    describe_subset,
    read_provenance,
    write_provenance,
)
from argus_processing.storage.card_file import CARD, read_card
from argus_processing.storage.whole_files import write_text
from argus_processing.tower_preprocessing import preprocessing_settings
from modeling_argus import ArgusConfig, preset_config
from modeling_argus.connector_argus import ArgusConnector
from modeling_argus.presets_argus import preset_names

from .part_origins import BY_SIZE, LLAMA_LICENCES

CARDS, TEMPLATE = "argus_hub_cards", "model_card.md"
TAGS = ("medical", "ct", "3d", "radiology", "report-generation")
FIGURES = ("audit*.png", "evidence*.png")  # pictures beside the card that it shows
LLAMA = "llama"  # licences of Llama begin so
OWN_LICENCE = "apache-2.0"  # of Argus, and of weights that were made of nothing else
RECIPES = Path(argus_training.__file__).parent / "recipes"
# Language model of a preset, as the paper names it.
BASE_MODELS = {
    "3b": "meta-llama/Llama-3.2-3B-Instruct",
    "8b": "meta-llama/Llama-3.1-8B-Instruct",
    "70b": "meta-llama/Llama-3.1-70B-Instruct",
}


@dataclass(frozen=True)
class CardResults:
    """The results of one evaluation, as a card shows them.

    Attributes:
        heading: the data and the number of scans.
        table: scores beside their controls, in Markdown.
        controls: what the controls tell of a model that ignores the scan.
        signatures: one line for each metric: value, interval, implementation and settings.
        entries: the same for the card's metadata.
    """

    heading: str
    table: str
    controls: str
    signatures: tuple[str, ...]
    entries: tuple[EvalResult, ...]


@dataclass(frozen=True)
class CardCheck:
    """The results of an audit or of maps of evidence, as a card shows them.

    Attributes:
        heading: what was checked, and on which scans.
        told: the outcome in words, such as the verdict of an audit.
        table: measures with their intervals, in Markdown.
    """

    heading: str
    told: str
    table: str


@dataclass(frozen=True)
class CardSubject:
    """A model folder, or a preset before its training.

    Attributes:
        config: the model's configuration.
        pixels: settings of its preprocessing, as in `ArgusImageProcessor`.
        provenance: what is recorded of it; None for a folder of before.
        has_weights: False for a preset.
        figures: pictures beside the card.
    """

    config: ArgusConfig
    pixels: dict[str, Any]
    provenance: Provenance | None
    has_weights: bool = True
    figures: tuple[str, ...] = ()

    @property
    def language(self) -> LanguagePart | None:
        """Return what is recorded of the language model."""
        return self.provenance.language if self.provenance else None

    @property
    def licence(self) -> str:
        """Return the licence of the weights, as far as it follows from their parts; empty if it does not."""
        if self.language is None:
            return ""
        own = self.language.is_trained_here and self.provenance is not None and self.provenance.knows_only_phantoms
        return OWN_LICENCE if own else self.language.licence

    @property
    def licence_is_guessed(self) -> bool:
        """Return whether nothing but the language model's size tells its licence."""
        return bool(self.licence) and self.language is not None and self.language.licence_from == BY_SIZE

    @property
    def title(self) -> str:
        """Return the name of the model's repository; where a part has another size, the preset is no title."""
        preset = self.provenance.preset if self.provenance else ""
        if not preset or self.provenance is None:
            return "Argus"
        own = preset if self.provenance.has_presets_size else f"Argus on the grid of {preset}"
        if not self.licence.startswith(LLAMA):
            return own
        name = self.language.name if self.language else ""
        return repository_name(preset, name) if name and self.provenance.has_presets_size else f"Llama-{own}"


def write_model_card(folder: Path, config: ArgusConfig, image_processor: ArgusImageProcessor) -> None:
    """Write `README.md` into the folder of a model with this configuration and preprocessing."""
    write_text(folder / CARD, render_card(_subject(folder, config, image_processor)))


def continue_model(
    start: Path,
    folder: Path,
    record: tuple[TrainingStage, TrainingRun],
    config: ArgusConfig,
    image_processor: ArgusImageProcessor,
) -> None:
    """Write provenance and card of a trained model: those of the model that it started from, with one more training.

    A start without a provenance, as of before, gives none: what it knew is not told anywhere. Its card goes along.
    """
    provenance, stage = read_provenance(start), record[0]
    if provenance is not None:
        write_provenance(folder, provenance.with_stage(*record))
        write_model_card(folder, config, image_processor)
    elif (start / CARD).is_file():
        card = read_card(start).rstrip("\n")
        write_text(folder / CARD, f"{card}\n| {stage.name} | trained {', '.join(stage.parts)} |\n")


def model_subject(folder: Path) -> CardSubject:
    """Return what a saved model's card is about.

    Raises:
        FileNotFoundError, ForeignFileError: if the folder holds no model, or its files are damaged.
    """
    return _subject(folder, load_config(folder, REPORT_WRITER), load_image_processor(folder))


def _subject(folder: Path, config: ArgusConfig, image_processor: ArgusImageProcessor) -> CardSubject:
    figures = tuple(path.name for pattern in FIGURES for path in sorted(folder.glob(pattern)))
    return CardSubject(config, _settings_of(image_processor), read_provenance(folder), figures=figures)


def preset_subject(preset: str) -> CardSubject:
    """Return what the card of a preset is about, before anything is trained.

    Raises:
        ValueError: if there is no such preset.
    """
    size, config = preset_names(preset)[0], preset_config(preset)
    language = LanguagePart("llama", 0, BASE_MODELS.get(size, ""), LLAMA_LICENCES.get(size, ""), "the preset")
    provenance = Provenance(language=language, preset=preset, has_presets_size=True, preprocessing="paper")
    image_processor = ArgusImageProcessor(**preprocessing_settings("argus", config.get_vision_config().image_size))
    return CardSubject(config, _settings_of(image_processor), provenance, has_weights=False)


def _settings_of(image_processor: ArgusImageProcessor) -> dict[str, Any]:
    return {name: getattr(image_processor, name) for name in SETTINGS}


def render_card(
    subject: CardSubject,
    results: Sequence[CardResults] = (),
    name: str | None = None,
    checks: Sequence[CardCheck] = (),
) -> str:
    """Return the text of a card.

    Args:
        subject: what it is about.
        results: evaluations to show.
        name: folder or id on the Hub by which its examples load the model. Default: the preset's name.
        checks: audits and measures of evidence to show.
    """
    provenance = subject.provenance or Provenance()
    name = name or provenance.preset or "MODEL"
    is_repository = name.count("/") == 1 and not Path(name).is_dir()
    card = ModelCard.from_template(
        _metadata(subject, [entry for result in results for entry in result.entries]),
        template_str=(files(CARDS) / TEMPLATE).read_text(encoding="utf-8"),
        title=subject.title,
        parts=list(_parts(subject, provenance)),
        results=list(results),
        checks=list(checks),
        figures=[{"file": file, "caption": file.partition(".")[0].replace("_", " ")} for file in subject.figures],
        name=name,
        repository=name if is_repository else "",
        folder=name.partition("/")[2] if is_repository else name,
        instruction=json.dumps(INSTRUCTION),
        **_notices(subject, provenance),
        **_trainings(provenance),
    )
    return str(card).rstrip("\n") + "\n"


def _metadata(subject: CardSubject, entries: list[EvalResult]) -> ModelCardData:
    language = subject.language
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        language="en",
        license=None if subject.licence_is_guessed else subject.licence or None,
        # The Hub takes only its own ids.
        base_model=language.name if language is not None and "/" in language.name else None,
        tags=list(TAGS),
        model_name=subject.title if entries else None,
        eval_results=entries or None,
    )


def _notices(subject: CardSubject, provenance: Provenance) -> dict[str, Any]:
    """Return what decides the sentences that a card opens and ends with."""
    is_recorded = subject.provenance is not None
    is_llama = subject.licence.startswith(LLAMA)
    return {
        "has_weights": subject.has_weights,
        "is_recorded": is_recorded,
        "is_untrained": subject.has_weights and is_recorded and not provenance.trains("connector"),
        "vision_is_random": provenance.vision is not None and provenance.vision.weights == RANDOM,
        "knows_only_phantoms": provenance.knows_only_phantoms,
        "reports_of_phantoms": provenance.limits == PHANTOM_REPORTS,
        "llama": subject.licence.removeprefix(LLAMA) if is_llama else "",
        "licence_is_guessed": subject.licence_is_guessed,
        "language_licence_unknown": subject.has_weights and not subject.licence,
    }


def _trainings(provenance: Provenance) -> dict[str, Any]:
    """Return what a card tells of trainings and their data."""
    terms = [
        NOT_REDISTRIBUTABLE[subset.name]
        for subset in provenance.subsets
        if subset.kind == PATIENTS and subset.name in NOT_REDISTRIBUTABLE
    ]
    return {
        "stages": [_stage_row(stage) for stage in provenance.stages],
        "runs": list(map(_run_row, provenance.stages, provenance.runs)),
        "language_is_trained_here": provenance.language is not None and provenance.language.is_trained_here,
        "data_terms": terms,
        "recipe": _recipe_of(provenance.preset),
    }


def _recipe_of(preset: str) -> str:
    file = RECIPES / f"{preset.replace('-', '_')}.yaml"
    return f"training/recipes/{file.name}" if file.is_file() else ""


def _stage_row(stage: TrainingStage) -> dict[str, Any]:
    return {**vars(stage), "scans": ", ".join(map(describe_subset, stage.subsets))}


def _run_row(stage: TrainingStage, run: TrainingRun) -> dict[str, str]:
    versions = ", ".join(f"{name} {number}" for name, number in run.versions.items())
    return {"stage": stage.name, "hardware": run.hardware, "time": _duration(run.seconds), "versions": versions}


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not recorded"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _parts(subject: CardSubject, provenance: Provenance) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table of parts; a row about what is not recorded is left out."""
    config, vision_config = subject.config, subject.config.get_vision_config()
    if preset := provenance.preset:
        other = ", with a language model or a tower of another size"
        yield "preset", preset if provenance.has_presets_size else f"{preset}{other}"
    yield "grid", f"{_by(vision_config.image_size)} voxels (D, H, W) in patches of {_by(vision_config.patch_size)}"
    read = num_visual_tokens(config)
    yield "visual tokens", f"{vision_config.num_tokens:,} of the tower, {read:,} read with the text"
    tower = provenance.vision.tower if provenance.vision else ""
    if provenance.preprocessing:
        said = {
            "own": f"{tower}'s own",
            "paper": "the Argus paper's",
            "body": "the Argus paper's after a crop to the body",
        }
        yield "preprocessing", said[provenance.preprocessing]
    yield "pixels", _pixels(subject.pixels)
    if vision := provenance.vision:
        source = f", {vision.source}" if vision.source else ""
        yield f"vision tower ({vision.tower})", f"{vision.weights}{source}"
        yield "size of the vision tower", f"width {vision.hidden_size}, {vision.num_parameters:,} parameters"
    layers = f"{config.num_projector_layers} linear layer{'s' if config.num_projector_layers > 1 else ''}"
    start = f"{RANDOM}: " if subject.has_weights else ""
    yield "connector", f"{start}{config.compressor.replace('_', ' ')}, {layers}"
    if language := provenance.language:
        yield from _language_rows(language, subject.has_weights)


def _language_rows(language: LanguagePart, has_weights: bool) -> Iterator[tuple[str, str]]:
    size = f"{language.model_type}, {language.num_parameters:,} parameters"
    named = f"{language.name}, {size}" if language.name else size
    if not has_weights:
        named = language.name or "a tiny Llama, trained from random weights on the reports"
    yield "language model", f"as given to `argus create`: {named}" if has_weights else named
    if language.is_trained_here:
        yield "its origin", "trained by Argus from random weights, on reports alone"
    if language.licence_from == BY_SIZE:
        yield "its licence", f"not recorded; {BY_SIZE} are those of a Llama under {language.licence}"
    elif language.licence:
        yield "its licence", f"{language.licence}, by {language.licence_from}"


def num_visual_tokens(config: ArgusConfig) -> int:
    """Return the number of visual tokens that the language model reads."""
    with torch.device("meta"):
        return ArgusConnector(config).num_tokens


def _by(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:g}" for side in sides)


def _pixels(pixels: dict[str, Any]) -> str:
    spacing = f"to {_by(pixels['target_spacing_mm'])} mm"
    steps = {
        "paper": f"{spacing}, then to the grid",
        "direct": "straight to the grid",
        "crop_or_pad": f"{spacing}, then cropped or padded to the grid",
    }
    low, high = pixels["hu_window"]
    window = "the scan's own range of HU" if pixels["normalization"] == "min_max" else f"{low:g} to {high:g} HU"
    first, last = pixels["value_range"]
    crop = "" if pixels["crop"] == "none" else f"cropped to the {pixels['crop']}, "
    return f"{window}, {crop}linear {steps[pixels['resampling']]}, scaled to {first:g} to {last:g}"
