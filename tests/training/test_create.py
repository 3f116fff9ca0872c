"""Assembling model folders: compressors, projectors and towers by name."""

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor

from argus_training.create import create_model


@pytest.fixture(scope="module")
def llm(model_dir):
    return model_dir.parent / "llm"


@pytest.mark.parametrize(
    ("compressor", "num_tokens"), [(None, 8), ("average_pooling", 8), ("perceiver", 8), ("none", 64)]
)
def test_a_folder_is_made_with_the_named_compressor(llm, tmp_path, compressor, num_tokens):
    folder = create_model(
        "argus-tiny", tmp_path / "m", llm=llm, dtype="float32", compressor=compressor, num_projector_layers=1
    )
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert model.config.compressor == (compressor or "pixel_shuffle")
    assert model.config.num_projector_layers == 1 and len(model.model.connector.projector) == 1
    assert model.model.connector.num_tokens == num_tokens
    assert AutoProcessor.from_pretrained(folder).num_image_tokens == num_tokens


@pytest.mark.parametrize("wrong", [{"tower": "eiffel"}, {"compressor": "zip"}, {"num_projector_layers": 3}])
def test_unknown_names_are_refused_and_nothing_is_written(llm, tmp_path, wrong):
    with pytest.raises(ValueError, match=r"eiffel|zip|num_projector_layers"):
        create_model("argus-tiny", tmp_path / "m", llm=llm, **wrong)
    assert not (tmp_path / "m").exists()
