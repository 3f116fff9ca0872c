"""Vision features kept on disk: the same losses, each scan through the tower once, nothing stale, nothing damaged."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig

from argus_processing.storage.volume_cache import VolumeCache
from argus_training import sft
from argus_training.stages.feature_cache import FeatureCache, features_folder, fill, load_tower
from argus_training.stages.frozen_vision import reading_through
from argus_training.stages.recipe import RecipeArguments, set_trainable
from argus_training.stages.report_examples import report_examples
from argus_training.stages.report_trainer import make_trainer

SUBSET = {"num_train": 4, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 12.0, 12.0]}
EPOCHS = 2


def config_for(output_dir, **changes) -> SFTConfig:
    settings = {
        "per_device_train_batch_size": 2,
        "num_train_epochs": EPOCHS,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 0,
    }
    return SFTConfig(output_dir=str(output_dir), **settings | changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def train(model_dir, data, tmp_path_factory):
    """Run stage 1 with a recipe's further settings; returns its folder."""

    def run(config=None, **settings):
        output_dir = tmp_path_factory.mktemp("run") / "out"
        options = SUBSET | {"cache_dir": str(data)}
        recipe = RecipeArguments(str(model_dir), subset_options=options, stage="1", **settings)
        sft.train(recipe, config_for(output_dir, **config or {}))
        return output_dir / "stage1"

    return run


@pytest.fixture(scope="module")
def plain(train):
    return train()


@pytest.fixture(scope="module")
def cached(train, features):
    return train(feature_cache=str(features))


def losses(run) -> list[float]:
    state = json.loads((run / f"checkpoint-{EPOCHS * 2}" / "trainer_state.json").read_text())
    return [line["loss"] for line in state["log_history"] if "loss" in line]


def tokens_of(model_dir, scans, folder, images=None):
    """A cache of scans, with what fills it."""
    processor = AutoProcessor.from_pretrained(model_dir)
    tower, images = load_tower(model_dir), images or processor.image_processor
    cache = FeatureCache(features_folder(folder, tower, images, torch.float32))
    made = fill(cache, tower, images, scans, batch_size=2)
    return cache, tower, images, made


def test_losses_and_weights_are_those_without_the_cache(plain, cached):
    assert len(losses(plain)) == EPOCHS * 2
    assert losses(cached) == pytest.approx(losses(plain), abs=1e-5)
    expected, actual = (load_file(run / "model" / "model.safetensors") for run in (plain, cached))
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], atol=1e-5, rtol=1e-4)


def test_the_saved_processor_still_preprocesses(cached, scans):
    processor = AutoProcessor.from_pretrained(cached / "model")
    assert processor(images=[scans[0]], text=processor.image_token, return_tensors="pt")["pixel_values"].ndim == 5


def test_no_scan_goes_through_the_tower_in_training_and_once_before_it(
    model_dir, train, features, cached, monkeypatch, tmp_path
):
    from modeling_argus import ArgusVisionModel

    batches = []
    forward = ArgusVisionModel.forward
    monkeypatch.setattr(
        ArgusVisionModel, "forward", lambda self, volumes, **kw: batches.append(len(volumes)) or forward(self, volumes)
    )
    train(feature_cache=str(features))
    assert batches == []
    train(feature_cache=str(tmp_path))
    assert sum(batches) == SUBSET["num_train"]


def test_a_trained_tower_is_never_cached(train, tmp_path):
    parts = {"trainable_parts": ["vision", "connector"], "max_steps": 1}
    train(feature_cache=str(tmp_path / "features"), stage1=parts)
    assert not (tmp_path / "features").exists()


def test_the_model_takes_vision_tokens_for_volumes(model_dir, scans, tmp_path):
    processor = AutoProcessor.from_pretrained(model_dir)
    model = AutoModelForImageTextToText.from_pretrained(model_dir)
    cache, *_ = tokens_of(model_dir, scans[:2], tmp_path)
    text = [processor.image_token + "No lung nodule."] * 2
    expected, actual = (
        model(**through(images=scans[:2], text=text, return_tensors="pt")).logits
        for through in (processor, reading_through(processor, cache))
    )
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_another_tower_or_setting_is_another_folder(model_dir, tmp_path):
    tower, images = load_tower(model_dir), AutoProcessor.from_pretrained(model_dir).image_processor
    first = features_folder(tmp_path, tower, images, torch.float32)
    assert features_folder(tmp_path, load_tower(model_dir), images, torch.float32) == first
    others = {
        features_folder(tmp_path, tower, images, torch.bfloat16),
        features_folder(tmp_path, tower, VolumeCache(tmp_path, images), torch.float32),
    }
    images.resampling = "direct"
    others.add(features_folder(tmp_path, tower, images, torch.float32))
    images.resampling = "paper"
    with torch.no_grad():
        tower.layer_norm.bias[0] += 1e-6
    others.add(features_folder(tmp_path, tower, images, torch.float32))
    assert len(others - {first}) == 4


