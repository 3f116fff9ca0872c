"""Generate reports greedily in batches over a whole split, in one process or several; interrupted runs continue."""

import copy
import hashlib
import json
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

from argus_processing.failures import is_stop, reason_of
from argus_processing.instructions import INSTRUCTION
from argus_processing.storage.progress import progress_bar
from argus_processing.storage.whole_files import naming

from .predictions_file import Prediction, continue_predictions, part_of, put_in_order, read_predictions, to_line
from .preparation import begun_ahead, prepare_ahead
from .processes import ALONE, Processes

MAX_NEW_TOKENS = 1024  # the text length that training keeps: no report is cut shorter than it was taught
UNFINISHED_LETTER = "\ufffd"  # what a tokenizer writes for the bytes of a letter that the limit cut through


@dataclass(frozen=True)
class Generated:
    """One generated report; `truncated` is true if the token limit cut it before it ended."""

    text: str
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
    prompts = [prompt_of(processor, instruction) for instruction in instructions]
    return generate_from(
        model, processor, inputs_of(processor, prompts, images), max_new_tokens, streamer=streamer, stopping=stopping
    )


def generate_from(
    model: Any,
    processor: Any,
    inputs: Any,
    max_new_tokens: int = MAX_NEW_TOKENS,
    *,
    streamer: Any | None = None,
    stopping: Any | None = None,
) -> list[Generated]:
    """Write one report for each scan of a model's inputs; see `generate_batch`."""
    import torch

    inputs = inputs.to(device_of(model))
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
    ends = end_tokens(model)
    return [decode_report(processor, row, ends) for row in tokens[:, inputs["input_ids"].shape[1] :].tolist()]


def device_of(model: Any) -> Any:
    """Return the device on which a model takes its inputs, also where weights wait in the host's memory or on disk."""
    device = getattr(getattr(model, "_hf_hook", None), "execution_device", None)
    return model.device if device is None else device


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


def end_tokens(model: Any) -> set[int]:
    """Return the tokens that end a report (Llama 3 has two)."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        raise ValueError("the model's generation configuration names no end token (eos_token_id)")
    return {ends} if isinstance(ends, int) else set(ends)


def decode_report(processor: Any, row: list[int], ends: set[int]) -> Generated:
    """Cut one row of new tokens at its first end token; a row without one was cut by the limit."""
    num_tokens = next((index for index, token in enumerate(row) if token in ends), len(row))
    text = processor.tokenizer.decode(row[:num_tokens], skip_special_tokens=True)
    return Generated(text.removesuffix(UNFINISHED_LETTER).strip(), num_tokens, truncated=num_tokens == len(row))


def image_of_scan(example: dict[str, Any]) -> Any:
    """Read the CT of an example whose `image` column gives bytes or a path (`datasets.Nifti(decode=False)`)."""
    from argus_processing.read_ct import read_ct_row

    return read_ct_row(example["image"])


class ReportBatches(Protocol):
    """A model that writes the reports of batches of scans.

    Attributes:
        ahead: number of batches that it works on beside the one that is waited for.
    """

    ahead: int

    def preparer(self, volume_cache: Path | None) -> Callable[[Sequence[Any], str], Any]:
        """Return a function of (images, instruction) that makes the model's inputs, for use in one thread.

        With a folder of preprocessed volumes, see `VolumeCache`, those of images that are files come from there.
        """

    def begin(self, inputs: Any, max_new_tokens: int) -> Callable[[], list[Generated]]:
        """Begin a batch; the function that is returned waits for its reports."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True)
class TransformersBatches:
    """A model of transformers in this process; a batch is written when it is waited for."""

    model: Any
    processor: Any
    ahead: int = 0

    def preparer(self, volume_cache: Path | None = None) -> Callable[[Sequence[Any], str], Any]:
        """Return a function that makes the model's inputs, for use in one thread."""
        # A processor of its own: a tokenizer that is used by two threads at a time refuses one of them.
        processor = copy.deepcopy(self.processor)
        processor.image_processor = volumes_of(processor.image_processor, volume_cache)

        def prepare(images: Sequence[Any], instruction: str) -> Any:
            return inputs_of(processor, [prompt_of(processor, instruction)] * len(images), images)

        return prepare

    def begin(self, inputs: Any, max_new_tokens: int) -> Callable[[], list[Generated]]:
        """Return the function that writes the batch."""
        return partial(generate_from, self.model, self.processor, inputs, max_new_tokens)

    def close(self) -> None:
        """Leave the model to who loaded it."""


def volumes_of(image_processor: Any, volume_cache: Path | None) -> Any:
    """Return the image processor, or the cache of its volumes in a folder, which is called in the same way."""
    if volume_cache is None:
        return image_processor
    from argus_processing.storage.volume_cache import VolumeCache

    return VolumeCache(volume_cache, image_processor)


def row_of_scan(example: dict[str, Any]) -> Any:
    """Return the `image` column of an example, unread: a cache may hold its volume."""
    return example["image"]


