"""Generate reports greedily in batches over a whole split; an interrupted run continues its JSONL file."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from argus_processing.failures import reason_of
from argus_processing.instructions import INSTRUCTION
from argus_processing.storage.folder_owner import claim_for_settings
from argus_processing.storage.json_lines import finished_bytes, json_line, read_finished_lines
from argus_processing.storage.typed_json import from_json
from argus_processing.storage.whole_files import check_can_write, naming, write_json

from .console.progress import progress_bar

MAX_NEW_TOKENS = 1024  # the text length that training keeps: no report is cut shorter than it was taught
OTHER_FOLDER = "give another output folder or move it away"


@dataclass(frozen=True)
class Generated:
    """One generated report; `truncated` is true if the token limit cut it before it ended."""

    text: str
    num_tokens: int
    truncated: bool


@dataclass(frozen=True)
class Prediction:
    """One line of a predictions file."""

    scan_id: str
    prediction: str
    reference: str
    num_tokens: int
    truncated: bool


def generate_batch(
    model: Any,
    processor: Any,
    images: Sequence[Any],
    instructions: Sequence[str],
    max_new_tokens: int = MAX_NEW_TOKENS,
    streamer: Any | None = None,
    stopping: Any | None = None,
) -> list[Generated]:
    """Write one report for each image and its instruction, with greedy decoding.

    `images` holds anything that the processor takes as `images=`. `streamer` (one image only) is a transformers
    streamer that receives the tokens as they come. `stopping` is a `StoppingCriteriaList` that may end the reports
    earlier.
    """
    import torch

    prompts = [prompt_of(processor, instruction) for instruction in instructions]
    inputs = inputs_of(processor, prompts, images).to(model.device)
    inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    with torch.inference_mode():
        tokens = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=False,
            streamer=streamer,
            stopping_criteria=stopping,
        )
    ends = _end_tokens(model)
    return [_decode(processor, row, ends) for row in tokens[:, inputs["input_ids"].shape[1] :].tolist()]


def inputs_of(processor: Any, prompts: Sequence[str], images: Sequence[Any] | None) -> Any:
    """Make a model's inputs from prompts and images; the options saved with the tokenizer do not change them."""
    return processor(
        images=None if images is None else list(images),
        text=list(prompts),
        padding=True,
        truncation=False,
        return_tensors="pt",
        # The template writes the start token, so the tokenizer must not add a second one.
        add_special_tokens=False,
    )


def prompt_of(processor: Any, instruction: str) -> str:
    """Put an instruction for one image into the chat template."""
    return processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}],
        tokenize=False,
        add_generation_prompt=True,
    )


