"""Memory of maps by formula against the tensors that autograd keeps, and the plans of the largest models."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig

from argus_inference.evidence.evidence import EvidenceSettings
from argus_inference.evidence.evidence_memory import (
    evidence_bytes,
    language_bytes,
    llama_layer_bytes,
    plan_evidence,
    tower_layer_bytes,
    unfused_attention_bytes,
)
from argus_inference.evidence.path_gradients import frozen, recomputing, visual_tokens
from argus_inference.evidence.report_tokens import ReportTokens
from modeling_argus import ArgusConfig, ArgusForConditionalGeneration, preset_config, preset_vision_config
from modeling_argus.presets_argus import connector_settings

# Peaks in GB beside weights, scan and reference, of argus-8b-hr on an H100 (PyTorch 2.11): 701 tokens, 130 of them the
# report's, in 8 sentences. The maps' product with the difference then took 8 volumes more than now.
MEASURED = {(2, False, 6): 29.213, (2, True, 6): 9.022, (2, True, 1): 5.113, (4, False, 4): 41.940}


def model_of(num_layers: int, num_key_value_heads: int = 8) -> ArgusForConditionalGeneration:
    text = LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=896,
        num_hidden_layers=num_layers,
        num_attention_heads=8,
        num_key_value_heads=num_key_value_heads,
        tie_word_embeddings=True,
    )
    vision = preset_vision_config("argus-tiny")
    vision.num_hidden_layers = num_layers
    config = ArgusConfig(vision_config=vision, text_config=text, image_token_id=3, **connector_settings("argus-tiny"))
    return ArgusForConditionalGeneration(config).eval()


def kept_bytes(model, num_targets: int) -> tuple[int, int]:
    """Bytes that autograd keeps, weights left out: by the tower, by the language model."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)  # or its memory would be used again, and counted once
        return tensor

    held: list[torch.Tensor] = []
    tokens = torch.arange(num_targets) % 400 + 10
    prompt = torch.tensor([[1, *[3] * model.model.connector.num_tokens, 20, 21]])
    report = ReportTokens(torch.cat([prompt, tokens[None, :-1]], dim=1), tokens, ((0, 1),), ((0, 1),))
    with frozen(model), saved_tensors_hooks(keep, lambda tensor: tensor):
        points = torch.rand(1, 1, *model.config.vision_config.image_size).requires_grad_()
        features = visual_tokens(model, points)
        tower = sum(kept.values())
        kept.clear()
        scores = report.log_probs(model, features.detach().requires_grad_())
        assert scores.requires_grad
    return tower, sum(kept.values())


def test_a_layer_keeps_for_a_token_what_the_formula_says():
    small, large, num_targets = model_of(2), model_of(6), 300
    (tower, language), (more_tower, more_language) = kept_bytes(small, num_targets), kept_bytes(large, num_targets)
    num_tokens = 3 + small.model.connector.num_tokens + num_targets - 1
    text, vision = small.config.get_text_config(), small.config.get_vision_config()
    assert (more_language - language) / 4 / num_tokens == pytest.approx(llama_layer_bytes(text, 4), rel=0.1)
    assert (more_tower - tower) / 4 / vision.num_tokens == pytest.approx(tower_layer_bytes(vision, 4), rel=0.1)


@pytest.mark.parametrize("groups", [8, 2])
def test_attention_without_a_fused_kernel_keeps_what_the_formula_says(groups):
    small, large, num_targets = model_of(2, groups), model_of(6, groups), 300
    num_tokens = 3 + small.model.connector.num_tokens + num_targets - 1
    text = small.config.get_text_config()
    kept = []
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel(backend):
            kept.append((kept_bytes(large, num_targets)[1] - kept_bytes(small, num_targets)[1]) / 4 / num_tokens)
    assert kept[0] == pytest.approx(llama_layer_bytes(text, 4), rel=0.01)
    if groups < 8:
        assert kept[1] - kept[0] == pytest.approx(unfused_attention_bytes(text, 4, num_tokens), rel=0.01)
    else:  # where each head has its own keys, a GPU has a fused kernel in float32 too
        assert unfused_attention_bytes(text, 4, num_tokens) == 0 < kept[1] - kept[0]


@pytest.mark.parametrize(("way", "gigabytes"), MEASURED.items())
def test_the_plan_is_above_what_a_gpu_took(way, gigabytes):
    size, recompute, steps = way
    planned = evidence_bytes(preset_config("argus-8b-hr"), 701, 130, 8, steps, size, recompute) / 1e9
    assert gigabytes < planned < 1.7 * gigabytes


def test_a_token_more_keeps_what_the_formula_says():
    model = model_of(4)
    more = kept_bytes(model, 400)[1] - kept_bytes(model, 200)[1]
    first = 3 + model.model.connector.num_tokens - 1
    planned = language_bytes(model.config, first + 400, 400, 4) - language_bytes(model.config, first + 200, 200, 4)
    # the formula also counts what the backward pass needs for a while
    assert more < planned < 1.6 * more


def test_layers_that_are_computed_again_keep_only_their_input():
    model = model_of(6)
    whole = kept_bytes(model, 300)[1]
    with recomputing(model):
        again = kept_bytes(model, 300)[1]
    assert again < 0.5 * whole


def test_8b_at_high_resolution_fits_into_80_gb():
    gigabytes = {
        (preset, recompute): evidence_bytes(preset_config(preset), 512 + 60 + 1024, 1024, 25, 1, 2, recompute) / 1e9
        for preset in ("argus-8b-hr", "argus-70b-hr")
        for recompute in (False, True)
    }
    weights = 2 * 8.2
    assert weights + gigabytes["argus-8b-hr", False] < 0.9 * 80
    assert gigabytes["argus-8b-hr", True] < gigabytes["argus-8b-hr", False] < gigabytes["argus-70b-hr", False]


def test_less_memory_means_fewer_steps_at_once_and_then_recomputing(monkeypatch):
    model, settings = model_of(8), EvidenceSettings(num_steps=6)
    needed = evidence_bytes(model.config, 200, 100, 5, 6, 4)
    one, again = (evidence_bytes(model.config, 200, 100, 5, 1, 4, recompute) for recompute in (False, True))
    assert again < one
    plans = []
    for free in (2 * needed, one * 1.2, again * 1.2, 0):
        monkeypatch.setattr("argus_inference.evidence.evidence_memory.free_memory", lambda free=free: free)
        plan = plan_evidence(model, 200, 100, 5, settings)
        plans.append((plan.steps_at_once, plan.recompute))
    assert plans == [(6, False), (1, False), (plans[2][0], True), (1, True)]
