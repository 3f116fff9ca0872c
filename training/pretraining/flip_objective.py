"""Match CTs and their reports while half of the image tokens are dropped: FLIP (Li et al. 2023).

The paper leaves some details open. Chosen here: the text encoder is a BERT trained from scratch with a byte-level BPE
of the training reports, or any encoder that `AutoModel` loads (`text_encoder`). The recipe sets the batch size.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from accelerate import PartialState
from torch import nn
from torch.nn import functional
from transformers import AutoModel, BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import ModelOutput

from argus_processing.saved_models.model_folders import TEXT_ENCODER
from argus_processing.saved_models.pretrained import load_pretrained, load_tokenizer
from argus_training.assembly.report_tokenizer import train_tokenizer
from argus_training.pretraining.contrastive_loss import image_text_loss
from argus_training.pretraining.flip_space import save_flip_space
from argus_training.pretraining.objective import Objective, check_mask_ratio, draw_orders, generators_of, settings_from
from argus_training.training_progress import logger
from modeling_argus import ArgusVisionModel

RANKS = (1, 5, 10)
_FIRST_SCALE, _HIGHEST_SCALE = 1 / 0.07, 100.0


@dataclass
class FLIPSettings:
    """Settings of FLIP.

    Attributes:
        mask_ratio: share of image tokens that are dropped before the encoder.
        unmasked_tail: last share of the training, in which no tokens are dropped.
        projection_width: width of the common space of images and texts.
        text_encoder: folder or id of a pretrained text encoder with its tokenizer. Default: one trained from scratch.
        text_width, text_layers, text_heads: size of the encoder that is trained from scratch.
        vocab_size: vocabulary size of the tokenizer that is trained from scratch.
        max_text_tokens: most tokens of a report; longer reports are counted and cut.
        trust_remote_code: run code that comes with `text_encoder`.
    """

    mask_ratio: float = 0.5
    unmasked_tail: float = 0.05
    projection_width: int = 512
    text_encoder: str | None = None
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    vocab_size: int = 8192
    max_text_tokens: int = 512
    trust_remote_code: bool = False

    def __post_init__(self):
        check_mask_ratio(self.mask_ratio)
        if not 0 <= self.unmasked_tail < 1:
            raise ValueError(f"unmasked_tail is a share of the training from 0 to below 1, got {self.unmasked_tail}")


class FLIPObjective(nn.Module):
    """FLIP's module: mean-pooled image and first-token text, each with a bias-free Linear, in a symmetric InfoNCE.

    Args:
        vision_tower: the tower to train.
        text_encoder: maps `(input_ids, attention_mask)` to `last_hidden_state`.
        settings: mask ratio, unmasked tail and width.
        seed: of the masks.
    """

    def __init__(
        self, vision_tower: ArgusVisionModel, text_encoder: PreTrainedModel, settings: FLIPSettings, seed: int
    ):
        super().__init__()
        self.vision_tower = vision_tower
        self.text_encoder = text_encoder
        self.image_projection = nn.Linear(vision_tower.config.hidden_size, settings.projection_width, bias=False)
        self.text_projection = nn.Linear(text_encoder.config.hidden_size, settings.projection_width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))
        self.num_tokens = vision_tower.config.num_tokens
        self.num_kept = max(1, self.num_tokens - round(settings.mask_ratio * self.num_tokens))
        self.masked_share = 1 - settings.unmasked_tail
        self.seed = seed

    def encode_image(self, pixel_values: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        """Embed `(B, 1, D, H, W)`, or only its patches `kept` `(B, K)`, as `(B, projection_width)` of length 1."""
        pooled = self.vision_tower(pixel_values, kept=kept).pooler_output
        return functional.normalize(self.image_projection(pooled).float(), dim=-1)

    def encode_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embed `(B, L)` reports as `(B, projection_width)` of length 1."""
        longest = int(attention_mask.sum(dim=1).max())
        input_ids, attention_mask = input_ids[:, :longest], attention_mask[:, :longest]
        first = self.text_encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return functional.normalize(self.text_projection(first).float(), dim=-1)

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        index: torch.Tensor,
        step: int = 0,
        progress: float = 0.0,
    ) -> ModelOutput:
        """Match `(B, 1, D, H, W)` volumes with `(B, L)` reports; nothing is dropped on held-out scans."""
        kept = None
        if self.training and progress < self.masked_share:
            orders = draw_orders(self.num_tokens, generators_of(self.seed, step, index), pixel_values.device)
            kept = orders[:, : self.num_kept]
        if self.training:
            with torch.no_grad():
                self.logit_scale.clamp_(max=math.log(_HIGHEST_SCALE))
        image = self.encode_image(pixel_values, kept)
        text = self.encode_text(input_ids, attention_mask)
        return ModelOutput(loss=image_text_loss(image, text, self.logit_scale.exp()))


