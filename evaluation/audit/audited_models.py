"""Ask a model for reports of an audit's scans: an Argus model from its folder, or any model at an address."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from argus_inference.generation import MAX_NEW_TOKENS, generate_from, inputs_of, prompt_of
from argus_inference.model_folder import Loading, hash_model, load_model
from argus_inference.preparation import prepare_ahead
from argus_processing import CTVolume
from argus_processing.failures import reason_of
from argus_processing.instructions import INSTRUCTION
from argus_processing.storage.answer_store import answer_as_ready
from argus_processing.storage.progress import progress_bar

from .redrawn_scans import Spacing

MakeScan = Callable[[], CTVolume]
FIELD_MM = (295.0, 335.0, 335.0)  # of a phantom's image; its pixels are square
FINEST_MM, COARSEST_MM = (2.5, 1.25, 1.25), (8.0, 5.0, 5.0)
BATCH_SIZE = 16


@dataclass(frozen=True)
class Written:
    """The answer to one scan: a report, or None and the reason why there is none."""

    report: str | None
    failure: str = ""


class AuditedModel(Protocol):
    """A model under audit."""

    @property
    def name(self) -> str:
        """Return its name, as the page shows it."""

    @property
    def identity(self) -> str:
        """Return everything that decides its reports; stored answers of another identity are not taken for its own."""

    @property
    def chunk(self) -> int:
        """Return the number of scans that it is given at a time, after which their answers are stored."""

    @property
    def spacing_mm(self) -> Spacing | None:
        """Return the spacing of phantoms that look as it knows them; None: the phantoms' own, about (5, 3, 3) mm."""

    def write(self, scans: Sequence[MakeScan]) -> Iterator[tuple[int, Written]]:
        """Yield each scan's index and its report, in any order, as they come."""


class FolderModel:
    """An Argus model of a folder.

    Args:
        folder: folder of the saved model.
        loading: settings for loading it.
        batch_size: number of scans whose reports are generated together.
        max_new_tokens: a longer report is cut here.

    Raises:
        FileNotFoundError, ValueError: as `load_model`.
    """

    def __init__(
        self,
        folder: Path,
        loading: Loading | None = None,
        batch_size: int = BATCH_SIZE,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> None:
        loading = loading or Loading()
        settings = {"batch_size": batch_size, "max_new_tokens": max_new_tokens, **loading.to_settings()}
        self.model_hash = hash_model(folder)
        self.name = Path(folder).resolve().name
        self.identity = f"{self.model_hash}|{settings}"
        self.chunk = 4 * batch_size
        self._batch_size, self._max_new_tokens = batch_size, max_new_tokens
        self._model, self._processor = load_model(folder, loading)
        self.spacing_mm: Spacing | None = spacing_for(self._model.config.get_vision_config().image_size)

    def write(self, scans: Sequence[MakeScan]) -> Iterator[tuple[int, Written]]:
        """Yield the reports batch by batch; the next batch is drawn and preprocessed meanwhile."""
        step = self._batch_size
        batches = [range(start, min(start + step, len(scans))) for start in range(0, len(scans), step)]
        # A processor of its own: a tokenizer that is used by two threads at a time refuses one of them.
        apart = copy.deepcopy(self._processor)

        def prepare(batch: range) -> Any:
            return self._inputs(apart, [scans[index] for index in batch])

        with closing(prepare_ahead(prepare, batches)) as prepared:
            for batch, ready in prepared:
                try:
                    yield from zip(batch, self._generate(ready.result()), strict=True)
                except Exception:
                    # One by one, so that a scan that cannot be reported on does not stop the others.
                    yield from ((index, self._write_alone(scans[index])) for index in batch)

    def _inputs(self, processor: Any, scans: Sequence[MakeScan]) -> Any:
        prompts = [prompt_of(processor, INSTRUCTION)] * len(scans)
        return inputs_of(processor, prompts, [make() for make in scans])

    def _generate(self, inputs: Any) -> list[Written]:
        reports = generate_from(self._model, self._processor, inputs, self._max_new_tokens)
        return [Written(report.text) for report in reports]

    def _write_alone(self, scan: MakeScan) -> Written:
        try:
            (written,) = self._generate(self._inputs(self._processor, [scan]))
        except Exception as error:
            return Written(None, reason_of(error, "be reported on"))
        return written


def ask_once(model: AuditedModel, path: Path, scans: Mapping[str, MakeScan], label: str) -> list[Written]:
    """Return the answer to each scan, with a progress bar; one that is stored is not asked for again.

    Args:
        model: the model under audit.
        path: SQLite file of the answers. A scan without a report is not stored, so that it is asked about again.
        scans: by a key that tells everything of a scan's content.
        label: text beside the progress bar.
    """
    failed: dict[str, Written] = {}

    def answer(keys: Sequence[str]) -> Iterator[tuple[int, str]]:
        for index, written in model.write([scans[key] for key in keys]):
            if written.report is None:
                failed[keys[index]] = written
            else:
                yield index, written.report

    with progress_bar() as progress:
        track = partial(progress.track, description=label)
        reports = answer_as_ready(path, model.identity, list(scans), answer, model.chunk, track)
    return [
        failed.get(key, Written(None, "it gave no answer")) if report is None else Written(report)
        for key, report in zip(scans, reports, strict=True)
    ]


def spacing_for(image_size: Sequence[int]) -> Spacing:
    """Return the spacing at which a phantom has about as many voxels as a model's grid `(D, H, W)`, within limits."""
    depth, row, column = (
        min(max(field / side, finest), coarsest)
        for field, side, finest, coarsest in zip(FIELD_MM, image_size, FINEST_MM, COARSEST_MM, strict=True)
    )
    plane = min(row, column)
    return round(depth, 2), round(plane, 3), round(plane, 3)
