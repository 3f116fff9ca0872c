"""Compute integrated gradients of sentences: how much each voxel adds to their log-probability.

Source: Sundararajan, Taly and Yan, Axiomatic attribution for deep networks (2017). The path runs straight from the
reference to the scan; its steps are taken at the middle of equal parts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from .report_tokens import ReportTokens

# Keeps gradients of float16 models away from the smallest numbers; a power of two changes no digit.
LOSS_SCALE = 256.0


def integrated_gradients(
    model: Any,
    report: ReportTokens,
    pixel_values: torch.Tensor,
    reference: torch.Tensor,
    sentences: Sequence[int],
    num_steps: int,
    steps_at_once: int,
) -> list[torch.Tensor]:
    """Return for each of the sentences how much each voxel adds to its log-probability, in nats.

    The volumes `(D, H, W)` of a sentence sum up to its log-probability on the scan minus that on the reference, as far
    as the steps resolve the path.

    For a number of steps at once there is one forward pass for all sentences, and a backward pass for each. Tower with
    connector and language model are passed through one after the other, so that only one of them is held.

    Args:
        model: an Argus model.
        report: the tokens of the report.
        pixel_values: `(1, 1, D, H, W)` of the scan.
        reference: the same of the reference.
        sentences: numbers of the sentences in `report`.
        num_steps: points on the path.
        steps_at_once: points that are computed together.
    """
    difference = pixel_values - reference
    gradients = [torch.zeros_like(pixel_values[0, 0]) for _ in sentences]
    shares = (torch.arange(num_steps, device=pixel_values.device) + 0.5) / num_steps
    for part in shares.split(steps_at_once):
        points = (reference + part.view(-1, 1, 1, 1, 1) * difference).requires_grad_()
        features = visual_tokens(model, points)
        for number, directions in enumerate(_feature_gradients(model, report, features, sentences)):
            # A backward pass is linear, so the largest entry can be 1: none gets lost in half precision.
            size = directions.abs().amax().clamp(min=1e-30)
            (gradient,) = torch.autograd.grad(
                features, points, (directions / size).to(features.dtype), retain_graph=number + 1 < len(sentences)
            )
            gradients[number] += gradient.float().sum(dim=0)[0] * (size / (num_steps * LOSS_SCALE))
    # In place: a volume of high resolution takes 0.27 GB, and there is one for each sentence.
    return [gradient.mul_(difference[0, 0]) for gradient in gradients]


def visual_tokens(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Return the visual tokens `(B, num_tokens, hidden_size)` of volumes `(B, 1, D, H, W)` float32."""
    return model.get_image_features(pixel_values.to(model.dtype), return_dict=True).pooler_output


def _feature_gradients(
    model: Any, report: ReportTokens, features: torch.Tensor, sentences: Sequence[int]
) -> list[torch.Tensor]:
    """Return for each sentence the gradient of its log-probability by the visual tokens, times `LOSS_SCALE`."""
    leaves = features.detach().requires_grad_()
    scores = report.log_probs(model, leaves)
    gradients = []
    for number, sentence in enumerate(sentences):
        (gradient,) = torch.autograd.grad(
            scores[:, list(report.tokens[sentence])].sum() * LOSS_SCALE,
            leaves,
            retain_graph=number + 1 < len(sentences),
        )
        gradients.append(gradient.float())
    return gradients


@contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """Let gradients flow to the model's input and not to its weights, which then need no memory for them."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


@contextmanager
def recomputing(model: torch.nn.Module) -> Iterator[None]:
    """Let every transformer layer keep only its input, and compute the rest again in each backward pass.

    transformers does so in training mode only; here the layers' parts stay in evaluation mode, without dropout.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    names = ("training", "gradient_checkpointing", "_gradient_checkpointing_func")
    before = [{name: vars(layer)[name] for name in names if name in vars(layer)} for layer in layers]
    again = partial(checkpoint, use_reentrant=False)
    try:
        for layer in layers:
            layer.training = layer.gradient_checkpointing = True
            vars(layer)["_gradient_checkpointing_func"] = again
        yield
    finally:
        for layer, values in zip(layers, before, strict=True):
            for name in names:
                vars(layer).pop(name, None)
            vars(layer).update(values)
