"""Define the recipes of an ablation's cells: a whole training from language model to reports, or a preprocessing."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from transformers import LlamaConfig, TrainingArguments
from trl import SFTConfig

from argus_processing.ct3drrg import CT3DRRG
from argus_processing.curation.prepared_folder import SPLITS
from argus_processing.tower_preprocessing import PREPROCESSINGS
from argus_training.assembly.convert_weights import CONVERTERS
from argus_training.assembly.create import DTYPES, create_model
from argus_training.pretrain import PretrainArguments
from argus_training.stages.recipe import RecipeArguments
from modeling_argus import TOWERS, preset_vision_config
from modeling_argus.connector_argus import COMPRESSORS
from modeling_argus.presets_argus import preset_names

# The driver sets these from folders, seeds and the rest of the recipe.
DRIVEN = {
    "output_dir",
    "out",
    "llm",
    "vision",
    "seed",
    "preset",
    "objective",
    "start_from",
    "model_name_or_path",
    "subset",
    "subset_options",
}
DATA_KEYS = {"subset", "subset_options"}
EVALUATION_KEYS = {
    "split",
    "limit",
    "instruction",
    "batch_size",
    "max_new_tokens",
    "device_map",
    "subsets",
    "clinical",
    "clinical_models",
    "clinical_download",
    "floors",
    "floor_scans",
}
TEXT_MODEL = "text_model"
GRID = {"model_type", "image_size", "patch_size"}  # of a tower: the preset's
SUBSETS = tuple(config.name for config in CT3DRRG.BUILDER_CONFIGS)
# setting of `create` -> its values; None stands for the tower's own
CREATE_CHOICES: dict[str, Sequence[str | None]] = {
    "tower": tuple(TOWERS),
    "compressor": (None, *COMPRESSORS),
    "preprocessing": PREPROCESSINGS,
    "dtype": DTYPES,
}


def names_of(dataclass_type: type) -> set[str]:
    """Return the names of a dataclass's fields."""
    return {entry.name for entry in fields(dataclass_type)}


