"""Integrated gradients of every tower with every compressor against plain autograd, and their sum."""

import copy

import pytest
import torch
from tiny_models import PAIRS, make_model

from argus_inference.evidence.path_gradients import frozen, integrated_gradients, recomputing, visual_tokens
from argus_inference.evidence.report_tokens import ReportTokens

REPORT = (10, 11, 12, 13, 14, 15)
SENTENCES = ((0, 1, 2), (4, 5))
STEPS = 3


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def model(request):
    return make_model(*request.param)


def tokens_of(model) -> ReportTokens:
    prompt = [1, *[model.config.image_token_id] * model.model.connector.num_tokens, 20, 21]
    return ReportTokens(torch.tensor([[*prompt, *REPORT[:-1]]]), torch.tensor(REPORT), ((0, 5), (6, 9)), SENTENCES)


def volumes(model) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    size = (1, 1, *model.config.vision_config.image_size)
    return torch.rand(size, generator=draw), torch.full(size, 0.3)


def plain_gradients(model, scan, reference, num_steps=STEPS) -> list[torch.Tensor]:
    """The same by the model's own forward pass, a point and a sentence at a time, through all parts at once."""
    tokens = tokens_of(model)
    ids = torch.cat([tokens.input_ids, tokens.targets[None, -1:]], dim=1)
    found = []
    for places in SENTENCES:
        total = torch.zeros_like(scan)
        for step in range(num_steps):
            point = (reference + (step + 0.5) / num_steps * (scan - reference)).requires_grad_()
            scores = model(input_ids=ids, pixel_values=point).logits.log_softmax(-1)[0, -len(REPORT) - 1 : -1]
            value = sum(scores[place, REPORT[place]] for place in places)
            total += torch.autograd.grad(value, point)[0] / num_steps
        found.append((total * (scan - reference))[0, 0])
    return found


def test_every_tower_and_compressor_gives_what_plain_autograd_gives(model):
    scan, reference = volumes(model)
    own = integrated_gradients(model, tokens_of(model), scan, reference, [0, 1], STEPS, STEPS)
    for found, expected in zip(own, plain_gradients(model, scan, reference), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)
    one_by_one = integrated_gradients(model, tokens_of(model), scan, reference, [1], STEPS, 1)
    torch.testing.assert_close(one_by_one[0], own[1], atol=1e-4 * float(own[1].abs().max()), rtol=1e-3)


def test_layers_computed_again_give_the_same_and_are_left_as_they_were(model):
    scan, reference = volumes(model)
    whole = integrated_gradients(model, tokens_of(model), scan, reference, [0, 1], STEPS, 2)
    before = {name: copy.copy(vars(module)) for name, module in model.named_modules()}
    with frozen(model), recomputing(model):
        assert not any(weight.requires_grad for weight in model.parameters())
        again = integrated_gradients(model, tokens_of(model), scan, reference, [0, 1], STEPS, 2)
    for one, other in zip(whole, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(one.abs().max()), rtol=1e-4)
    assert {name: vars(module).keys() for name, module in model.named_modules()} == {
        name: values.keys() for name, values in before.items()
    }
    assert all(weight.requires_grad for weight in model.parameters()) and not any(
        module.training for module in model.modules()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same(model, dtype):
    scan, reference = volumes(model)
    whole = integrated_gradients(model, tokens_of(model), scan, reference, [0, 1], STEPS, STEPS)
    half = copy.deepcopy(model).to(dtype)
    found = integrated_gradients(half, tokens_of(half), scan, reference, [0, 1], STEPS, STEPS)
    for one, other in zip(whole, found, strict=True):
        assert other.dtype == torch.float32 and other.isfinite().all()
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.9


def test_the_volumes_of_a_sentence_sum_up_to_its_support():
    model = make_model("argus", "pixel_shuffle")
    tokens, (scan, reference) = tokens_of(model), volumes(model)
    found = integrated_gradients(model, tokens, scan, reference, [0, 1], 256, 64)
    with torch.no_grad():
        own, other = (tokens.log_probs(model, visual_tokens(model, each))[0] for each in (scan, reference))
    for nats, places in zip(found, SENTENCES, strict=True):
        assert float(nats.sum()) == pytest.approx(float((own - other)[list(places)].sum()), rel=0.02, abs=0.01)
