"""The worked example of CONTRIBUTING.md is run, and the tables that it names are where it says."""

import re
from pathlib import Path

import pytest
import torch
from tiny_models import IMAGE, tiny_text

from modeling_argus import ArgusConfig, ArgusForConditionalGeneration
from modeling_argus.connector_argus import COMPRESSORS
from modeling_argus.presets_argus import preset_vision_config

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_example_adds_a_compressor_that_a_model_is_built_with(monkeypatch):
    monkeypatch.setattr("modeling_argus.connector_argus.COMPRESSORS", dict(COMPRESSORS))
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(code, "CONTRIBUTING.md", "exec"), {})
    vision = preset_vision_config("argus-tiny", "argus")
    config = ArgusConfig(
        vision_config=vision, text_config=tiny_text(), image_token_id=IMAGE, compressor="maximum_pooling"
    )
    model = ArgusForConditionalGeneration(config).eval()
    tokens = torch.arange(vision.num_tokens, dtype=torch.float32)[None, :, None].expand(1, -1, vision.hidden_size)
    pooled = model.model.connector.compressor(tokens)
    assert pooled[0, :, 0].tolist() == list(range(7, vision.num_tokens, 8))
    assert model.model.connector.num_tokens == vision.num_tokens // 8


@pytest.mark.parametrize("path", re.findall(r"`([a-z_/]+(?:\.py|/))`", TEXT))
def test_every_place_that_it_names_is_there(path):
    assert (ROOT / path).exists() or path == "clinical_metrics.py"


@pytest.mark.parametrize(("name", "path"), re.findall(r"`(\w+)` (?:in |\()`([a-z_/]+\.py)`", TEXT))
def test_every_name_stands_where_it_says(name, path):
    assert re.search(rf"^(?:class |def )?{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
