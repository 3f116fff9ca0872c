"""Assembling model folders: compressors, projectors and towers by name."""

import shutil

import hostile_folders as hostile
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from argus_inference.model_folder import load_model
from argus_training.assembly.create import create_model
from modeling_argus import TOWERS, ArgusVisionConfig, ArgusVisionModel, preset_config, preset_vision_config


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


def test_a_padding_token_that_the_language_model_never_got_gets_a_row(llm, tmp_path):
    shutil.copytree(llm, tmp_path / "llm")
    hostile.edit(tmp_path / "llm" / "tokenizer_config.json", "pad_token", to="[PAD]")
    model, processor = load_model(create_model("argus-tiny", tmp_path / "m", llm=tmp_path / "llm", dtype="float32"))
    pad, rows = processor.tokenizer.pad_token_id, model.get_input_embeddings().weight.shape[0]
    assert model.generation_config.pad_token_id == pad == rows - 1 == model.config.text_config.vocab_size - 1


def test_the_perceiver_takes_as_many_latents_as_are_asked_for(llm, tmp_path):
    arguments = {"llm": llm, "dtype": "float32", "num_latents": 5}
    folder = create_model("argus-tiny", tmp_path / "m", compressor="perceiver", **arguments)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert model.model.connector.compressor.latents.shape == (5, 192)
    assert AutoProcessor.from_pretrained(folder).num_image_tokens == 5
    with pytest.raises(ValueError, match="num_latents is for the compressor perceiver"):
        create_model("argus-tiny", tmp_path / "n", **arguments)


@pytest.mark.parametrize("tower", TOWERS)
def test_every_tower_runs_in_bfloat16_and_under_autocast(llm, tmp_path, tower):
    folder = create_model("argus-tiny", tmp_path / "m", llm=llm, tower=tower)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
    volume = torch.rand(1, 1, 32, 64, 64)
    features = model.get_image_features(volume.bfloat16()).pooler_output
    assert features.dtype == torch.bfloat16 and features.isfinite().all()
    model = model.float().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.get_image_features(volume).pooler_output.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.model.vision_tower.parameters() if p.grad is not None)


def test_the_card_tells_the_size_of_the_language_model_and_not_the_presets(llm, tmp_path):
    cards = {}
    for preset in ("argus-tiny", "argus-3b-nr"):
        create_model(preset, tmp_path / preset, llm=llm, dtype="float32")
        cards[preset] = (tmp_path / preset / "README.md").read_text()
    number = AutoModelForCausalLM.from_pretrained(llm).num_parameters()
    assert all(
        f"| language model | as given to `argus create`: llama, {number:,} parameters |" in card
        for card in cards.values()
    )
    assert "# argus-tiny\n" in cards["argus-tiny"] and "| preset | argus-tiny |" in cards["argus-tiny"]
    # A grid's preset gives the vision alone: the same one stands over a 3B and a 70B model.
    assert "# Argus on the grid of argus-3b-nr\n" in cards["argus-3b-nr"]
    assert "| preset | argus-3b-nr, with a language model or a tower of another size |" in cards["argus-3b-nr"]


def test_the_card_tells_that_a_tower_is_narrower_than_the_presets(llm, tmp_path):
    config = preset_vision_config("argus-tiny").to_dict() | {"hidden_size": 96, "intermediate_size": 192}
    ArgusVisionModel(ArgusVisionConfig(**config)).save_pretrained(tmp_path / "tower")
    create_model("argus-tiny", tmp_path / "model", llm=llm, vision=tmp_path / "tower", dtype="float32")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "# Argus on the grid of argus-tiny\n" in card and "| size of the vision tower | width 96, " in card


@pytest.mark.parametrize(
    "wrong", [{"tower": "eiffel"}, {"compressor": "zip"}, {"num_projector_layers": 3}, {"preprocessing": "none"}]
)
def test_unknown_names_are_refused_and_nothing_is_written(llm, tmp_path, wrong):
    with pytest.raises(ValueError, match=r"eiffel|zip|num_projector_layers|preprocessing"):
        create_model("argus-tiny", tmp_path / "m", llm=llm, **wrong)
    assert not (tmp_path / "m").exists()


# RadFM: embedding_layer.fc is one Linear. M3D: spatial pooling, then an MLP of two. CT2Rep: att_embed is one Linear.
@pytest.mark.parametrize(("tower", "num_layers"), [("argus", 2), ("m3d", 2), ("radfm", 1), ("ct2rep", 1)])
def test_a_tower_comes_with_the_projector_of_its_own_system(llm, tmp_path, tower, num_layers):
    folder = create_model("argus-tiny", tmp_path / "m", llm=llm, dtype="float32", tower=tower)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    linear = [layer for layer in model.model.connector.projector if isinstance(layer, torch.nn.Linear)]
    assert len(linear) == num_layers == preset_config("argus-8b-hr", tower).num_projector_layers
    layers = f"{num_layers} linear layer{'s' if num_layers > 1 else ''} |"
    assert layers in (folder / "README.md").read_text()


def test_a_baseline_takes_the_papers_preprocessing_and_another_grid(llm, tmp_path):
    arguments = {"llm": llm, "dtype": "float32", "tower": "m3d"}
    folder = create_model("argus-tiny", tmp_path / "m", preprocessing="paper", image_size=(64, 64, 64), **arguments)
    model, processor = load_model(folder)
    pixels = processor.image_processor
    assert (pixels.normalization, pixels.crop, pixels.resampling) == ("hu_window", "none", "paper")
    assert tuple(pixels.image_size) == tuple(model.config.vision_config.image_size) == (64, 64, 64)
    assert processor.num_image_tokens == 2 * 8  # twice the slices of the preset, in patches of as many
    assert "| preprocessing | the Argus paper's |" in (folder / "README.md").read_text()
    with pytest.raises(ValueError, match="do not tile"):
        create_model("argus-tiny", tmp_path / "n", image_size=(64, 64, 65), **arguments)
