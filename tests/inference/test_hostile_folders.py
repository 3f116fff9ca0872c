"""Model folders that somebody else made: refused in one line each, in no time, with nothing of theirs run."""

import time

import hostile_folders as hostile
import pytest
import torch
from hostile_folders import config, own_code, setting
from safetensors import safe_open

from argus_inference.model_folder import Loading, load_model
from argus_processing.saved_models.model_folders import REPORT_WRITER, check_model, check_processor


def processor(*keys, to):
    return setting("processor_config.json", *keys, to=to)


FOLDERS = {
    **hostile.WEIGHTS,
    "code": hostile.ANY_MODEL["code"],
    "code of another repository": hostile.ANY_MODEL["code of another repository"],
    "code under our name": own_code(classes={"AutoConfig": "evil.Config"}, file="config.json"),
    "code of another repository under our name": own_code(classes=hostile.OTHER_CODE, file="config.json"),
    "processor": own_code(
        ("processor_config.json", ("processor_class",), "Evil"),
        classes={"AutoProcessor": "evil.Processor"},
        file="processor_config.json",
    ),
    "image processor": own_code(
        ("processor_config.json", ("image_processor", "image_processor_type"), "Evil"),
        classes={"AutoImageProcessor": "evil.Processor"},
        file="processor_config.json",
        inside=("image_processor",),
    ),
    "tokenizer": own_code(
        ("tokenizer_config.json", ("tokenizer_class",), "Evil"),
        classes={"AutoTokenizer": [None, "evil.Tokenizer"]},
        file="tokenizer_config.json",
    ),
    "tokenizer that is a loader": setting("tokenizer_config.json", "tokenizer_class", to="AutoConfig"),
    "processor that is a loader": processor("processor_class", to="AutoModel"),
    "language model": own_code(
        ("config.json", ("text_config", "model_type"), "evil"),
        classes=hostile.CONFIG_CODE,
        file="config.json",
        inside=("text_config",),
    ),
    "language model that reads pickles": config("text_config", "model_type", to="rag"),
    "vision": config("vision_config", "model_type", to="evil"),
    "vision of transformers": config("vision_config", "model_type", to="clip_vision_model"),
    "no vision": config("vision_config", to=None),
    "generation": hostile.custom_generate,
    "beams": setting("generation_config.json", "num_beams", to=10**6),
    "kernel of the language model": config("text_config", "attn_implementation", to="user/kernel"),
    "quantizer of the language model": config("text_config", "quantization_config", to={"quant_method": "awq"}),
    "type of the vision's numbers": config("vision_config", "dtype", to="os.system"),
    "vision layers": config("vision_config", "num_hidden_layers", to=10**7),
    "language layers": config("text_config", "num_hidden_layers", to=10**7),
    "vocabulary": config("text_config", "vocab_size", to=1 << 24),
    "latents": config("num_latents", to=10**9),
    "grid": config("vision_config", "image_size", to=[32_000, 64_000, 64_000]),
    "grid of the processor": processor("image_processor", "image_size", to=[3200, 6400, 6400]),
    "another grid": processor("image_processor", "image_size", to=[32, 64, 128]),
    "visual tokens": processor("num_image_tokens", to=10**9),
    "one visual token more": processor("num_image_tokens", to=9),
    "another placeholder": config("image_token_id", to=10**6),
    "no deviation": config("vision_config", "voxel_std", to=0),
    "deviation that is no number": config("vision_config", "voxel_std", to=float("nan")),
    "mean of words": config("vision_config", "voxel_mean", to="a"),
    "negative epsilon": config("text_config", "rms_norm_eps", to=-1.0),
    "dropout": config("vision_config", "attention_dropout", to=7.0),
    "deviations": config("vision_config", "voxel_std", to=[0.25]),
    "no mean": config("vision_config", "voxel_mean", to=None),
    "list of kinds": config("model_type", to=["argus"]),
    "window": processor("image_processor", "hu_window", to=[float("nan"), 5]),
    "spacing": processor("image_processor", "target_spacing_mm", to=[1e-9, 1e-9, 1e-9]),
    "resampling": processor("image_processor", "resampling", to="os.system"),
    "compressor": config("compressor", to="os.system"),
    "activation": config("vision_config", "hidden_act", to="os.system"),
    "rope": config("text_config", "rope_parameters", to={"rope_type": "evil"}),
    "tokenizer without words": hostile.text("tokenizer.json", "{}"),
    "tokenizer that swells": setting(
        "tokenizer.json",
        "normalizer",
        to={"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40},
    ),
    "no template": lambda folder: (folder / "chat_template.jinja").unlink(),
    "template without a scan": hostile.text("chat_template.jinja", "hello"),
    "template that fails": hostile.text("chat_template.jinja", "{{ messages.__class__ }}"),
    "endless template": hostile.text("chat_template.jinja", "{% for i in range(99999) %}{% endfor %}"),
    "template of 2 MB": hostile.text("chat_template.jinja", "x" * 2_000_000),
    "template in the processor": processor("chat_template", to="{{ 9 ** 9 ** 9 }}"),
    "unknown tensor": hostile.changed_weights(lambda weights: weights.update({"evil": torch.zeros(3)})),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_hostile_folder_is_refused_in_a_line(model_dir, tmp_path, monkeypatch, capfd, name):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the folder's code"))
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    FOLDERS[name](folder)
    if name == "template in the processor":
        (folder / "chat_template.jinja").unlink()
    started = time.monotonic()
    with pytest.raises((ValueError, OSError)) as error:
        load_model(folder)
    assert time.monotonic() - started < 10
    assert str(folder) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600
    assert not (tmp_path / hostile.MARK).exists()


def test_own_code_is_named_with_the_flag_that_runs_it(model_dir, tmp_path):
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    FOLDERS["code"](folder)
    with pytest.raises(ValueError, match=r"config\.json.*its own code.*--trust-remote-code"):
        load_model(folder)
    with pytest.raises(ValueError):  # the class is no model at all, but it was asked for
        load_model(folder, Loading(trust=True))
    assert (tmp_path / hostile.MARK).exists()


def test_an_honest_folder_in_shards_loads(model_dir, tmp_path):
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    hostile.indexed(lambda folder, at: "model-00001-of-00001.safetensors")(folder)
    assert check_model(folder, REPORT_WRITER) == [folder / "model-00001-of-00001.safetensors"]
    load_model(folder)


def test_every_shard_holds_just_what_the_index_says(model_dir, tmp_path):
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    hostile.indexed(lambda folder, at: "model-00001-of-00001.safetensors")(folder)
    (folder / "model-00002-of-00002.safetensors").symlink_to((folder / "model-00001-of-00001.safetensors").resolve())
    with safe_open(folder / "model-00001-of-00001.safetensors", "pt") as weights:
        name = min(weights.keys())
    hostile.edit(folder / "model.safetensors.index.json", "weight_map", name, to="model-00002-of-00002.safetensors")
    with pytest.raises(ValueError, match="also holds"):
        load_model(folder)


def test_what_training_and_create_write_passes_as_it_is(model_dir):
    check_model(model_dir, REPORT_WRITER)
    check_processor(model_dir)