def _end_tokens(model: Any) -> set[int]:
    """Return the tokens that end a report (Llama 3 has two)."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        raise ValueError("the model's generation configuration names no end token (eos_token_id)")
    return {ends} if isinstance(ends, int) else set(ends)


def _decode(processor: Any, row: list[int], ends: set[int]) -> Generated:
    """Cut one row of new tokens at its first end token; a row without one was cut by the limit."""
    num_tokens = next((index for index, token in enumerate(row) if token in ends), len(row))
    text = processor.tokenizer.decode(row[:num_tokens], skip_special_tokens=True).strip()
    return Generated(text, num_tokens, truncated=num_tokens == len(row))


def image_of_scan(example: dict[str, Any]) -> Any:
    """Read the CT of an example whose `image` column gives bytes or a path (`datasets.Nifti(decode=False)`)."""
    from argus_processing.read_ct import read_ct_row

    return read_ct_row(example["image"])


def generate_reports(
    model: Any,
    processor: Any,
    dataset: Any,
    out_jsonl: Path,
    *,
    settings: dict[str, Any],
    instruction: str = INSTRUCTION,
    batch_size: int = 4,
    max_new_tokens: int = MAX_NEW_TOKENS,
    image_of: Callable[[dict[str, Any]], Any] = image_of_scan,
    label: str = "reports",
    id_of: Callable[[str], str] = str,
    on_failure: Callable[[str, str], None] | None = None,
) -> list[Prediction]:
    """Generate a report for every example of `dataset` and return them in its order.

    Lines are appended batch by batch; a second start keeps the finished lines and goes on. Batches start at fixed
    places in the dataset, and a batch that was written in part is generated again in full. So an interrupted run ends
    with the same file, byte for byte, as a run without interruption.

    Args:
        dataset: examples with `scan_id` (unique), `report` and the columns that `image_of` needs.
        settings: everything else that the predictions depend on, besides the arguments here; most of all the
            model's hash. It is kept in `<out_jsonl>.settings.json`.
        instruction: the same for every scan.
        image_of: gives an example's image; a control gives another image here.
        label: the name beside the progress bar.
        id_of: gives the name under which a scan is written, from its `scan_id`.
        on_failure: called with the `scan_id` and the reason when a scan cannot be read or no report can be written for
            it. That scan is left out, and the next start tries it again. Default: such a scan ends the run.

    Raises:
        ValueError: if `out_jsonl` belongs to another model, data set or setting, or scan ids repeat.
    """
    texts = dataset.select_columns(["scan_id", "report"])
    _check_unique(texts["scan_id"])
    names = [id_of(scan_id) for scan_id in texts["scan_id"]]
    options: dict[str, Any] = {"instruction": instruction, "max_new_tokens": max_new_tokens}
    guard = {**settings, **options, "dataset": _fingerprint(names, texts["report"])}
    done = _resume(Path(out_jsonl), guard)
    predict = _predict if on_failure is None else partial(_predict_each, on_failure=on_failure)
    with naming(out_jsonl), Path(out_jsonl).open("a", encoding="utf-8") as file, progress_bar() as progress:
        task = progress.add_task(label, total=len(dataset), completed=len(done))
        for start in range(0, len(dataset), batch_size):
            stop = min(start + batch_size, len(dataset))
            if all(name in done for name in names[start:stop]):
                continue
            examples = [dataset[index] for index in range(start, stop)]
            for line in predict(model, processor, examples, image_of, **options):
                named = replace(line, scan_id=id_of(line.scan_id))
                if named.scan_id not in done:
                    file.write(json_line(asdict(named)))
                    done[named.scan_id] = named
            file.flush()
            progress.update(task, completed=len(done))
    return [done[name] for name in names if name in done]


def _predict_each(
    model: Any,
    processor: Any,
    examples: Sequence[dict[str, Any]],
    image_of: Callable[[dict[str, Any]], Any],
    instruction: str,
    max_new_tokens: int,
    on_failure: Callable[[str, str], None],
) -> list[Prediction]:
    """Write the reports of one batch; if that fails, try each scan alone, so that a bad scan does not stop others."""
    try:
        return _predict(model, processor, examples, image_of, instruction, max_new_tokens)
    except BaseException as error:
        reason = reason_of(error, "be reported on")
    if len(examples) == 1:
        on_failure(examples[0]["scan_id"], reason)
        return []
    return [
        line
        for example in examples
        for line in _predict_each(model, processor, [example], image_of, instruction, max_new_tokens, on_failure)
    ]


def _predict(
    model: Any,
    processor: Any,
    examples: Sequence[dict[str, Any]],
    image_of: Callable[[dict[str, Any]], Any],
    instruction: str,
    max_new_tokens: int,
) -> list[Prediction]:
    """Write the reports of one batch of examples."""
    images = [image_of(example) for example in examples]
    reports = generate_batch(model, processor, images, [instruction] * len(images), max_new_tokens)
    return [
        Prediction(example["scan_id"], report.text, example["report"], report.num_tokens, report.truncated)
        for example, report in zip(examples, reports, strict=True)
    ]


def _check_unique(scan_ids: Sequence[str]) -> None:
    """Refuse repeated scan ids: a finished line is found again by its id."""
    seen: set[str] = set()
    for scan_id in scan_ids:
        if scan_id in seen:
            raise ValueError(f"scan_id {scan_id!r} comes twice in the data set; predictions are kept by scan_id")
        seen.add(scan_id)


def _fingerprint(names: Sequence[str], reports: Sequence[str]) -> str:
    """Return the SHA-256 of the scans' names and reference reports, in order."""
    digest = hashlib.sha256()
    for name, report in zip(names, reports, strict=True):
        digest.update(json.dumps([name, report]).encode())
    return digest.hexdigest()


def _resume(out_jsonl: Path, guard: dict[str, Any]) -> dict[str, Prediction]:
    """Return the finished lines of `out_jsonl` by scan id, after checking that they were made under `guard`."""
    sidecar = check_can_write(out_jsonl.with_name(out_jsonl.name + ".settings.json"))
    if not out_jsonl.exists():
        write_json(sidecar, guard)
        return {}
    if not sidecar.exists():
        raise ValueError(f"{out_jsonl}: has no {sidecar.name} beside it to say which model wrote it; move it away")
    claim_for_settings(sidecar, guard, owned=out_jsonl, advice=OTHER_FOLDER)
    return _read_finished(out_jsonl)


def _read_finished(out_jsonl: Path) -> dict[str, Prediction]:
    """Read the whole lines of a predictions file and cut a half-written last one off it."""
    make = partial(from_json, Prediction)
    lines = read_finished_lines(out_jsonl, make, fault="is not a prediction", advice=OTHER_FOLDER)
    if (size := finished_bytes(out_jsonl)) < out_jsonl.stat().st_size:
        os.truncate(out_jsonl, size)
    return {line.scan_id: line for line in lines}
