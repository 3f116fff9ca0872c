"""Parts of a model tell their size, name and licence, and no folder of their owner."""

import shutil
from pathlib import Path

import pytest
from transformers import LlamaConfig

from argus_processing.saved_models.provenance import NOT_RECORDED, PRETRAINED, RANDOM, read_provenance
from argus_training.assembly.create import create_model
from argus_training.assembly.part_origins import BY_SIZE, language_part, public_name
from modeling_argus import ArgusVisionModel, preset_vision_config
from modeling_argus.presets_argus import TEXT_PRESETS


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("models/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct"),
        ("hub/models--meta-llama--Llama-3.2-3B-Instruct/snapshots/0e9e39f", "meta-llama/Llama-3.2-3B-Instruct"),
        ("home/smith-2024/llm", ""),
        ("Llama of John Smith", ""),
    ],
)
def test_a_folder_is_named_only_as_the_hub_names_it(tmp_path, folder, expected):
    (tmp_path / folder).mkdir(parents=True)
    assert public_name(tmp_path / folder) == expected


def test_an_id_of_the_hub_is_the_name():
    assert public_name("meta-llama/Llama-3.1-70B-Instruct") == "meta-llama/Llama-3.1-70B-Instruct"


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: llama3.3\n---\n", ("llama3.3", "its card")),
        ("---\nlicense: other\nlicense_name: own-terms\n---\n", ("own-terms", "its card")),
        ("---\nlicense: [a, b]\n---\n", ("", "")),
        ("---\nlicense: 'a | b'\n---\n", ("", "")),
        ("---\n: [\n---\n", ("", "")),
        ("---\n- a\n---\n", ("", "")),
        ("no metadata", ("", "")),
        (None, ("", "")),
    ],
)
def test_the_licence_is_read_from_the_language_models_card(tmp_path, empty_hub_cache, card, expected):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    part = language_part(LlamaConfig(), 5, tmp_path)
    assert (part.licence, part.licence_from) == expected


SIZES = {"3b": "llama3.2", "8b": "llama3.1", "70b": "llama3.1", "tiny": ""}


@pytest.mark.parametrize(("size", "licence"), SIZES.items())
def test_a_llama_without_a_card_is_known_by_its_size(tmp_path, size, licence):
    settings = {name: value for name, value in TEXT_PRESETS[size].items() if name != "image_token_id"}
    part = language_part(LlamaConfig(**settings), 5, tmp_path)
    assert (part.licence, part.licence_from) == (licence, BY_SIZE if licence else "")


def test_a_llama_3_of_before_has_its_own_licence(tmp_path):
    settings = {name: value for name, value in TEXT_PRESETS["8b"].items() if name != "rope_parameters"}
    assert language_part(LlamaConfig(**settings), 5, tmp_path).licence == "llama3"


def made_with(model_dir: Path, tmp_path: Path, **options):
    made = create_model("argus-tiny", tmp_path / "made", llm=model_dir.parent / "llm", dtype="float32", **options)
    return read_provenance(made)


def test_a_random_tower_is_recorded_as_such_and_nothing_was_trained(model_dir):
    provenance = read_provenance(model_dir)
    assert (provenance.vision.weights, provenance.vision.source) == (RANDOM, "")
    assert (provenance.preset, provenance.has_presets_size, provenance.preprocessing) == ("argus-tiny", True, "paper")
    assert provenance.stages == () and not provenance.knows_only_phantoms
    assert str(model_dir.parent) not in (model_dir / "argus.json").read_text()


def test_a_tower_that_tells_nothing_of_itself_is_not_taken_for_ours(model_dir, tmp_path):
    ArgusVisionModel(preset_vision_config("argus-tiny")).save_pretrained(tmp_path / "tower")
    vision = made_with(model_dir, tmp_path, vision=tmp_path / "tower").vision
    assert (vision.weights, vision.source) == (PRETRAINED, NOT_RECORDED)


def test_a_language_models_own_record_goes_along(model_dir, tmp_path):
    shutil.copytree(model_dir.parent / "llm", tmp_path / "llm")
    (tmp_path / "llm" / "argus.json").write_text(
        '{"format": 1, "language": {"model_type": "llama", "num_parameters": 7, "is_trained_here": true}}'
    )
    made = create_model("argus-tiny", tmp_path / "made", llm=tmp_path / "llm", dtype="float32")
    assert read_provenance(made).language.num_parameters == 7 and read_provenance(made).language.is_trained_here
