"""Language models, towers and checkpoints that somebody else made, where a model is put together or trained."""

import os
import pickle
import time
import zipfile

import hostile_folders as hostile
import pytest
import torch
from hostile_folders import own_code, setting

from argus_training.assembly.convert_weights import read_checkpoint
from argus_training.assembly.create import create_model
from argus_training.pretrain import PretrainArguments, starting_tower
from argus_training.pretraining.flip_objective import FLIPSettings, text_encoder_of
from argus_training.stages.feature_cache import load_tower
from modeling_argus import ArgusVisionModel, preset_vision_config

TOKENIZER = own_code(
    ("tokenizer_config.json", ("tokenizer_class",), "Evil"),
    classes={"AutoTokenizer": [None, "evil.Tokenizer"]},
    file="tokenizer_config.json",
)
LANGUAGE_MODELS = hostile.WEIGHTS | hostile.ANY_MODEL | {
    "tokenizer": TOKENIZER,
    "tokenizer that is a loader": setting("tokenizer_config.json", "tokenizer_class", to="AutoConfig"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(model_dir, tmp_path_factory):
    """Folders of a language model (beside the model that was made of it) and of a tower."""
    vision = tmp_path_factory.mktemp("tower") / "vision"
    ArgusVisionModel(preset_vision_config("argus-tiny")).save_pretrained(vision)
    return model_dir.parent / "llm", vision


def refused(folder, make):
    started = time.monotonic()
    with pytest.raises((ValueError, OSError)) as error:
        make()
    assert time.monotonic() - started < 10
    assert str(folder) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600
    assert not (folder.parent / hostile.MARK).exists()


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the folder's code"))


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_create_refuses_a_hostile_language_model_and_leaves_nothing(sources, tmp_path, name):
    folder = hostile.copy_folder(sources[0], tmp_path / "llm")
    LANGUAGE_MODELS[name](folder)
    refused(folder, lambda: create_model("argus-tiny", tmp_path / "out", llm=folder, dtype="float32"))
    assert not (tmp_path / "out").exists()


TOWERS = hostile.WEIGHTS | {
    name: spoil for name, spoil in hostile.ANY_MODEL.items() if name not in ("wide", "no finite number")
}


@pytest.mark.parametrize("name", TOWERS)
def test_create_and_pretraining_refuse_a_hostile_tower(sources, tmp_path, name):
    folder = hostile.copy_folder(sources[1], tmp_path / "vision")
    TOWERS[name](folder)
    refused(
        folder, lambda: create_model("argus-tiny", tmp_path / "out", llm=sources[0], vision=folder, dtype="float32")
    )
    assert not (tmp_path / "out").exists()
    if name != "configuration is a pipe":  # no file is there for who looks for one
        refused(folder, lambda: starting_tower(PretrainArguments("argus-tiny", start_from=str(folder))))


def test_code_beside_a_class_that_transformers_has_is_passed_over(sources, tmp_path):
    folder = hostile.copy_folder(sources[0], tmp_path / "llm")
    own_code(classes=hostile.CONFIG_CODE, file="config.json")(folder)
    create_model("argus-tiny", tmp_path / "out", llm=folder, dtype="float32")
    assert not (tmp_path / hostile.MARK).exists()


def test_flips_text_encoder_and_the_cached_tower_load_the_same_way(sources, model_dir, tmp_path):
    folder = hostile.copy_folder(sources[0], tmp_path / "llm")
    hostile.ANY_MODEL["code"](folder)
    refused(folder, lambda: text_encoder_of(FLIPSettings(text_encoder=str(folder)), []))
    model = hostile.copy_folder(model_dir, tmp_path / "model")
    hostile.WEIGHTS["index up"](model)
    refused(model, lambda: load_tower(model))


def saved(tmp_path, content):
    torch.save(content, tmp_path / "model.bin")


def compressed(tmp_path):
    """A checkpoint whose numbers are deflated: a thousand times smaller than what is made of it."""
    saved(tmp_path, {"a": torch.zeros(1 << 20)})
    with zipfile.ZipFile(tmp_path / "model.bin") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


CHECKPOINTS = {
    "pickle": lambda folder: (folder / "model.bin").write_bytes(pickle.dumps(hostile._Evil(folder / hostile.MARK))),
    "compressed": compressed,
    "view": lambda folder: saved(folder, {"a": torch.zeros(1).expand(1 << 40)}),
    "sparse": lambda folder: saved(folder, {"a": torch.eye(3).to_sparse()}),
    "meta": lambda folder: saved(folder, {"a": torch.empty(1 << 40, device="meta")}),
    "numbers": lambda folder: saved(folder, {1: torch.zeros(1)}),
    "cut": lambda folder: (folder / "model.bin").write_bytes(b"PK\x03\x04"),
    "pipe": lambda folder: os.mkfifo(folder / "model.bin"),
    "safetensors": lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 9),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_convert_refuses_a_checkpoint_that_is_more_than_tensors(tmp_path, name):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    CHECKPOINTS[name](folder)
    refused(folder, lambda: read_checkpoint(folder))
