"""Cache the frozen vision tower's tokens: if the tower does not train, each scan is encoded only once.

Entries are safetensors files. Their folder is named by the hash of the tower's weights, of its preprocessing and of the
settings of the computation, so that another tower, setting or scan never reads an old entry.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from isal import isal_zlib
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.utils.data import DataLoader, Dataset

from argus_processing import ArgusImageProcessor
from argus_processing.image_processing_argus import flatten_images
from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_config
from argus_processing.saved_models.weight_files import weight_files
from argus_processing.scan_types import ScanReader
from argus_processing.storage.progress import progress_bar
from argus_processing.storage.volume_cache import VolumeCache, path_of, scan_key, settings_hash
from argus_processing.storage.whole_files import write_whole
from modeling_argus.vision_towers_argus import VisionTower, tower_of

TOWER_PREFIX = "model.vision_tower."


class FeatureCache:
    """Reader of scans' `vision_tokens` from a folder that `fill` has filled.

    It is called like the image processor and replaces it in the processor of a training run.

    Args:
        folder: see `features_folder`.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, images: Any, **kwargs) -> dict[str, torch.Tensor]:
        """Return `vision_tokens` `(B, N, C)` of one scan or several.

        Raises:
            ValueError: if a scan is not a file, or has no complete entry.
        """
        return {"vision_tokens": torch.stack([self.read(image) for image in flatten_images(images)])}

    def entry_of(self, image: Any) -> Path:
        """Return the path of a scan's entry.

        Raises:
            ValueError: if the scan is not a file.
        """
        path = path_of(image)
        if path is None:
            name = image.get("path") if isinstance(image, dict) else image
            cause = "no such scan file; the feature cache takes scans by their files, not embedded ones"
            raise ValueError(f"{name}: {cause}")
        key = scan_key(path)
        return self.folder / key[:2] / f"{key[2:]}.safetensors"

    def read(self, image: Any) -> torch.Tensor:
        """Return a scan's tokens `(N, C)`.

        Raises:
            ValueError: if its entry is missing or incomplete.
        """
        entry = self.entry_of(image)
        try:
            with safe_open(entry, "pt") as file:
                tokens, checksum = file.get_tensor("vision_tokens"), (file.metadata() or {}).get("crc32")
        except (OSError, SafetensorError):
            tokens, checksum = None, ""
        if tokens is None or checksum != _crc32(tokens):
            raise ValueError(f"{entry}: missing or damaged; remove it if it is there and start the training again")
        return tokens

    def has(self, image: Any) -> bool:
        """Return whether a scan has an entry of full length; the content is checked when it is read."""
        try:
            with safe_open(self.entry_of(image), "pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def write(self, image: Any, tokens: torch.Tensor) -> None:
        """Write a scan's tokens `(N, C)` into the cache.

        Raises:
            OSError: if the disk fails; no partial file is left.
        """
        tokens = tokens.contiguous()
        write_whole(self.entry_of(image), save({"vision_tokens": tokens}, {"crc32": _crc32(tokens)}))


def _crc32(tokens: torch.Tensor) -> str:
    return str(isal_zlib.crc32(tokens.view(torch.uint8).numpy()))


def load_tower(model_folder: Path) -> VisionTower:
    """Load only the vision tower of a saved model, in float32 and whole, even if the model will be sharded.

    Raises:
        ValueError: if its weights are not in the folder's safetensors files.
    """
    config = load_config(model_folder, REPORT_WRITER).vision_config
    weights: dict[str, torch.Tensor] = {}
    for path in weight_files(Path(model_folder)):
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(TOWER_PREFIX)]
            weights |= {name.removeprefix(TOWER_PREFIX): file.get_tensor(name).float() for name in names}
    tower = tower_of(config.model_type).model_class(config)
    try:
        tower.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{model_folder}: not its vision tower's weights; {' '.join(str(error).split())}") from None
    return tower.eval().requires_grad_(False)


def features_folder(
    root: Path | str, tower: VisionTower, images: ArgusImageProcessor | VolumeCache, dtype: torch.dtype
) -> Path:
    """Return the folder of a tower's tokens, named by everything that decides them except the scan.

    Args:
        root: folder shared by all towers and settings.
        tower: see `load_tower`.
        images: makes `pixel_values`; those of the volume cache differ by up to half an HU.
        dtype: type in which the tower computes and the tokens are stored.
    """
    processor = getattr(images, "image_processor", images)
    config = {
        name: value
        for name, value in tower.config.to_dict().items()
        if name not in ("transformers_version", "dtype", "architectures", "_name_or_path", "auto_map")
    }
    identity = [settings_hash(processor), type(images).__name__, str(dtype), json.dumps(config, sort_keys=True)]
    digest = hashlib.sha256(json.dumps(identity).encode())
    for name, weight in sorted(tower.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.contiguous().view(-1).view(torch.uint8).numpy())
    return Path(root).resolve() / digest.hexdigest()[:24]


def fill(
    cache: FeatureCache,
    tower: VisionTower,
    images: ScanReader,
    scans: Sequence[Any],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    batch_size: int = 1,
    num_workers: int = 0,
    shown: bool = True,
) -> int:
    """Encode the scans that have no entry with the tower, once each; return their number.

    Args:
        cache: the cache that gets the tokens.
        tower: in float32; `dtype` bfloat16 runs it under autocast, as the trainer does.
        images: makes `pixel_values` from scans.
        scans: paths of the scans.
        dtype: type in which the tower computes and the tokens are stored.
        device: device of the tower.
        batch_size: number of scans at a time.
        num_workers: number of processes that read scans.
        shown: whether this process shows a progress bar.

    Raises:
        CTReadError: if a scan cannot be read.
        OSError: if the disk fails.
    """
    missing = [scan for scan in dict.fromkeys(scans) if not cache.has(scan)]
    loader: DataLoader[Any] = DataLoader(
        cast(Dataset[Any], missing),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_PixelValues(images),
        pin_memory=torch.device(device).type == "cuda",
        # Started anew: a copy of this process, which has computed and shows a bar, can crash while it reads a scan.
        multiprocessing_context="spawn" if num_workers else None,
    )
    encoder: torch.nn.Module = tower
    encoder.to(device)
    device_type = torch.device(device).type
    autocast = torch.autocast(device_type, dtype, enabled=dtype != torch.float32)
    with torch.inference_mode(), autocast, progress_bar(shown and bool(missing)) as progress:
        for batch, pixel_values in progress.track(loader, total=len(loader), description="vision features"):
            tokens = encoder(pixel_values.to(device, non_blocking=True)).last_hidden_state.to("cpu", dtype)
            for scan, own in zip(batch, tokens, strict=True):
                cache.write(scan, own)
    return len(missing)


class _PixelValues:
    """Collator from scans to the scans and their `pixel_values`; a class, so that it can be pickled for workers."""

    def __init__(self, images: ScanReader):
        self.images = images

    def __call__(self, scans: list[Any]) -> tuple[list[Any], torch.Tensor]:
        return scans, self.images(scans)["pixel_values"]
