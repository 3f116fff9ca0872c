"""Counts of operations: against torch's counter in real forward passes, and against figures computed elsewhere."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from argus_training.planning.flops import attention_flops, connector_flops, encoder_flops, prefill_flops, study_cost
from modeling_argus import COMPRESSORS, TOWERS, ArgusForConditionalGeneration, preset_config


def counted(function) -> int:
    # In its plain form attention is two matrix products, which the counter knows on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def tiny(tower: str = "argus", **changes) -> ArgusForConditionalGeneration:
    config = preset_config("argus-tiny", tower)
    for name, value in changes.items():
        setattr(config, name, value)
    return ArgusForConditionalGeneration(config).eval().requires_grad_(False)


@pytest.mark.parametrize("tower", TOWERS)
def test_encoder_flops_are_those_of_a_real_forward_pass(tower):
    model = tiny(tower).model.vision_tower
    assert encoder_flops(model.config) == counted(lambda: model(torch.rand(1, 1, 32, 64, 64)))


# By formulas written by hand from each tower's sizes.
BY_HAND = {
    ("argus-tiny", "argus"): 201_326_592,
    ("argus-8b-nr", "argus"): 508_953_624_576,
    ("argus-8b-hr", "argus"): 1_417_339_207_680,
    ("argus-tiny", "m3d"): 203_835_648,
    ("argus-8b-nr", "m3d"): 1_321_174_339_584,
    ("argus-8b-hr", "m3d"): 169_570_310_590_464,
    ("argus-tiny", "radfm"): 279_969_792,
    ("argus-8b-nr", "radfm"): 161_061_273_600,
    ("argus-8b-hr", "radfm"): 8_761_733_283_840,
    ("argus-tiny", "ct2rep"): 297_790_464,
    ("argus-8b-nr", "ct2rep"): 29_219_268_608,
    ("argus-8b-hr", "ct2rep"): 475_555_801_088,
}


@pytest.mark.parametrize(("preset", "tower"), BY_HAND)
def test_encoder_flops_are_those_counted_by_hand(preset, tower):
    assert encoder_flops(preset_config(preset, tower).vision_config) == BY_HAND[preset, tower]


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("num_projector_layers", [1, 2])
def test_connector_flops_are_what_torch_counts(compressor, num_projector_layers):
    model = tiny(compressor=compressor, num_projector_layers=num_projector_layers)
    connector = model.model.connector
    formula = connector_flops(model.config, connector.num_tokens, connector.compressor.width)
    assert counted(lambda: connector(torch.rand(1, 64, 192))) == formula


def test_prefill_flops_are_what_torch_counts_less_half_of_attention():
    model = tiny()
    text = model.config.text_config
    ids = torch.full((1, 17), 5)
    half = text.num_hidden_layers * attention_flops(17, 17, text.hidden_size) // 2
    # The angles of positions, which the formula leaves out, are a matrix product in transformers before 5.20.
    angles = counted(lambda: model.model.language_model.rotary_emb(torch.rand(1, 17, 4), torch.arange(17)[None]))
    assert counted(lambda: model(input_ids=ids, logits_to_keep=1)) == prefill_flops(text, 17) + half + angles


@pytest.mark.parametrize(
    ("tower", "resolution", "tera"),
    [("argus", "nr", 5.0), ("argus", "hr", 9.5), ("m3d", "hr", 303), ("radfm", "hr", 10.2)],
)
def test_costs_with_an_8b_model_are_the_known_ones(tower, resolution, tera):
    cost = study_cost(preset_config(f"argus-8b-{resolution}", tower))
    assert cost.total_flops / 1e12 == pytest.approx(tera, rel=0.02)


def test_m3d_with_its_published_32_slices_costs_what_is_known():
    config = preset_config("argus-8b-nr", "m3d")
    config.vision_config.image_size = (32, 256, 256)
    cost = study_cost(config)
    assert (cost.tower_tokens, cost.visual_tokens) == (2048, 256)
    assert cost.total_flops / 1e12 == pytest.approx(4.9, rel=0.02)


def test_ct2rep_with_13824_tokens_costs_what_is_known():
    config = preset_config("argus-8b-hr", "ct2rep")
    config.vision_config.image_size = (288, 576, 576)
    cost = study_cost(config)
    assert cost.tower_tokens == cost.visual_tokens == 13824
    assert cost.total_flops / 1e12 == pytest.approx(245, rel=0.02)
