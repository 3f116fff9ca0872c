"""Write the card of a model folder: `hub_cards/model_card.md` with what each part started from, and the later stages.

A tower that was never pretrained is named there, so that no model hides it.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from argus_processing.storage.foreign_files import read_bounded

CARDS, TEMPLATE, CARD = "argus_hub_cards", "model_card.md", "README.md"
MAX_BYTES = 1 << 20
RANDOM, PRETRAINED = "random weights", "pretrained"


def write_model_card(
    folder: Path,
    *,
    preset: str,
    tower: str,
    is_pretrained: bool,
    compressor: str,
    num_projector_layers: int,
    preprocessing: str,
    language_model: str,
    vision_tower: str,
    has_presets_size: bool,
) -> None:
    """Write `README.md` into a new model's folder.

    Where the language model or the tower has another size than the preset's, the preset is no title.
    """
    card = ModelCard.from_template(
        ModelCardData(library_name="transformers", pipeline_tag="image-text-to-text", tags=["medical", "ct", "3d"]),
        template_str=(files(CARDS) / TEMPLATE).read_text(encoding="utf-8"),
        title=preset if has_presets_size else f"Argus on the grid of {preset}",
        preset=preset if has_presets_size else f"{preset}, with a language model or a tower of another size",
        language_model=language_model,
        vision_tower=vision_tower,
        tower=tower,
        vision=PRETRAINED if is_pretrained else RANDOM,
        compressor=compressor.replace("_", " "),
        num_projector_layers=num_projector_layers,
        preprocessing="the Argus paper's" if preprocessing == "paper" or tower == "argus" else f"{tower}'s own",
    )
    (folder / CARD).write_text(str(card).rstrip("\n") + "\n", encoding="utf-8")


def continue_card(start: Path, folder: Path, stage: str, parts: Sequence[str]) -> None:
    """Write into a trained model's folder the card of the model that it started from, with a line for the stage.

    Without a card there, as in a folder of before, none is written.
    """
    if not (start / CARD).is_file():
        return
    card = read_bounded(start / CARD, MAX_BYTES).rstrip("\n")
    (folder / CARD).write_text(f"{card}\n| stage {stage} | trained {', '.join(parts)} |\n", encoding="utf-8")
