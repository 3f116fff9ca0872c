"""Define the fields of a training recipe: the model, the data, and the two stages (paper, section 5.1)."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from trl import SFTConfig

from argus_processing.storage.typed_json import to_json
from modeling_argus import ArgusForConditionalGeneration

# name in a recipe -> modules of the model
TRAINABLE_PARTS = {
    "vision": ("model.vision_tower",),
    "connector": ("model.connector",),
    "llm": ("model.language_model", "lm_head"),
}
# Layers of the language model that a stage may also name by themselves; beside adapters they train in full.
LANGUAGE_LAYERS = {"token_embeddings": ("model.language_model.embed_tokens",), "output_layer": ("lm_head",)}
STAGES = ("1", "2")
# Settings of a stage that are not the trainer's.
STAGE_SETTINGS = {"trainable_parts", "learning_rates", "epoch_decay"}


@dataclass
class RecipeArguments:
    """Settings of a recipe beside the trainer's own.

    Attributes:
        model_name_or_path: Argus model folder to start from, made by `argus create`.
        subset: subset of the ct3drrg data set: phantom, and the real sources where they are prepared.
        subset_options: further arguments of `load_dataset`, such as data_dir or num_train.
        stage: "1", "2", or "both" in one run.
        stage1: settings of the first stage that differ from the common ones, and its `trainable_parts`;
            `learning_rates` (part -> rate) where they differ from learning_rate, and `epoch_decay`, the factor on all
            rates after each epoch, in place of lr_scheduler_type.
        stage2: the same for the second stage.
        max_text_tokens: most tokens of prompt and report, beside the visual ones; longer texts are counted and cut.
        train_share: share of the training scans that is used, drawn with the trainer's seed; with the same seed, a
            smaller share is a part of a larger one.
        train_count: number of training scans that is used, in place of a share; drawn in the same way.
        global_batch_size: scans per step over all processes; gradients are accumulated to reach it.
        use_peft: train low-rank adapters in place of the language model, wherever a stage trains it.
        lora_r: rank of the adapters (paper, section 5.1, for 70B; so are the two below).
        lora_alpha: scale of the adapters times their rank.
        lora_dropout: dropout before the adapters.
        load_in_4bit: keep the language model under the adapters in 4 bits (QLoRA, arXiv 2305.14314).
        attn_implementation: "sdpa", "flash_attention_2" or another that transformers knows. Default: its own choice.
        volume_cache: folder of preprocessed volumes, filled during training or by `argus cache`. Default: no cache.
        feature_cache: folder of the vision tower's tokens; a stage that freezes the tower encodes each scan once,
            before its first step. All nodes must see the same folder. Default: no cache.
    """

    model_name_or_path: str
    subset: str = "phantom"
    subset_options: dict = field(default_factory=dict)
    stage: str = "both"
    stage1: dict = field(default_factory=lambda: {"trainable_parts": ["connector"]})
    stage2: dict = field(default_factory=lambda: {"trainable_parts": ["vision", "connector", "llm"]})
    max_text_tokens: int = 1024
    train_share: float = 1.0
    train_count: int | None = None
    global_batch_size: int | None = None
    use_peft: bool = False
    lora_r: int = 128
    lora_alpha: int = 64
    lora_dropout: float = 0.1
    load_in_4bit: bool = False
    attn_implementation: str | None = None
    volume_cache: str | None = None
    feature_cache: str | None = None

    def __post_init__(self):
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share is above 0 and at most 1, got {self.train_share}")
        if self.train_count is not None and (self.train_count < 1 or self.train_share != 1):
            raise ValueError(f"train_count is at least 1 and takes the place of train_share, got {self.train_count}")
        if self.load_in_4bit and not self.use_peft:
            raise ValueError("load_in_4bit needs use_peft: weights of 4 bits cannot be trained, adapters on them can")
        if self.stage not in (*STAGES, "both"):
            raise ValueError(f"stage is 1, 2 or both, got {self.stage!r}")
        for name in STAGES:
            check_stage_settings(name, self.settings_of(name))

    def settings_of(self, stage: str) -> dict[str, Any]:
        """Return the settings of stage "1" or "2"."""
        return self.stage1 if stage == "1" else self.stage2

    def deciding_settings(self, stage: str) -> dict[str, Any]:
        """Return the settings that decide the weights of stage "1" or "2", however the stages are divided into runs."""
        elsewhere = ("stage", "stage1", "stage2", "global_batch_size", "attn_implementation")
        own = {name: value for name, value in to_json(self).items() if name not in elsewhere}
        return own | {"trained": self.settings_of(stage)}

    def has_adapters(self, stage: str) -> bool:
        """Return whether stage "1" or "2" trains adapters on the language model."""
        return self.use_peft and "llm" in self.settings_of(stage)["trainable_parts"]

    def stages_to_run(self) -> tuple[str, ...]:
        """Return the stages of this run in order."""
        return STAGES if self.stage == "both" else (self.stage,)


def check_stage_settings(stage: str, settings: dict[str, Any]) -> None:
    """Check that a stage names only known parts and settings.

    Raises:
        ValueError: naming the stage, the unknown name and the known ones.
    """
    known_parts = TRAINABLE_PARTS | LANGUAGE_LAYERS
    parts = settings.get("trainable_parts", [])
    unknown = [part for part in parts if part not in known_parts]
    if unknown or not parts:
        raise ValueError(
            f"stage{stage}: trainable_parts is a list out of {', '.join(known_parts)}, got {parts or 'nothing'}"
        )
    known = {entry.name for entry in fields(SFTConfig)} | STAGE_SETTINGS
    misspelt = sorted(set(settings) - known)
    if misspelt:
        raise ValueError(f"stage{stage}: no such setting: {', '.join(misspelt)}")
    if uploads := sorted(name for name in settings if name == "push_to_hub" or name.startswith("hub_")):
        raise ValueError(f"stage{stage}: {uploads[0]} is a setting of the whole run, whose last model is uploaded")
    _check_rates(stage, parts, settings)


def _check_rates(stage: str, parts: list[str], settings: dict[str, Any]) -> None:
    rates, decay = settings.get("learning_rates", {}), settings.get("epoch_decay", 1.0)
    if unknown := [part for part in rates if part not in parts or part not in TRAINABLE_PARTS]:
        raise ValueError(f"stage{stage}: learning_rates names {unknown[0]!r}, no part out of {', '.join(parts)}")
    if not all(isinstance(rate, int | float) and rate > 0 for rate in rates.values()) or not 0 < decay <= 1:
        raise ValueError(f"stage{stage}: rates are numbers above 0 and epoch_decay is at most 1, got {rates}, {decay}")


def stage_config(common: SFTConfig, settings: dict[str, Any], output_dir: str) -> SFTConfig:
    """Return the trainer's settings for one stage: the common ones, overridden by the stage's own."""
    own = {key: value for key, value in settings.items() if key not in STAGE_SETTINGS}
    return replace(common, output_dir=output_dir, **own)


def accumulation_steps(global_batch_size: int, config: SFTConfig) -> int:
    """Return the number of accumulated batches of all processes that make one step of `global_batch_size` scans.

    Raises:
        ValueError: if that is not a whole number.
    """
    at_once = config.per_device_train_batch_size * config.world_size
    if global_batch_size % at_once:
        raise ValueError(
            f"global_batch_size {global_batch_size} is no multiple of {config.per_device_train_batch_size} scans a "
            f"device on {config.world_size} devices; change per_device_train_batch_size or the number of devices"
        )
    return global_batch_size // at_once


def set_trainable(model: ArgusForConditionalGeneration, parts: list[str]) -> int:
    """Freeze everything but the named parts; return the number of trained parameters.

    A part that shares a weight with a trained one (tied embeddings) stays trained.

    Raises:
        ValueError: if a part is unknown.
    """
    known = TRAINABLE_PARTS | LANGUAGE_LAYERS
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise ValueError(f"unknown part {unknown[0]!r}; known: {', '.join(known)}")
    model.requires_grad_(False)
    for part in parts:
        for name in known[part]:
            model.get_submodule(name).requires_grad_(True)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
