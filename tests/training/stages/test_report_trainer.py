"""The trainer is TRL's own: its collator is the one that TRL makes by default, given when the trainer is made."""

from dataclasses import fields

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

from argus_processing.storage.volume_cache import VolumeCache
from argus_training.stages.report_examples import report_examples
from argus_training.stages.report_trainer import make_trainer


def config_for(output_dir, **changes) -> SFTConfig:
    settings = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True, "max_length": 300}
    return SFTConfig(output_dir=str(output_dir), **settings | changes)


@pytest.fixture
def parts(model_dir):
    return AutoModelForImageTextToText.from_pretrained(model_dir), AutoProcessor.from_pretrained(model_dir)


@pytest.fixture
def examples(phantoms):
    return {"train": report_examples(phantoms["train"])}


@pytest.mark.parametrize(
    "changes", [{}, {"max_length": None}, {"completion_only_loss": False}, {"pad_to_multiple_of": 8}]
)
def test_the_collator_is_the_one_that_trl_makes_by_default(parts, examples, tmp_path, changes):
    model, processor = parts
    by_trl = SFTTrainer(
        model=model,
        args=config_for(tmp_path, **changes),
        train_dataset=examples["train"],
        processing_class=processor,
    ).data_collator
    ours = make_trainer(model, processor, config_for(tmp_path, **changes), examples).data_collator
    assert type(ours) is type(by_trl)
    for field in fields(by_trl):
        assert getattr(ours, field.name) == getattr(by_trl, field.name), field.name
    assert ours.processor is processor


def test_model_and_tokenizer_share_the_padding_token_as_under_trl(parts, examples, tmp_path):
    model, processor = parts
    for config in (model.config.get_text_config(), model.generation_config):
        config.pad_token_id = None
    processor.tokenizer.pad_token = None
    make_trainer(model, processor, config_for(tmp_path), examples)
    end = processor.tokenizer.eos_token_id
    assert processor.tokenizer.pad_token_id == end
    assert model.config.get_text_config().pad_token_id == model.generation_config.pad_token_id == end
    with pytest.raises(ValueError, match="'none such' is no token"):
        make_trainer(model, processor, config_for(tmp_path, pad_token="none such"), examples)


def test_a_cache_reads_for_the_collator_and_the_processor_is_saved_whole(parts, examples, tmp_path):
    model, processor = parts
    own, images = processor.image_processor, VolumeCache(tmp_path / "volumes", processor.image_processor)
    trainer = make_trainer(model, processor, config_for(tmp_path), examples, images)
    assert trainer.data_collator.processor.image_processor is images
    assert trainer.processing_class is processor and processor.image_processor is own


def test_a_cache_beside_another_template_is_refused(parts, examples, tmp_path):
    model, processor = parts
    config = config_for(tmp_path, chat_template_path=str(tmp_path / "other.jinja"))
    images = VolumeCache(tmp_path / "volumes", processor.image_processor)
    with pytest.raises(ValueError, match="chat_template_path goes without caches"):
        make_trainer(model, processor, config, examples, images)
