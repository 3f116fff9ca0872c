import pytest
import torch

from modeling_argus import PRESETS, ArgusForConditionalGeneration, preset_config

# Parameters in millions, computed by hand from the published layer sizes.
LLM_PARAMETERS = {"3b": 3212.749824, "8b": 8030.261248, "70b": 70553.706496}
CONNECTOR_PARAMETERS = {
    "3b": 6144 * 3072 + 3072 + 3072 * 3072 + 3072,
    "8b": 6144 * 4096 + 4096 + 4096 * 4096 + 4096,
    "70b": 6144 * 8192 + 8192 + 8192 * 8192 + 8192,
}
# 12 layers of 4 * 768^2 + 2 * 768 * 3072 weights with biases and norms, the patch embedding, positions, final norm.
LAYERS = 12 * (4 * (768 * 768 + 768) + 768 * 3072 + 3072 + 3072 * 768 + 768 + 4 * 768) + 2 * 768
VISION_PARAMETERS = {
    "nr": LAYERS + 8 * 16 * 16 * 768 + 768 + 2048 * 768,
    "hr": LAYERS + 16 * 32 * 32 * 768 + 768 + 4096 * 768,
}


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("preset", [name for name in PRESETS if not name.startswith("argus-tiny")])
def test_preset_builds_on_the_meta_device_with_the_papers_sizes(preset):
    _, size, resolution = preset.split("-")
    with torch.device("meta"):
        model = ArgusForConditionalGeneration(preset_config(preset))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model.model.connector.num_tokens == {"nr": 256, "hr": 512}[resolution]
    assert model.config.vision_config.num_tokens == {"nr": 2048, "hr": 4096}[resolution]
    assert count(model.model.connector) == CONNECTOR_PARAMETERS[size]
    assert count(model.model.vision_tower) == VISION_PARAMETERS[resolution]
    llm = count(model) - count(model.model.connector) - count(model.model.vision_tower)
    assert llm / 1e6 == pytest.approx(LLM_PARAMETERS[size], abs=1e-6)


def test_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"argus-9b.*argus-8b-hr"):
        preset_config("argus-9b")
