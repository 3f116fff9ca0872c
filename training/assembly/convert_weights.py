"""Convert published weights of M3D and RadFM to a folder for `argus create --tower m3d --vision FOLDER`.

Only the vision tower and RadFM's Perceiver are converted, not the projectors and language models: a projector works
only with the language model it was trained with, and here all systems share another one.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from argus_processing.saved_models.provenance import PRETRAINED, Provenance, write_provenance
from argus_processing.saved_models.weight_files import check_pickled
from argus_processing.storage.claimed_folders import check_new_folder, whole_folder
from argus_processing.storage.foreign_files import check_regular
from argus_training.assembly.create import COMPRESSOR_FILE
from argus_training.assembly.part_origins import vision_part
from modeling_argus.configuration_argus import ArgusConfig
from modeling_argus.connector_argus import PerceiverResampler
from modeling_argus.presets_argus import connector_settings, preset_vision_config
from modeling_argus.vision_argus import interpolate_positions
from modeling_argus.vision_towers_argus import VolumeVisionConfig, tower_of

Weights = dict[str, torch.Tensor]
M3D_TOKEN_GRID = (8, 16, 16)  # grid of the published positions: 32 x 256 x 256 voxels in patches of 4 x 16 x 16


@dataclass(frozen=True)
class Published:
    """Rules to read one system's checkpoint.

    Attributes:
        prefixes: beginnings of the wanted keys in a checkpoint; the first that occurs is used.
        left_out: beginnings of the keys of parts that are not converted.
        names: pattern of a published key -> our key, or our keys if a weight is split into equal parts.
    """

    prefixes: tuple[str, ...]
    left_out: tuple[str, ...]
    names: dict[str, str | tuple[str, ...]]


_QKV = tuple(rf"layers.\1.self_attn.{part}_proj.weight" for part in "qkv")

M3D = Published(
    prefixes=("model.vision_tower.vision_tower.", "vision_tower.vision_tower.", "vision_encoder.", ""),
    left_out=(
        "model.layers.",
        "model.embed_tokens.",
        "model.norm.",
        "model.mm_projector.",
        "model.seg_",
        "lm_head.",
        "language_encoder.",
        "mm_vision_proj.",
        "mm_language_proj.",
        "logit_scale",
    ),
    names={
        r"cls_token": "cls_token",
        r"patch_embedding\.patch_embeddings\.1\.(weight|bias)": r"embeddings.patch_embedding.\1",
        r"patch_embedding\.position_embeddings": "embeddings.position_embedding",
        r"blocks\.(\d+)\.norm([12])\.(weight|bias)": r"layers.\1.layer_norm\2.\3",
        r"blocks\.(\d+)\.attn\.qkv\.weight": _QKV,
        r"blocks\.(\d+)\.attn\.out_proj\.(weight|bias)": r"layers.\1.self_attn.out_proj.\2",
        r"blocks\.(\d+)\.mlp\.linear([12])\.(weight|bias)": r"layers.\1.mlp.fc\2.\3",
        r"norm\.(weight|bias)": r"layer_norm.\1",
    },
)

_RADFM_LEFT_OUT = (
    "lang_model.",
    *(
        f"embedding_layer.{part}"
        for part in (
            "weight",
            "figure_token_weight",
            "fc.",
            "bert_model.",
            "bert_projection_fc.",
            "output_upscaling.",
            "transformer_decoder.",
            "transformer_decoder_mlp.",
            "cls_head.",
        )
    ),
)

RADFM = Published(
    prefixes=("embedding_layer.vision_encoder.",),
    left_out=(*_RADFM_LEFT_OUT, "embedding_layer.perceiver."),
    names={
        r"to_patch_embedding\.1\.(weight|bias)": r"patch_embedding.voxel_norm.\1",
        r"to_patch_embedding\.2\.(weight|bias)": r"patch_embedding.projection.\1",
        r"to_patch_embedding\.3\.(weight|bias)": r"patch_embedding.token_norm.\1",
        r"pos_embedding\.row_embed\.weight": "positions.rows.weight",
        r"pos_embedding\.col_embed\.weight": "positions.columns.weight",
        r"pos_embedding\.dep_embed\.weight": "positions.slices.weight",
        r"transformer\.layers\.(\d+)\.0\.norm\.(weight|bias)": r"layers.\1.layer_norm1.\2",
        r"transformer\.layers\.(\d+)\.0\.fn\.to_qkv\.weight": _QKV,
        r"transformer\.layers\.(\d+)\.0\.fn\.to_out\.0\.(weight|bias)": r"layers.\1.self_attn.out_proj.\2",
        r"transformer\.layers\.(\d+)\.1\.norm\.(weight|bias)": r"layers.\1.layer_norm2.\2",
        r"transformer\.layers\.(\d+)\.1\.fn\.net\.0\.(weight|bias)": r"layers.\1.mlp.fc1.\2",
        r"transformer\.layers\.(\d+)\.1\.fn\.net\.3\.(weight|bias)": r"layers.\1.mlp.fc2.\2",
    },
)

RADFM_PERCEIVER = Published(
    prefixes=("embedding_layer.perceiver.",),
    left_out=(*_RADFM_LEFT_OUT, "embedding_layer.vision_encoder."),
    names={
        r"latents": "latents",
        r"layers\.(\d+)\.0\.norm_media\.(weight|bias)": r"layers.\1.attention.norm_tokens.\2",
        r"layers\.(\d+)\.0\.norm_latents\.(weight|bias)": r"layers.\1.attention.norm_latents.\2",
        r"layers\.(\d+)\.0\.to_q\.weight": r"layers.\1.attention.q_proj.weight",
        r"layers\.(\d+)\.0\.to_kv\.weight": r"layers.\1.attention.kv_proj.weight",
        r"layers\.(\d+)\.0\.to_out\.weight": r"layers.\1.attention.out_proj.weight",
        r"layers\.(\d+)\.1\.([013])\.(weight|bias)": r"layers.\1.mlp.\2.\3",
        r"norm\.(weight|bias)": r"norm.\1",
    },
)


def read_checkpoint(path: Path) -> Weights:
    """Read a checkpoint: a .safetensors file, a published .bin or .pt, or a folder that holds such files.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if a file holds anything but named tensors.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
    if not files:
        raise FileNotFoundError(f"{path}: no checkpoint; give a .safetensors or .bin file, or a folder of them")
    weights: Weights = {}
    for file in files:
        weights |= _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickled(file)
    return weights