def divide_settings(settings: dict[str, Any], arguments: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split settings into those of a recipe's dataclass and those of the trainer."""
    names = names_of(arguments)
    own = {key: value for key, value in settings.items() if key in names}
    return own, {key: value for key, value in settings.items() if key not in names}


@dataclass
class ReportRecipe:
    """A training run from nothing to a scored report writer.

    Attributes:
        data: `subset` of ct3drrg, and `subset_options`.
        preset: size and resolution of the vision tower.
        llm: one of `llms`, whose entries hold `path` (a folder or id) or `train` (settings of a tiny Llama's training;
            in it, `text_model` changes the Llama's sizes, and `data` names other data than the recipe's: phantoms
            with known findings, which it reads as keywords).
        vision: objectives that pretrain the tower, one after the other, each with its settings in `objectives` (a file
            name there means the settings in that file; `vision` in them holds the tower's own, but not its grid); an
            empty list for random weights; the folder of a pretrained tower, in which {resolution} stands for nr or hr;
            or the published weights of a baseline, such as `{convert: m3d, checkpoint: FILE}`.
        create: further arguments of `create_model`: tower, compressor, num_projector_layers, preprocessing, dtype.
        sft: settings of the two stages, as in a recipe of `training/sft.py`.
        trainer: the trainer's settings that all trainings share.
        evaluation: `split`, `limit` (first scans only), `instruction`, `batch_size`, `max_new_tokens`, `device_map`
            ("auto" for a model that one GPU cannot hold); `subsets`, which
            are evaluated apart (default: the one that is trained on); `clinical`, keys of the clinical metrics, with
            `clinical_models` and `clinical_download`, `floors` and `floor_scans`, as in `argus evaluate`.

    Raises:
        ValueError: if a key is unknown, a name is not in its table, or a value has another form.
    """

    data: dict[str, Any]
    preset: str
    llm: str
    vision: list[str] | str | dict[str, str]
    sft: dict[str, Any]
    llms: dict[str, dict] = field(default_factory=dict)
    objectives: dict[str, dict] = field(default_factory=dict)
    create: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self._check_forms()
        check_names("data", self.data, DATA_KEYS)
        check_choice("data.subset", self.data.get("subset"), SUBSETS)
        check_names("evaluation", self.evaluation, EVALUATION_KEYS)
        self._check_evaluation()
        preset_names(self.preset)
        for name, known in CREATE_CHOICES.items():
            check_choice(f"create.{name}", self.create.get(name, known[0]), known)
        check_names("trainer", self.trainer, names_of(TrainingArguments) - DRIVEN)
        check_names("create", self.create, set(inspect.signature(create_model).parameters) - DRIVEN)
        check_names("sft", self.sft, (names_of(SFTConfig) | names_of(RecipeArguments)) - DRIVEN)
        own, _ = divide_settings(self.sft, RecipeArguments)
        RecipeArguments(model_name_or_path="", **own)
        if self.llm not in self.llms:
            raise ValueError(f"llm: unknown {self.llm!r}; known: {', '.join(self.llms)}")
        self._check_llm(self.llms[self.llm])
        for name in self.vision if isinstance(self.vision, list) else []:
            if name not in self.objectives:
                raise ValueError(f"vision: unknown objective {name!r}; known: {', '.join(self.objectives)}")
            self._check_objective(name, self.objectives[name])
        if isinstance(self.vision, dict):
            self._check_published(self.vision)

    def _check_forms(self) -> None:
        for name in ("data", "sft", "llms", "objectives", "create", "trainer", "evaluation"):
            check_mapping(name, getattr(self, name))
        for table in ("llms", "objectives"):
            for name, entry in getattr(self, table).items():
                check_mapping(f"{table}.{name}", entry)
        check_mapping("data.subset_options", self.data.get("subset_options", {}))
        is_list = isinstance(self.vision, list) and all(isinstance(name, str) for name in self.vision)
        if not is_list and not isinstance(self.vision, str | dict):
            raise ValueError(f"vision: expected objectives, a folder, or weights to convert, got {self.vision!r}")

    def _check_evaluation(self) -> None:
        """Check the values that would fail only when everything is trained."""
        evaluation = self.evaluation
        check_choice("evaluation.split", evaluation.get("split", "test"), SPLITS)
        check_choice("evaluation.device_map", evaluation.get("device_map"), (None, "auto"))
        for name in ("subsets", "clinical", "floors"):
            names = evaluation.get(name, [])
            if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
                raise ValueError(f"evaluation.{name}: expected a list of names, got {names!r}")
        for subset in evaluation.get("subsets", ()):
            check_choice("evaluation.subsets", subset, SUBSETS)
        for name in ("limit", "batch_size", "max_new_tokens", "floor_scans"):
            if type(number := evaluation.get(name, 1)) is not int or number < 1:
                raise ValueError(f"evaluation.{name}: expected a whole number from 1, got {number!r}")

    def _check_objective(self, name: str, settings: dict[str, Any]) -> None:
        known = (names_of(PretrainArguments) | names_of(TrainingArguments)) - DRIVEN | {"vision"}
        check_names(f"objectives.{name}", settings, known)
        tower = set(preset_vision_config(self.preset).to_dict()) - GRID
        check_mapping(f"objectives.{name}.vision", settings.get("vision", {}))
        check_names(f"objectives.{name}.vision", settings.get("vision", {}), tower)

    def _check_published(self, vision: dict[str, str]) -> None:
        check_names("vision", vision, {"convert", "checkpoint"})
        system, tower = vision.get("convert"), self.create.get("tower", "argus")
        if system not in CONVERTERS or not vision.get("checkpoint"):
            raise ValueError(f"vision: convert is one of {', '.join(CONVERTERS)}, with a checkpoint; got {vision}")
        if system != tower:
            raise ValueError(f"vision: weights of {system} do not fit the tower {tower}")

    def _check_llm(self, llm: dict[str, Any]) -> None:
        check_names(f"llms.{self.llm}", llm, {"path", "train"})
        if len(llm) != 1:
            raise ValueError(f"llms.{self.llm}: give either path or train")
        if not isinstance(llm.get("path", ""), str):
            raise ValueError(f"llms.{self.llm}.path: expected a folder or an id, got {llm['path']!r}")
        training = llm.get("train", {})
        check_names(f"llms.{self.llm}.train", training, names_of(SFTConfig) - DRIVEN | {TEXT_MODEL, "data"})
        check_names(f"llms.{self.llm}.train.data", training.get("data", {}), DATA_KEYS)
        sizes = set(inspect.signature(LlamaConfig).parameters)
        check_names(f"llms.{self.llm}.train.{TEXT_MODEL}", training.get(TEXT_MODEL, {}), sizes)


@dataclass
class NodulesRecipe:
    """Measurement of preprocessing on spheres of known size in a synthetic lung; nothing is trained.

    Attributes:
        image_size: grid (D, H, W) of the image processor.
        resampling: its resampling, "paper" or "direct".
        diameter_mm: diameter of every sphere.
        scan_shape, spacing_mm: shape and spacing of the scan, (D, H, W).
        lung_hu, nodule_hu: HU of the two materials.
        noise_hu: standard deviation of the scan's white noise.
        num_nodules: spheres in the scan, each at a random place between the voxels.
    """

    image_size: list[int]
    resampling: str
    diameter_mm: float
    scan_shape: list[int]
    spacing_mm: list[float]
    lung_hu: float = -850.0
    nodule_hu: float = 30.0
    noise_hu: float = 30.0
    num_nodules: int = 64

    def __post_init__(self):
        if min(*self.image_size, *self.scan_shape, *self.spacing_mm, self.diameter_mm, self.num_nodules) <= 0:
            raise ValueError("sizes, spacing, diameter and number of nodules are above 0")


# kind of a grid -> recipe of its cells
RECIPES = {"reports": ReportRecipe, "nodules": NodulesRecipe}


def check_mapping(where: str, value: Any) -> None:
    """Check that a value is a mapping.

    Raises:
        ValueError: naming `where` and the value.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a mapping of names to settings, got {value!r}")


def check_choice(where: str, value: Any, known: Sequence[Any]) -> None:
    """Check that a value is one of those known.

    Raises:
        ValueError: naming `where`, the value and the known ones.
    """
    if value not in known:
        raise ValueError(f"{where}: unknown {value!r}; known: {', '.join(map(str, known))}")


def check_names(where: str, settings: dict[str, Any], known: set[str]) -> None:
    """Check that all settings are known.

    Raises:
        ValueError: naming `where`, the unknown settings, and the known ones if they are few.
    """
    unknown = sorted(set(settings) - known)
    if unknown:
        hint = f"; known: {', '.join(sorted(known))}" if len(known) < 20 else ""
        raise ValueError(f"{where}: no such setting: {', '.join(unknown)}{hint}")
