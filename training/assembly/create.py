"""Assemble an Argus model folder from a preset, a language model and, optionally, a pretrained vision tower."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from argus_processing import ArgusImageProcessor, ArgusProcessor
from argus_processing.chat_templates import chat_template_for
from argus_processing.saved_models.model_folders import LANGUAGE_MODEL, VISION_TOWER
from argus_processing.saved_models.pretrained import load_config, load_pretrained, load_tokenizer
from argus_processing.saved_models.provenance import write_provenance
from argus_processing.storage.claimed_folders import check_new_folder, whole_folder
from argus_processing.tower_preprocessing import preprocessing_settings
from argus_training.assembly.model_card import write_model_card
from argus_training.assembly.part_origins import assembled_from
from modeling_argus import ArgusConfig, ArgusForConditionalGeneration, preset_vision_config
from modeling_argus.connector_argus import ArgusConnector
from modeling_argus.presets_argus import TEXT_PRESETS, TOWER_COMPRESSORS, connector_settings, preset_names
from modeling_argus.vision_towers_argus import VisionTower, VolumeVisionConfig, tower_of

DTYPES = ("bfloat16", "float32")
_IMAGE_TOKENS = ("<|reserved_special_token_0|>", "<image>")
# File of a compressor's weights, beside the weights of the tower that it was trained with.
COMPRESSOR_FILE = "compressor.safetensors"
_PAD_TOKENS = ("<|finetune_right_pad_id|>", "<|endoftext|>")


def create_model(
    preset: str,
    out: str | os.PathLike,
    llm: str | os.PathLike,
    vision: str | os.PathLike | None = None,
    seed: int = 0,
    dtype: str = "bfloat16",
    tower: str = "argus",
    compressor: str | None = None,
    num_projector_layers: int | None = None,
    num_latents: int | None = None,
    preprocessing: str = "own",
    image_size: Sequence[int] | None = None,
    trust_remote_code: bool = False,
) -> Path:
    """Write a model folder that the Auto classes load: weights, configuration, processor and the code.

    Args:
        preset: name of a size and resolution, such as "argus-8b-hr"; it sets the vision tower and the grid.
        out: folder to write, whole or not at all; must not hold anything yet.
        llm: folder or id of an instruct decoder, weights kept as they are.
        vision: folder of a pretrained tower, whose record goes along. Default: random weights, which the model's card
            tells. A compressor that was converted with the tower is used too, unless another one is named.
        seed: seed of the random weights.
        dtype: type of all weights, such as "bfloat16" or "float32".
        tower: name of the system whose vision tower, preprocessing and compressor are used.
        compressor: name in `COMPRESSORS`. Default: the tower's own.
        num_projector_layers: 1 or 2. Default: as many as in the tower's own system.
        num_latents: visual tokens of the compressor "perceiver". Default: the preset's number.
        preprocessing: "own", as in the tower's own system, "paper", as the Argus paper does to every scan, or
            "body", the same after a crop to the body.
        image_size: voxels of the grid as (depth, height, width). Default: the preset's for the tower.
        trust_remote_code: run code that comes with the language model or its tokenizer.

    Raises:
        FileNotFoundError: if a folder is not there.
        ValueError: if a name is unknown, the folder is taken, the tokenizer has no known chat marks, or a folder's
            files are damaged or bring code.
    """
    folder = check_new_folder(Path(out))
    if dtype not in DTYPES:
        raise ValueError(f"dtype is bfloat16 or float32, got {dtype!r}")
    vision_config = preset_vision_config(preset, tower, image_size)
    connector = _connector(preset, tower, compressor, num_projector_layers, num_latents)
    pixels = preprocessing_settings(tower, vision_config.image_size, preprocessing)
    language_model = load_pretrained(AutoModelForCausalLM, llm, LANGUAGE_MODEL, trust=trust_remote_code, dtype=dtype)
    tokenizer = load_tokenizer(llm, trust=trust_remote_code)
    processor = _processor(tokenizer, ArgusImageProcessor(**pixels))
    # Some tokenizers have a padding token for which the model has no embedding.
    used = [token for token in (processor.image_token_id, *tokenizer.all_special_ids) if token is not None]
    if max(used) >= language_model.config.vocab_size:
        language_model.resize_token_embeddings(len(tokenizer))
    num_parameters = language_model.num_parameters()
    set_seed(seed)
    vision_tower = _vision_tower(vision, vision_config).to(language_model.dtype)
    model = assemble(vision_tower, language_model, processor.image_token_id, **connector)
    if compressor in (None, TOWER_COMPRESSORS[tower]):
        _load_compressor(vision, model.model.connector)
    processor.num_image_tokens = model.model.connector.num_tokens
    _stop_on(model, language_model, tokenizer)
    with whole_folder(folder) as part:
        model.save_pretrained(part)
        processor.save_pretrained(part)
        write_provenance(
            part,
            assembled_from(
                preset,
                tower_name=tower,
                vision_tower=vision_tower,
                vision=vision,
                language_config=language_model.config,
                num_language_parameters=num_parameters,
                llm=llm,
                preprocessing=preprocessing,
                has_presets_size=_has_presets_size(language_model.config, preset)
                and vision_tower.config.hidden_size == vision_config.hidden_size,
            ),
        )
        write_model_card(part, model.config, processor.image_processor)
    return folder


def _has_presets_size(config: PreTrainedConfig, preset: str) -> bool:
    """Return whether a language model is as wide and deep as that of a preset, which any can stand in for."""
    own = TEXT_PRESETS[preset_names(preset)[0]]
    return all(getattr(config, name, None) == own[name] for name in ("hidden_size", "num_hidden_layers"))


def _connector(
    preset: str, tower: str, compressor: str | None, num_projector_layers: int | None, num_latents: int | None
) -> dict[str, Any]:
    """Return the connector's fields of `ArgusConfig`: the preset's, with what is asked for.

    Raises:
        ValueError: if a number of latents is asked for and the compressor makes none.
    """
    connector = connector_settings(preset, tower, compressor)
    if num_projector_layers is not None:
        connector["num_projector_layers"] = num_projector_layers
    if num_latents is not None:
        if connector["compressor"] != "perceiver":
            raise ValueError(f"num_latents is for the compressor perceiver, not for {connector['compressor']}")
        connector["num_latents"] = num_latents
    return connector


def assemble(
    tower: VisionTower, language_model: PreTrainedModel, image_token_id: int, **connector_settings
) -> ArgusForConditionalGeneration:
    """Join a vision tower and a language model by a new connector; their weights are neither copied nor changed.

    `connector_settings` are fields of `ArgusConfig`.
    """
    config = ArgusConfig(
        vision_config=tower.config,
        text_config=language_model.config,
        image_token_id=image_token_id,
        **connector_settings,
    )
    # On the meta device no memory is allocated for the parts that are replaced below.
    with torch.device("meta"):
        model = ArgusForConditionalGeneration(config)
    connector = ArgusConnector(model.config)
    connector.apply(model._init_weights)
    model.model.vision_tower = tower
    model.model.connector = connector.to(language_model.dtype)
    model.model.language_model = language_model.base_model
    model.lm_head = language_model.get_output_embeddings()
    model.config.dtype = language_model.dtype
    return model


def _vision_tower(vision: str | os.PathLike | None, config: VolumeVisionConfig) -> VisionTower:
    model_class = tower_of(config.model_type).model_class
    if vision is None:
        return model_class(config)
    found = load_config(vision, VISION_TOWER)
    names = ("model_type", "image_size", "patch_size")  # the rest is the tower's own
    differing = [name for name in names if _list_of(getattr(config, name)) != _list_of(getattr(found, name, None))]
    if differing:
        raise ValueError(f"{vision}: its {', '.join(differing)} differ from those asked for")
    return load_pretrained(model_class, vision, VISION_TOWER)


def _load_compressor(vision: str | os.PathLike | None, connector: ArgusConnector) -> None:
    """Load the compressor's weights that are stored beside a converted tower, if there are any.

    Raises:
        ValueError: if they belong to another compressor.
    """
    path = Path(vision or "") / COMPRESSOR_FILE
    if not path.is_file():
        return
    try:
        connector.compressor.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path}: not the weights of this compressor; {' '.join(str(error).split())}") from None


def _list_of(value):
    return list(value) if isinstance(value, list | tuple) else value


def _first_known(tokens: tuple[str, ...], vocabulary: dict[str, int]) -> str | None:
    return next((token for token in tokens if token in vocabulary), None)


def _processor(tokenizer: PreTrainedTokenizerBase, image_processor: ArgusImageProcessor) -> ArgusProcessor:
    vocabulary = tokenizer.get_vocab()
    image_token = _first_known(_IMAGE_TOKENS, vocabulary)
    if image_token is None:
        image_token = _IMAGE_TOKENS[-1]
        tokenizer.add_special_tokens({"additional_special_tokens": [image_token]})
    if not tokenizer.pad_token:
        tokenizer.pad_token = _first_known(_PAD_TOKENS, vocabulary) or tokenizer.eos_token
    template, end_token = chat_template_for(vocabulary, image_token)
    tokenizer.eos_token = end_token
    return ArgusProcessor(image_processor, tokenizer, image_token=image_token, chat_template=template)


def _stop_on(model: ArgusForConditionalGeneration, language_model: PreTrainedModel, tokenizer) -> None:
    """Stop generation at the end of a turn and at the language model's own end tokens."""
    own = language_model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [own]
    stops = [tokenizer.eos_token_id, *(token for token in own if token is not None)]
    model.generation_config = language_model.generation_config
    model.generation_config.eos_token_id = list(dict.fromkeys(stops))
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.do_sample = False
    model.generation_config.temperature = model.generation_config.top_p = model.generation_config.top_k = None