def retrieval(image: torch.Tensor, text: torch.Tensor) -> dict[str, float]:
    """Return R@1, R@5 and R@10 in both directions of `(N, C)` pairs; a tie counts against the pair."""
    cosines = image @ text.T
    results: dict[str, float] = {}
    for direction, scores in (("image_to_text", cosines), ("text_to_image", cosines.T)):
        rank = (scores >= scores.diagonal()[:, None]).sum(dim=1)
        results |= {f"{direction}_r@{k}": (rank <= k).float().mean().item() for k in RANKS}
    return results


@torch.no_grad()
def show(module: FLIPObjective, batches: Callable[[], Iterator[dict]], folder: Path) -> dict[str, float]:
    """Measure retrieval on the held-out scans, without dropping tokens."""
    images, texts = [], []
    for batch in batches():
        images.append(module.encode_image(batch["pixel_values"]))
        texts.append(module.encode_text(batch["input_ids"], batch["attention_mask"]))
    image, text = torch.cat(images), torch.cat(texts)
    return {"num_scans": len(image), "chance_r@1": 1 / len(image)} | retrieval(image, text)


def text_encoder_of(settings: FLIPSettings, reports: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the text encoder and its tokenizer, pretrained or new."""
    if settings.text_encoder is not None:
        trust = settings.trust_remote_code
        encoder = load_pretrained(AutoModel, settings.text_encoder, TEXT_ENCODER, trust=trust)
        # The first token of the last layer is used; a pooler would get no gradients.
        encoder.pooler = None
        return encoder, load_tokenizer(settings.text_encoder, trust=trust)
    tokenizer = train_tokenizer(reports, settings.vocab_size)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.text_width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=settings.text_heads,
        intermediate_size=4 * settings.text_width,
        max_position_embeddings=settings.max_text_tokens,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertModel(config, add_pooling_layer=False), tokenizer


def report_tokens(
    tokenizer: PreTrainedTokenizerBase, max_text_tokens: int, first_token: str
) -> Callable[[dict], dict[str, torch.Tensor]]:
    """Return a function from a row to `input_ids` and `attention_mask` `(max_text_tokens,)` of its report."""

    def inputs_of(row: dict) -> dict[str, torch.Tensor]:
        tokens = tokenizer(
            first_token + row["report"],
            max_length=max_text_tokens,
            truncation=True,
            padding="max_length",
            return_tensors="pt",
        )
        return {name: tokens[name][0] for name in ("input_ids", "attention_mask")}

    return inputs_of


def build(tower: ArgusVisionModel, split: datasets.Dataset, options: dict, seed: int) -> Objective:
    """Make the objective from a recipe's `objective_options`, the fields of `FLIPSettings`."""
    settings = settings_from(FLIPSettings, options)
    reports = list(split["report"])
    encoder, tokenizer = text_encoder_of(settings, reports)
    # A tokenizer trained here adds no start token by itself; that of a pretrained encoder does.
    first_token = "" if settings.text_encoder else tokenizer.bos_token
    lengths = map(len, tokenizer([first_token + report for report in reports])["input_ids"])
    cut = sum(length > settings.max_text_tokens for length in lengths)
    if PartialState().is_main_process:
        logger.info(f"flip: {cut} of {len(reports)} reports are longer than {settings.max_text_tokens} tokens and cut")
    return Objective(
        FLIPObjective(tower, encoder, settings, seed),
        report_tokens(tokenizer, settings.max_text_tokens, first_token),
        show,
        lambda module, folder: save_flip_space(module, tokenizer, first_token, settings.max_text_tokens, folder),
    )
