"""Make training examples: a CT's path or bytes, an instruction and the report, in the columns of TRL's trainer."""

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
    """Convert a ct3drrg split to `image`, `prompt`, `completion` and `length`, the number of letters of both texts.

    `image` is a path; if the split holds the volumes themselves, so that a path is only a name, it is the row of
    `datasets.Nifti(decode=False)`. Volumes are read and preprocessed when a batch is made, so that nothing large is
    stored twice.
    """
    rows = split.cast_column("image", datasets.Nifti(decode=False))
    embedded = holds_volumes(rows)

    def example(row: dict) -> dict:
        messages = report_messages(row["scan_id"], row["report"])
        length = sum(len(message["content"]) for turn in messages.values() for message in turn)
        image = {} if embedded else {"image": row["image"]["path"]}
        return {**image, "length": length, **messages}

    features = {} if embedded else {"image": datasets.Value("string")}
    features |= {"length": datasets.Value("int32")}
    features |= {
        column: [{"role": datasets.Value("string"), "content": datasets.Value("string")}]
        for column in ("prompt", "completion")
    }
    told = rows.select_columns(["scan_id", "report"] if embedded else ["scan_id", "report", "image"])
    # Not from the cache: its key depends on this function but not on the functions that it calls.
    examples = told.map(
        example,
        remove_columns=told.column_names,
        features=datasets.Features(features),
        load_from_cache_file=False,
        desc="Examples",
    )
    return datasets.concatenate_datasets([rows.select_columns(["image"]), examples], axis=1) if embedded else examples


def holds_volumes(rows: datasets.Dataset) -> bool:
    """Return whether an `image` column of undecoded rows holds bytes, without reading them."""
    return any(part.field("bytes").null_count < len(part) for part in rows.data.column("image").chunks)


def count_cut_reports(examples: datasets.Dataset, processor: ArgusProcessor, max_text_tokens: int) -> int:
    """Count the examples whose prompt and report have more than `max_text_tokens` tokens, without visual tokens."""
    tokenizer = processor.tokenizer

    def is_cut(row: dict) -> bool:
        conversation = row["prompt"] + row["completion"]
        text = processor.apply_chat_template(conversation)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"]) > max_text_tokens

    return sum(is_cut(row) for row in examples.remove_columns("image"))


def draw_share(train: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Draw a share of a split, at least one scan; a share of 1 returns the split unchanged."""
    if share == 1:
        return train
    return draw_scans(train, max(1, round(share * len(train))), seed)


def draw_scans(train: datasets.Dataset, count: int, seed: int) -> datasets.Dataset:
    """Draw so many scans of a split; with the same seed, fewer of them are a part of more of them.

    Raises:
        ValueError: if the split has fewer.
    """
    if count > len(train):
        raise ValueError(f"train_count is {count}, but there are only {len(train)} training scans")
    return train.shuffle(seed=seed).select(range(count))