def _read_safetensors(file: Path) -> Weights:
    check_regular(file)
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file}: the weights are damaged ({error}); copy the file again") from None


def _read_pickled(file: Path) -> Weights:
    """Read tensors from a file that torch saved, and refuse anything that could run code."""
    check_pickled(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Memory-mapped: most of a checkpoint is its language model, which is never read.
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except Exception as error:
        raise ValueError(f"{file}: cannot be read as weights alone ({type(error).__name__})") from None
    if not isinstance(content, dict) or not all(_is_plain(name, value) for name, value in content.items()):
        raise ValueError(f"{file}: holds more than tensors by their names")
    return content


def _is_plain(name: Any, value: Any) -> bool:
    """Return whether a value is a tensor that stores every element: a view may repeat one number a billion times."""
    return (
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def rename(weights: Weights, published: Published, source: str) -> Weights:
    """Rename a checkpoint's weights to the names of our modules.

    Raises:
        ValueError: naming the unknown keys, which belong neither to the converted parts nor to those left out.
    """
    prefix = next((prefix for prefix in published.prefixes if _any_starts(weights, prefix)), None)
    if prefix is None:
        raise ValueError(f"{source}: no key begins with {' or '.join(published.prefixes)}")
    renamed: Weights = {}
    unknown: list[str] = []
    for key, value in weights.items():
        if prefix and not key.startswith(prefix):
            if not key.startswith(published.left_out):
                unknown.append(key)
            continue
        targets = _targets(key.removeprefix(prefix), published.names)
        if targets and (value.ndim == 0 or value.shape[0] % len(targets)):
            raise ValueError(f"{source}: {key[:80]} has another shape, {tuple(value.shape)}")
        if targets:
            renamed |= dict(zip(targets, value.chunk(len(targets)), strict=True))
        elif prefix or not key.startswith(published.left_out):
            unknown.append(key)
    if unknown:
        raise ValueError(f"{source}: {len(unknown)} unknown keys: {_listed(unknown)}")
    return renamed


def _any_starts(keys: Iterable[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


def _targets(key: str, names: dict[str, str | tuple[str, ...]]) -> list[str]:
    for pattern, ours in names.items():
        match = re.fullmatch(pattern, key)
        if match:
            return [match.expand(name) for name in ([ours] if isinstance(ours, str) else ours)]
    return []


def _listed(keys: Iterable[str]) -> str:
    keys = sorted(keys)
    return ", ".join(key[:80] for key in keys[:8]) + (", ..." if len(keys) > 8 else "")


def fill(module: torch.nn.Module, weights: Weights, source: str) -> None:
    """Load weights into a module; the keys must match exactly.

    Raises:
        ValueError: naming the keys that are missing, unexpected or of another shape.
    """
    expected = module.state_dict()
    for problem, keys in (
        ("missing", expected.keys() - weights.keys()),
        ("left over", weights.keys() - expected.keys()),
        ("of another shape", {key for key in expected.keys() & weights if expected[key].shape != weights[key].shape}),
    ):
        if keys:
            raise ValueError(f"{source}: {len(keys)} weights {problem}: {_listed(keys)}")
    module.load_state_dict(weights)


def m3d_weights(weights: Weights, config: VolumeVisionConfig, source: str) -> Weights:
    """Rename M3D's tower; its positions are interpolated to the configuration's grid."""
    tower = rename(weights, M3D, source)
    positions = tower.get("embeddings.position_embedding")
    if positions is not None:
        tower["embeddings.position_embedding"] = interpolate_positions(positions[0], M3D_TOKEN_GRID, config.token_grid)
    return tower


def radfm_weights(weights: Weights, config: VolumeVisionConfig, source: str) -> Weights:
    """Rename RadFM's tower and reverse the order of voxels in its patches, which is (row, column, slice, channel)."""
    tower = rename(weights, RADFM, source)
    depth, height, width = config.patch_size
    for name in ("voxel_norm.weight", "voxel_norm.bias", "projection.weight"):
        key = f"patch_embedding.{name}"
        if key in tower:
            voxels = tower[key].unflatten(-1, (height, width, depth, -1))
            tower[key] = voxels.movedim((-1, -2), (-4, -3)).flatten(-4).contiguous()
    return tower


CONVERTERS: dict[str, Callable[[Weights, VolumeVisionConfig, str], Weights]] = {
    "m3d": m3d_weights,
    "radfm": radfm_weights,
}


def convert_weights(
    system: str,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    preset: str,
    image_size: Sequence[int] | None = None,
) -> Path:
    """Write a system's published vision tower as a folder that `argus create --vision` takes.

    Args:
        system: m3d or radfm.
        checkpoint: see `read_checkpoint`.
        out: folder to write, whole or not at all; must not hold anything yet.
        preset: a preset of the wanted resolution, such as argus-8b-hr.
        image_size: another grid of voxels than the preset's for this system, as (depth, height, width).

    Raises:
        ValueError: if the system has no weights to convert, keys are unknown, missing or of another shape, or the
            folder is taken.
    """
    if system == "ct2rep":
        raise ValueError(
            "ct2rep: its authors link no weights, and those of CT-CLIP, which share its architecture, have other "
            "patches (10 x 20 x 20) and do not fit; it trains from random weights"
        )
    if system not in CONVERTERS:
        raise ValueError(f"unknown system {system!r}; known: {', '.join(CONVERTERS)}")
    folder = check_new_folder(Path(out))
    config = preset_vision_config(preset, system, image_size)
    weights = read_checkpoint(Path(checkpoint))
    tower = tower_of(config.model_type).model_class(config)
    try:
        renamed = CONVERTERS[system](weights, config, str(checkpoint))
    except (IndexError, RuntimeError) as error:
        raise ValueError(f"{checkpoint}: a weight has another shape than {system}'s ({_first_line(error)})") from None
    fill(tower, renamed, str(checkpoint))
    resampler = _perceiver(weights, config, preset, str(checkpoint)) if system == "radfm" else None
    with whole_folder(folder) as part:
        tower.save_pretrained(part)
        origin = vision_part(tower, system, PRETRAINED, f"published weights of {system}")
        write_provenance(part, Provenance(vision=origin))
        if resampler is not None:
            save_file(resampler.state_dict(), part / COMPRESSOR_FILE, metadata={"format": "pt"})
    return folder


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:120]


def _perceiver(weights: Weights, config: VolumeVisionConfig, preset: str, source: str) -> PerceiverResampler:
    """Build RadFM's Perceiver in the size that `argus create` uses, from a checkpoint's weights."""
    resampler = PerceiverResampler(ArgusConfig(vision_config=config, **connector_settings(preset, "radfm")))
    fill(resampler, rename(weights, RADFM_PERCEIVER, source), source)
    return resampler