def generate_reports(
    engine: ReportBatches,
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
    processes: Processes = ALONE,
    volume_cache: Path | None = None,
) -> list[Prediction]:
    """Generate a report for every example of `dataset` and return them in its order.

    Lines are appended batch by batch; a second start keeps the finished lines and goes on. Batches start at fixed
    places in the dataset, and a batch that was written in part is generated again in full. So an interrupted run ends
    with the same file, byte for byte, as a run without interruption. While the reports of a batch are generated, the
    scans of the next one are read and preprocessed.

    Several processes share the batches, never a batch, because its composition decides the last digits. Each keeps its
    lines in a file of its own, and the first one joins them: the same file as of one process, also after an
    interruption and with another number of processes.

    Args:
        engine: what writes the reports.
        dataset: examples with `scan_id` (unique), `report` and the columns that `image_of` needs.
        settings: everything else that the predictions depend on, besides the arguments here; most of all the
            model's hash. It is kept in `<out_jsonl>.settings.json`.
        instruction: the same for every scan.
        image_of: gives an example's image; a control gives another image here. Called in a thread.
        label: the name beside the progress bar.
        id_of: gives the name under which a scan is written, from its `scan_id`.
        on_failure: called with the `scan_id` and the reason when a scan cannot be read or no report can be written for
            it. That scan is left out, and the next start tries it again. Default: such a scan ends the run.
        processes: those that generate together; only the first one needs `settings`.
        volume_cache: folder of preprocessed volumes; then `image_of` gives rows or paths, not scans that were read.

    Raises:
        ValueError: if `out_jsonl` belongs to another model, data set or setting, or scan ids repeat.
        ConnectionError: if another process has ended.
    """
    path, texts = Path(out_jsonl), dataset.select_columns(["scan_id", "report"])
    _check_unique(texts["scan_id"])
    names = [id_of(scan_id) for scan_id in texts["scan_id"]]
    if processes.is_main:
        options = {"instruction": instruction, "max_new_tokens": max_new_tokens}
        continue_predictions(path, {**settings, **options, "dataset": _fingerprint(names, texts["report"])}, names)
    processes.wait()
    done = {line.scan_id for line in read_predictions(path)} if path.exists() else set()
    # Nobody writes into that file before everybody has read it.
    processes.wait()
    batches = [range(start, min(start + batch_size, len(names))) for start in range(0, len(names), batch_size)]
    own = processes.share([batch for batch in batches if not all(names[index] in done for index in batch)])
    writer = _ReportWriter(engine, dataset, image_of, instruction, max_new_tokens, on_failure, volume_cache)
    target = path if processes.count == 1 else part_of(path, processes.rank)
    with naming(target), target.open("a", encoding="utf-8") as file, progress_bar(processes.is_main) as progress:
        # Of its own share alone each process knows how much is done.
        counted = (len(names), len(done)) if processes.count == 1 else (sum(map(len, own)), 0)
        task = progress.add_task(label, total=counted[0], completed=counted[1])
        for new in writer.write_all(own, names, texts["report"], done):
            file.writelines(map(to_line, new))
            file.flush()
            progress.advance(task, len(new))
    processes.wait()
    if processes.is_main:
        put_in_order(path, names)
    processes.wait()
    finished = {line.scan_id: line for line in read_predictions(path)}
    return [finished[name] for name in names if name in finished]


@dataclass(frozen=True)
class _ReportWriter:
    """Everything that a batch of reports is written with."""

    engine: ReportBatches
    dataset: Any
    image_of: Callable[[dict[str, Any]], Any]
    instruction: str
    max_new_tokens: int
    on_failure: Callable[[str, str], None] | None
    volume_cache: Path | None

    def preparation(self) -> Callable[[Sequence[int]], Any]:
        """Return the function that reads and preprocesses the scans of a batch, for use in one thread."""
        prepare = self.engine.preparer(self.volume_cache)
        return lambda batch: prepare([self.image_of(self.dataset[index]) for index in batch], self.instruction)

    def write_all(
        self, batches: Sequence[Sequence[int]], names: Sequence[str], references: Sequence[str], done: Container[str]
    ) -> Iterator[list[Prediction]]:
        """Yield the new lines of each batch, without those that are done."""
        with closing(prepare_ahead(self.preparation(), batches)) as prepared:
            for batch, wait in begun_ahead(prepared, self.begin, self.engine.ahead):
                yield [
                    Prediction(names[index], report.text, references[index], report.num_tokens, report.truncated)
                    for index, report in self.write(batch, wait)
                    if names[index] not in done
                ]

    def begin(self, prepared: Future[Any]) -> Callable[[], list[Generated]]:
        """Begin a batch; an error comes when its reports are waited for."""
        try:
            return self.engine.begin(prepared.result(), self.max_new_tokens)
        except BaseException as error:
            if is_stop(error):
                raise
            return partial(_raise, error)

    def write(self, batch: Sequence[int], wait: Callable[[], list[Generated]]) -> list[tuple[int, Generated]]:
        """Return the reports of a batch; if that fails, try each scan alone, so that a bad one does not stop others."""
        try:
            return list(zip(batch, wait(), strict=True))
        except BaseException as error:
            if self.on_failure is None:
                raise
            reason = reason_of(error, "be reported on")
        if len(batch) == 1:
            self.on_failure(self.dataset[batch[0]]["scan_id"], reason)
            return []
        prepare = self.preparation()
        alone = ([index] for index in batch)
        return [report for one in alone for report in self.write(one, partial(self._write_now, prepare, one))]

    def _write_now(self, prepare: Callable[[Sequence[int]], Any], batch: Sequence[int]) -> list[Generated]:
        return self.engine.begin(prepare(batch), self.max_new_tokens)()


def _raise(error: BaseException) -> NoReturn:
    raise error


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
