"""Training examples: a CT's path, an instruction and the report, in the columns TRL's trainer takes."""

import datasets

from argus_processing import ArgusProcessor
from argus_processing.instructions import instruction_for


def report_messages(scan_id: str, report: str) -> dict:
    """Return the conversation of one scan as `prompt` and `completion`; TRL puts the image into the prompt."""
    return {
        "prompt": [{"role": "user", "content": instruction_for(scan_id)}],
        "completion": [{"role": "assistant", "content": report}],
    }


def report_examples(split: datasets.Dataset) -> datasets.Dataset:
    """Turn a ct3drrg split into `image` (a path), `prompt`, `completion` and `length`, the letters of both.

    Volumes are read and preprocessed when a batch is made, so that nothing large is stored twice.
    """
    paths = split.cast_column("image", datasets.Nifti(decode=False))

    def example(row: dict) -> dict:
        messages = report_messages(row["scan_id"], row["report"])
        length = sum(len(message["content"]) for turn in messages.values() for message in turn)
        return {"image": row["image"]["path"], "length": length, **messages}

    features = datasets.Features(
        {"image": datasets.Value("string"), "length": datasets.Value("int32")}
        | {
            column: [{"role": datasets.Value("string"), "content": datasets.Value("string")}]
            for column in ("prompt", "completion")
        }
    )
    # Not from the cache: its key sees this function but not a change in those it calls.
    return paths.map(
        example, remove_columns=paths.column_names, features=features, load_from_cache_file=False, desc="Examples"
    )


def count_cut_reports(examples: datasets.Dataset, processor: ArgusProcessor, max_text_tokens: int) -> int:
    """Count examples whose prompt and report are longer than `max_text_tokens`, visual tokens aside."""
    tokenizer = processor.tokenizer

    def is_cut(row: dict) -> bool:
        conversation = row["prompt"] + row["completion"]
        text = processor.apply_chat_template(conversation)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"]) > max_text_tokens

    return sum(is_cut(row) for row in examples.remove_columns("image"))
