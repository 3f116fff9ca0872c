"""Keep the space in which FLIP matched CTs and reports, beside its tower, and read it: for retrieval of reports."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from argus_processing.saved_models.model_folders import TEXT_ENCODER, VISION_TOWER
from argus_processing.saved_models.pretrained import load_config, load_pretrained, load_tokenizer
from argus_processing.storage.claimed_folders import whole_folder
from modeling_argus import ArgusVisionModel

SPACE = "space"  # folder beside the tower's, in that of the run
WEIGHTS = "space.safetensors"
_TEXT = "text_encoder."
_IMAGE_PROJECTION, _TEXT_PROJECTION = "image_projection.weight", "text_projection.weight"
_BATCH = 64  # reports embedded together


@dataclass(frozen=True)
class FLIPSpace:
    """The common space of a run of FLIP.

    Attributes:
        vision_tower, text_encoder: as they were when the run ended.
        tokenizer: that of the text encoder.
        image_projection, text_projection: `(projection_width, hidden_size)` of each.
        first_token: text that is put before each report.
        max_text_tokens: most tokens of a report.
    """

    vision_tower: ArgusVisionModel
    text_encoder: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    image_projection: torch.Tensor
    text_projection: torch.Tensor
    first_token: str
    max_text_tokens: int

    @torch.inference_mode()
    def embed_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embed `(B, 1, D, H, W)` as `(B, projection_width)` of length 1."""
        pooled = self.vision_tower(pixel_values).pooler_output
        return functional.normalize(pooled @ self.image_projection.T, dim=-1)

    @torch.inference_mode()
    def embed_reports(self, reports: Sequence[str]) -> torch.Tensor:
        """Embed N reports as `(N, projection_width)` of length 1."""
        parts = [self._embed(reports[start : start + _BATCH]) for start in range(0, len(reports), _BATCH)]
        return torch.cat(parts) if parts else torch.zeros(0, len(self.text_projection))

    def _embed(self, reports: Sequence[str]) -> torch.Tensor:
        texts = [self.first_token + report for report in reports]
        options = {"max_length": self.max_text_tokens, "truncation": True, "padding": True}
        tokens = self.tokenizer(texts, return_tensors="pt", **options)
        given = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        first = self.text_encoder(**given).last_hidden_state[:, 0]
        return functional.normalize(first @ self.text_projection.T, dim=-1)


def save_flip_space(
    module: Any, tokenizer: PreTrainedTokenizerBase, first_token: str, max_text_tokens: int, run: Path
) -> None:
    """Write all of the space but the tower into `space` of a run's folder; `module` is a `FLIPObjective`."""
    tensors = {f"{_TEXT}{name}": tensor for name, tensor in module.text_encoder.state_dict().items()}
    tensors |= {_IMAGE_PROJECTION: module.image_projection.weight, _TEXT_PROJECTION: module.text_projection.weight}
    # Copies: tensors of a model may share memory, which the file format refuses.
    kept = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    settings = {"first_token": first_token, "max_text_tokens": max_text_tokens}
    if (run / SPACE).exists():
        return
    with whole_folder(run / SPACE) as folder:
        tokenizer.save_pretrained(folder)
        module.text_encoder.config.save_pretrained(folder)
        save_file(kept, folder / WEIGHTS, metadata={"flip": json.dumps(settings)})


def load_flip_space(run: Path) -> FLIPSpace:
    """Load the space from the folder of a run of `training/pretrain.py`.

    Raises:
        FileNotFoundError: if the folder holds none.
        ValueError: if it is damaged.
    """
    run = Path(run)
    folder = run / SPACE
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{run}: holds no space of FLIP; give the folder of a run with the objective flip")
    tower = load_pretrained(ArgusVisionModel, run / "model", VISION_TOWER, dtype="float32").eval()
    encoder = AutoModel.from_config(load_config(folder, TEXT_ENCODER), trust_remote_code=False).eval()
    encoder.pooler = None
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            settings = json.loads(file.metadata()["flip"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        text = {name.removeprefix(_TEXT): tensor for name, tensor in tensors.items() if name.startswith(_TEXT)}
        encoder.load_state_dict(text)
        return FLIPSpace(
            tower,
            encoder,
            load_tokenizer(folder),
            tensors[_IMAGE_PROJECTION],
            tensors[_TEXT_PROJECTION],
            str(settings["first_token"]),
            int(settings["max_text_tokens"]),
        )
    except (KeyError, RuntimeError, SafetensorError, TypeError) as error:
        raise ValueError(f"{folder / WEIGHTS}: is not what FLIP writes ({type(error).__name__})") from None