def test_a_full_cache_is_not_filled_again_and_a_short_entry_is(model_dir, scans, tmp_path):
    cache, tower, images, made = tokens_of(model_dir, scans, tmp_path)
    kept = cache.read(scans[1]).clone()  # what is read lies in the file itself
    assert made == len(scans) and fill(cache, tower, images, scans) == 0
    entry = cache.entry_of(scans[1])
    entry.write_bytes(entry.read_bytes()[:-1])
    with pytest.raises(ValueError, match="missing or damaged"):
        cache.read(scans[1])
    assert fill(cache, tower, images, scans) == 1
    torch.testing.assert_close(cache.read(scans[1]), kept)


def test_a_flipped_bit_is_found(model_dir, scans, tmp_path):
    cache, *_ = tokens_of(model_dir, scans[:1], tmp_path)
    content = bytearray(cache.entry_of(scans[0]).read_bytes())
    content[-9] ^= 1
    cache.entry_of(scans[0]).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        cache(scans[:1])


def test_a_missing_scan_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such scan file"):
        FeatureCache(tmp_path)([tmp_path / "gone.nii.gz"])


def test_workers_grouping_by_length_and_both_caches_go_together(train, features, tmp_path, plain):
    settings = {
        "train_sampling_strategy": "group_by_length",
        "dataloader_num_workers": 1,
        "dataloader_prefetch_factor": 2,
        "dataloader_persistent_workers": True,
    }
    caches = {"volume_cache": str(tmp_path / "volumes"), "feature_cache": str(tmp_path / "features")}
    run = train(settings, **caches)
    assert len(list((tmp_path / "volumes").rglob("*.planes"))) == SUBSET["num_train"]
    # Half an HU in the volumes, another order of the scans: near, not equal.
    assert losses(run) == pytest.approx(losses(plain), rel=0.5)


def test_batches_are_grouped_by_length(model_dir, phantoms, tmp_path):
    examples = report_examples(phantoms["train"])
    many = examples.select([index % len(examples) for index in range(24)])
    model, processor = AutoModelForImageTextToText.from_pretrained(model_dir), AutoProcessor.from_pretrained(model_dir)
    config = config_for(tmp_path, train_sampling_strategy="group_by_length")
    trainer = make_trainer(model, processor, config, {"train": many})
    sampler = trainer._get_train_sampler(trainer._remove_unused_columns(many))
    lengths = [many[index]["length"] for index in sampler]
    pairs = list(zip(lengths[::2], lengths[1::2], strict=True))
    assert sum(first == second for first, second in pairs) >= len(pairs) - len(examples)


def test_a_step_through_the_volume_cache_is_near_one_without(model_dir, phantoms, tmp_path):
    examples = report_examples(phantoms["train"])
    model, processor = AutoModelForImageTextToText.from_pretrained(model_dir), AutoProcessor.from_pretrained(model_dir)
    images = VolumeCache(tmp_path / "volumes", processor.image_processor)
    batches = [
        next(iter(make_trainer(model, processor, config_for(tmp_path), {"train": examples}, source)
                  .get_train_dataloader()))["pixel_values"]
        for source in (None, images)
    ]  # fmt: skip
    assert images.misses > 0
    torch.testing.assert_close(batches[1], batches[0], atol=3e-4, rtol=0)


@pytest.mark.parametrize(("parts", "passes"), [(["connector"], 1), (["vision", "connector"], 2)])
def test_checkpointing_recomputes_a_tower_only_where_it_trains(model_dir, phantoms, tmp_path, parts, passes):
    model, processor = AutoModelForImageTextToText.from_pretrained(model_dir), AutoProcessor.from_pretrained(model_dir)
    set_trainable(model, parts)
    counts = {"vision": 0, "language": 0}

    def count(name):
        def hook(*_):
            counts[name] += 1

        return hook

    model.model.vision_tower.layers[0].mlp.register_forward_pre_hook(count("vision"))
    model.model.language_model.layers[0].mlp.register_forward_pre_hook(count("language"))
    config = config_for(tmp_path, gradient_checkpointing=True, max_steps=1)
    make_trainer(model, processor, config, {"train": report_examples(phantoms["train"])}).train()
    assert counts == {"vision": passes, "language": 2}
    assert model.model.vision_tower.layers[0].gradient_checkpointing == (passes == 2)
