"""Write reports for scans on disk; `argus report` calls it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argus_processing.failures import reason_of
from argus_processing.phantom.files import is_marked_phantom
from argus_processing.saved_models.provenance import NEVER_TRAINED, Provenance

from .console.plain_text import plain, plain_lines, printable_json
from .generation import MAX_NEW_TOKENS, Generated, generate_batch

if TYPE_CHECKING:
    from argus_processing.ct_volume import CTVolume

    from .evidence.evidence import Evidence


@dataclass(frozen=True)
class ScanReport:
    """The report of one scan, with facts read from its file.

    Attributes:
        scan: its path.
        report: the text.
        original_orientation, spacing_mm, warnings: of the reader.
        hu_range: lowest and highest HU.
        truncated: whether the report was cut at its longest.
        series: UID of the DICOM series that was read; None of other files, or where no UID is known.
    """

    scan: str
    report: str
    original_orientation: str
    spacing_mm: tuple[float, float, float]
    hu_range: tuple[float, float]
    warnings: tuple[str, ...]
    truncated: bool
    series: str | None = None

    def _repr_html_(self) -> str:
        """Return the report with a picture of its scan, as a notebook shows it."""
        from .viewer.notebook import report_html

        return report_html(self.report, self.warnings, Path(self.scan))

    def show(self, evidence: "Evidence | Path | None" = None, sentence: int | None = None) -> Any:
        """Return a view of the scan for a notebook, with a sentence's map over it; see `show_scan`."""
        from .viewer.notebook import show_scan

        return show_scan(Path(self.scan), evidence, sentence)


@dataclass(frozen=True)
class ScanFailure:
    """A scan that could not be read, and the reason."""

    scan: str
    error: str


def write_reports(
    model: Any,
    processor: Any,
    scans: Sequence[Path],
    *,
    batch_size: int = 1,
    max_new_tokens: int = MAX_NEW_TOKENS,
    streamer: Any | None = None,
    provenance: Provenance | None = None,
    read: Callable[[Path], "CTVolume"] | None = None,
) -> Iterator[ScanReport | ScanFailure]:
    """Write one report for each scan, in order; a scan that cannot be read gives a `ScanFailure`, and the rest go on.

    Args:
        scans: NIfTI files or DICOM folders.
        streamer: a transformers streamer that receives the tokens as they come; needs `batch_size` 1.
        provenance: the model's; if it learned from phantoms only, a scan that is not marked as one gets a warning.
        read: reads a scan. Default: `read_ct`.

    Raises:
        ValueError: if the batch size is below 1, or above 1 with a streamer.
    """
    if batch_size < 1 or (streamer is not None and batch_size > 1):
        raise ValueError(f"batch size must be at least 1, and 1 when streaming; got {batch_size}")
    for start in range(0, len(scans), batch_size):
        batch = scans[start : start + batch_size]
        for result in _write_batch(model, processor, batch, max_new_tokens, streamer, read):
            yield _with_limits(result, provenance)


def _with_limits(result: ScanReport | ScanFailure, provenance: Provenance | None) -> ScanReport | ScanFailure:
    """Add a warning to the report of a scan of a kind that the model has never seen, and to each if it saw none."""
    limits = provenance.limits if provenance is not None else ""
    if not limits or isinstance(result, ScanFailure):
        return result
    if limits != NEVER_TRAINED and is_marked_phantom(Path(result.scan)):
        return result
    warning = f"the model was {limits}{'' if limits == NEVER_TRAINED else '; this scan is not marked as a phantom'}"
    return replace(result, warnings=(*result.warnings, warning))


def _write_batch(
    model: Any,
    processor: Any,
    scans: Sequence[Path],
    max_new_tokens: int,
    streamer: Any | None,
    reader: Callable[[Path], "CTVolume"] | None,
) -> list[ScanReport | ScanFailure]:
    """Write the reports of one batch; scans that cannot be read are taken out of it."""
    read = [_read(scan, reader) for scan in scans]
    volumes = [volume for volume in read if not isinstance(volume, ScanFailure)]
    reports = iter(_generate(model, processor, volumes, max_new_tokens, streamer))
    results: list[ScanReport | ScanFailure] = []
    for scan, volume in zip(scans, read, strict=True):
        report = volume if isinstance(volume, ScanFailure) else next(reports)
        if isinstance(report, Generated):
            results.append(_describe(scan, volume, report))
        else:
            results.append(ScanFailure(str(scan), report.error))
    return results


def _read(scan: Path, reader: Callable[[Path], "CTVolume"] | None) -> Any:
    """Read a scan into a `CTVolume`; for any error, return a `ScanFailure` with the reason."""
    from argus_processing.read_ct import read_ct

    try:
        return (reader or read_ct)(scan)
    except BaseException as error:
        return ScanFailure(str(scan), reason_of(error))


def _generate(
    model: Any, processor: Any, volumes: Sequence[Any], max_new_tokens: int, streamer: Any | None
) -> list[Generated | ScanFailure]:
    """Write the reports of volumes together; if that fails, one by one, so that a bad volume does not stop others."""
    from argus_processing.instructions import INSTRUCTION

    if not volumes:
        return []
    prompts = [INSTRUCTION] * len(volumes)
    try:
        return [*generate_batch(model, processor, volumes, prompts, max_new_tokens, streamer)]
    except BaseException as error:
        failure = ScanFailure("", reason_of(error, "be reported on"))
    if len(volumes) == 1:
        return [failure]
    return [_generate(model, processor, [volume], max_new_tokens, streamer)[0] for volume in volumes]


def _describe(scan: Path, volume: Any, generated: Generated) -> ScanReport:
    """Combine a report with the facts from its scan's file."""
    depth, height, width = (float(step) for step in volume.spacing_mm)
    return ScanReport(
        scan=str(scan),
        report=generated.text,
        original_orientation=volume.original_orientation,
        spacing_mm=(depth, height, width),
        hu_range=(float(volume.hu.min()), float(volume.hu.max())),
        warnings=tuple(volume.warnings),
        truncated=generated.truncated,
    )


def to_json_lines(results: Sequence[ScanReport | ScanFailure], model_hash: str) -> str:
    """Return one line with a JSON object for each scan; a failed scan has `scan` and `error`.

    Characters that could control a terminal are escaped, as JSON allows.
    """
    lines = [printable_json({**asdict(result), "model_hash": model_hash}) for result in results]
    return "".join(line + "\n" for line in lines)


def to_text(results: Sequence[ScanReport | ScanFailure], num_scans: int) -> str:
    """Return the reports as plain text; with several scans, each one comes after a line with its file's name.

    In names and reports, characters that could control a terminal are written as visible escapes.
    """
    reports = [result for result in results if isinstance(result, ScanReport)]
    if num_scans == 1:
        return "".join(f"{plain_lines(result.report)}\n" for result in reports)
    return "\n".join(f"== {plain(result.scan)} ==\n{plain_lines(result.report)}\n" for result in reports)
