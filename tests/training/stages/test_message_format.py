"""Conversations as one column `messages`, trained by TRL's own trainer with nothing of ours but model and processor."""

import datasets
import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

from argus_processing.instructions import instruction_for


@pytest.fixture
def examples(phantoms) -> datasets.Dataset:
    rows = phantoms["train"].cast_column("image", datasets.Nifti(decode=False))

    def example(row: dict) -> dict:
        asked = {"role": "user", "content": instruction_for(row["scan_id"])}
        return {"image": row["image"]["path"], "messages": [asked, {"role": "assistant", "content": row["report"]}]}

    features = datasets.Features(
        {
            "image": datasets.Value("string"),
            "messages": [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
        }
    )
    return rows.map(example, remove_columns=rows.column_names, features=features, load_from_cache_file=False)


def trainer_for(model_dir, examples, folder, **settings) -> SFTTrainer:
    config = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=3,
        max_steps=1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        max_length=None,
        **settings,
    )
    model = AutoModelForImageTextToText.from_pretrained(model_dir)
    return SFTTrainer(model, config, train_dataset=examples, processing_class=AutoProcessor.from_pretrained(model_dir))


def test_assistant_only_loss_teaches_each_report_and_its_end_alone(model_dir, examples, phantoms, tmp_path):
    trainer = trainer_for(model_dir, examples, tmp_path, assistant_only_loss=True)
    tokenizer = trainer.processing_class.tokenizer
    inputs = next(iter(trainer.get_train_dataloader()))
    taught = {tokenizer.decode(labels[labels != -100]) for labels in inputs["labels"]}
    assert taught == {report + "<|eot_id|>" for report in phantoms["train"]["report"]}
    trainer.train()


def test_placeholders_do_not_count_in_the_loss_of_whole_conversations(model_dir, examples, tmp_path):
    trainer = trainer_for(model_dir, examples, tmp_path)
    processor = trainer.processing_class
    inputs = next(iter(trainer.get_train_dataloader()))
    is_placeholder = inputs["input_ids"] == processor.image_token_id
    assert is_placeholder.sum() == 3 * processor.num_image_tokens
    is_text = inputs["attention_mask"].bool() & ~is_placeholder
    assert (inputs["labels"][is_placeholder] == -100).all()
    assert (inputs["labels"][is_text] == inputs["input_ids"][is_text]).all()
    trainer.train()
