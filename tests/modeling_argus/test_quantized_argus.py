"""Models whose linear layers hold integers: every tower still sees its scan, in 8 and in 4 bits."""

from importlib.util import find_spec

import pytest
import torch
from tiny_models import IMAGE, enlarge_matrices, tiny_text
from torch import nn
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from modeling_argus import TOWERS, ArgusConfig, ArgusForConditionalGeneration
from modeling_argus.presets_argus import TOWER_COMPRESSORS, preset_vision_config


def saved_model(folder, tower: str) -> ArgusForConditionalGeneration:
    """A saved model of small random weights that are large enough for a scan to matter."""
    torch.manual_seed(0)
    vision = preset_vision_config("argus-tiny", tower)
    text = tiny_text(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
    config = ArgusConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=IMAGE,
        compressor=TOWER_COMPRESSORS[tower],
        num_latents=8,
        perceiver_depth=1,
    )
    model = ArgusForConditionalGeneration(config).eval()
    enlarge_matrices(model, 3)
    model.save_pretrained(folder)
    return model


def scans() -> torch.Tensor:
    """Two scans of one brightness, `(2, 1, 32, 64, 64)` in [0, 1]: one is air in front, the other at the back."""
    volumes = torch.full((2, 1, 32, 64, 64), 0.5)
    volumes += 0.05 * torch.rand(volumes.shape, generator=torch.Generator().manual_seed(0))
    volumes[0, :, :, :24] *= 0.1
    volumes[1, :, :, 40:] *= 0.1
    return volumes


def features(model: ArgusForConditionalGeneration, volumes: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.get_image_features(volumes).pooler_output.float()


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("tower", TOWERS)
def test_quantised_models_tell_two_scans_apart_as_the_whole_one_does(tower, bits, tmp_path):
    whole = features(saved_model(tmp_path, tower), scans())
    config = BitsAndBytesConfig(load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_quant_type="nf4")
    model = AutoModelForImageTextToText.from_pretrained(
        tmp_path, dtype=torch.float32, device_map={"": "cpu"}, quantization_config=config
    )
    embedding = [module for module in model.model.vision_tower.modules() if isinstance(module, nn.Linear)][0]
    assert not embedding.weight.is_floating_point()
    quantised = features(model, scans())
    apart = (whole[0] - whole[1]).norm()
    assert apart > 0.01 * whole.norm()
    assert 0.5 < (quantised[0] - quantised[1]).norm() / apart < 2
    ids = torch.tensor([[1, *[IMAGE] * whole.shape[1], 7, 8]])
    with torch.inference_mode():
        first, second = (model(input_ids=ids, pixel_values=scan[None]).logits[0, -1] for scan in scans())
    assert (first - second).abs().max() > 1e-3


class PackedLinear(nn.Module):
    """A linear layer as other quantisers make it: what it holds is no `weight` of its input's type."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.packed = linear

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        assert inputs.is_floating_point() and inputs.ndim <= 3
        return self.packed(inputs)


@pytest.mark.parametrize("tower", TOWERS)
def test_no_tower_looks_into_its_linear_layers(tower, tmp_path):
    model = saved_model(tmp_path, tower)
    expected = features(model, scans())
    for parent in [module for module in model.modules() if not isinstance(module, PackedLinear)]:
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, PackedLinear(child))
    assert torch.equal(features(model, scans()), expected)
