"""Train a language model, small enough for two cores, on the language of reports from text alone.

A large instruct model can already write about the content of its context. A tiny one has to learn that first, or it
ignores visual tokens: it is trained to write a training report, or its impression alone, from keywords in the
prompt, in the place of the later image tokens. It sees no image and no held-out scan.
"""

import random
from pathlib import Path
from typing import Any

import datasets
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import SFTConfig

from argus_processing.phantom.layouts import report_sections
from argus_processing.saved_models.provenance import LanguagePart, Provenance, write_provenance
from argus_processing.storage.claimed_folders import whole_folder
from argus_training.assembly.report_tokenizer import train_tokenizer
from argus_training.labelled_loss import LabelledLossTrainer
from argus_training.stages.checkpoints import last_whole_checkpoint
from argus_training.stages.report_examples import report_messages
from argus_training.training_progress import tell_progress
from argus_training.training_record import TrainingData, record_training, train_on
from modeling_argus.presets_argus import TEXT_PRESETS

IMPRESSION_INSTRUCTION = "Give the impression only."


def tiny_llama(tokenizer: PreTrainedTokenizerFast, seed: int, sizes: dict[str, Any] | None = None) -> LlamaForCausalLM:
    """Return a randomly initialised Llama of preset "tiny" for a tokenizer; `sizes` replace those of the preset."""
    settings = {key: value for key, value in TEXT_PRESETS["tiny"].items() if key != "image_token_id"} | (sizes or {})
    config = LlamaConfig(
        **settings
        | {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
    )
    set_seed(seed)
    return LlamaForCausalLM(config)


def keywords_of(scan_id: str, findings: list[dict]) -> str:
    """Return a scan's findings as keywords, in an order drawn by its id.

    Example: "RightLungNodule UpperLobe BilateralEmphysema". Side and label are one word, and after tokenizer training
    one token, which holds both as a visual token does.
    """
    keywords = []
    for finding in findings:
        words = (_joined(finding["side"], finding["label"]), _joined(finding["place"]))
        keywords.append(" ".join(word for word in words if word))
    random.Random(scan_id).shuffle(keywords)
    return " ".join(keywords) or "Normal"


def _joined(*parts: str | None) -> str:
    return "".join(word.capitalize() for part in parts if part for word in part.split())


def language_messages(row: dict) -> dict:
    """Return `prompt` and `completion` of one training scan, with its keywords in the place of the image."""
    conversation = report_messages(row["scan_id"], row["report"])
    return _with_keywords(conversation, row)


def impression_messages(row: dict) -> dict:
    """Return the same scan with its impression alone as the answer.

    In a whole report few words name a side, and the model learns them last. In an impression every second word does.
    """
    _, impression = report_sections(row["report"])
    conversation = {
        "prompt": [{"role": "user", "content": IMPRESSION_INSTRUCTION}],
        "completion": [{"role": "assistant", "content": impression}],
    }
    return _with_keywords(conversation, row)


def _with_keywords(conversation: dict, row: dict) -> dict:
    message = conversation["prompt"][0]
    message["content"] = keywords_of(row["scan_id"], row["findings"]) + "\n" + message["content"]
    return conversation


def train_language_model(
    split: datasets.Dataset, out: Path, config: SFTConfig, data: TrainingData, sizes: dict[str, Any] | None = None
) -> Path:
    """Train tokenizer and tiny Llama to write a split's reports and impressions from keywords, without any image.

    Args:
        split: rows with `scan_id`, `report` and `findings`.
        out: folder for the model and its tokenizer.
        config: the trainer's settings; its seed also sets the weights.
        data: description of the split, for the model's provenance.
        sizes: sizes of the Llama that replace those of preset "tiny".
    """
    rows = split.select_columns(["scan_id", "report", "findings"])
    # Not from the cache: its key depends on this function but not on the functions that it calls.
    examples = datasets.concatenate_datasets(
        [
            rows.map(messages, remove_columns=rows.column_names, load_from_cache_file=False)
            for messages in (language_messages, impression_messages)
        ]
    )
    texts = [message["content"] for row in examples for message in row["prompt"] + row["completion"]]
    tokenizer = train_tokenizer(texts, TEXT_PRESETS["tiny"]["vocab_size"])
    trainer = LabelledLossTrainer(
        model=tiny_llama(tokenizer, config.seed, sizes), args=config, train_dataset=examples, processing_class=tokenizer
    )
    tell_progress(trainer)
    clock = train_on(trainer, last_whole_checkpoint(Path(str(config.output_dir))))
    if trainer.is_world_process_zero():
        model = trainer.accelerator.unwrap_model(trainer.model)
        with whole_folder(out) as part:
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            origin = LanguagePart(model.config.model_type, model.num_parameters(), is_trained_here=True)
            record = record_training(
                trainer, clock, name="language model", parts=("llm",), data=data, settings={"sizes": sizes or {}}
            )
            write_provenance(part, Provenance(language=origin).with_stage(*record))
    return out
