"""Run `argus report`: check its options, and handle output, files and progress around `write_reports`."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from argus_inference.anonymous_paths import PathNames
from argus_inference.console.plain_text import ascii_json, plain_lines
from argus_inference.scan_reports import ScanFailure, ScanReport, to_json_lines, to_text, write_reports
from argus_processing.storage.claimed_folders import check_new_folder
from argus_processing.storage.progress import progress_bar
from argus_processing.storage.whole_files import check_can_write, destination_of, write_text

from .hospital.series import OpenedScan

STYLES = ("text", "json", "stream")
SAVE_SECONDS = 10.0  # time between saves; a sudden kill loses at most this much work


def check_options(
    scans: Sequence[Path],
    out: Path | None,
    as_json: bool,
    stream: bool,
    preview: Path | None,
    evidence: Path | None = None,
) -> None:
    """Refuse options that exclude each other and files that cannot be written, before the model is loaded.

    Raises:
        ValueError, OSError: if an option is refused; the message names it and says what to do.
    """
    if as_json and stream:
        raise ValueError("--json and --stream do not go together; choose one")
    for name, wanted in (("--preview", preview), ("--evidence", evidence)):
        if wanted is not None and len(scans) > 1:
            raise ValueError(f"{name} takes one scan, got {len(scans)}; run it once a scan")
    if preview is not None and preview.suffix.lower() != ".png":
        raise ValueError(f"--preview {preview}: the picture is a PNG; give a name that ends in .png")
    given = [path for path in (out, preview) if path is not None]
    targets = [os.path.realpath(path) for path in given]
    if len(set(targets)) < len(targets):
        raise ValueError(f"{out}: is named by --out and by --preview; give two names")
    if evidence is not None:
        folder = Path(os.path.realpath(evidence))
        if inside := [
            path for path, target in zip(given, targets, strict=True) if folder in (Path(target), *Path(target).parents)
        ]:
            raise ValueError(
                f"{inside[0]}: lies in the folder of --evidence, which is written whole; name another place"
            )
    for path, target in zip(given, targets, strict=True):
        if str(path) == "-":
            raise ValueError(f"{path}: reports go to stdout anyway; leave it out, or give a file name")
        for scan in scans:
            _refuse_scan(path, target, scan)
        check_can_write(path)
    if evidence is not None:
        _refuse_scan(evidence, os.path.realpath(evidence), scans[0])
        check_new_folder(evidence)


def _refuse_scan(path: Path, target: str, scan: Path) -> None:
    """Refuse an output `path` (resolved: `target`) that is a scan, or that is inside the folder of a scan."""
    if os.path.exists(path) and os.path.exists(scan) and os.path.samefile(path, scan):
        raise ValueError(f"{path}: is a scan to be read; give another name for the output")
    if os.path.isdir(scan):
        if Path(os.path.realpath(scan)) in Path(target).parents:
            raise ValueError(f"{path}: lies in the scan {scan}; give a name outside of that folder")
        own = os.stat(path) if os.path.exists(path) else None
        if own is None or own.st_nlink <= 1:
            return
        for slice_file in os.scandir(scan):
            if slice_file.inode() == own.st_ino and os.path.samefile(path, slice_file):
                raise ValueError(f"{path}: is a slice of the scan {scan}; give another name for the output")


def choose_style(as_json: bool, stream: bool) -> str:
    """Return the output style: one of `STYLES`."""
    return "json" if as_json else "stream" if stream else "text"


def run(
    scans: Sequence[OpenedScan],
    model_dir: Path,
    style: str,
    out: Path | None,
    preview: Path | None,
    max_new_tokens: int,
    batch_size: int,
    say: Callable[[str], None],
    loading: Any = None,
    names: PathNames | None = None,
    evidence: Path | None = None,
    llm: Path | None = None,
) -> bool:
    """Write the reports to stdout, and to `out`; return whether every scan could be read.

    `say` prints one line to stderr; `loading` holds the settings for loading the model (`model_folder.Loading`);
    `names` gives scans opaque names everywhere except in those lines. `out` holds only complete reports; if the command
    is stopped, these are the finished ones. It is not written at all if no scan could be read. `evidence` is the folder
    of the evidence for the report of a single scan. `llm` is a GGUF file in place of the folder's language model.
    """
    from argus_processing.saved_models.provenance import read_provenance

    mean = None if evidence is None else _mean_scan_of(model_dir)
    model, processor = _load(model_dir, loading, llm)
    model_hash = _hash(model_dir, llm) if style == "json" or evidence is not None else ""
    kept = ReportFile(out, style, model_hash, len(scans))
    streamer = _streamer(processor) if style == "stream" else None
    batches = write_reports(
        model,
        processor,
        [scan.path for scan in scans if not scan.refusal],
        batch_size=1 if streamer else batch_size,
        max_new_tokens=max_new_tokens,
        streamer=streamer,
        provenance=read_provenance(model_dir),
    )
    try:
        with progress_bar() as progress:
            # No bar if the reports are printed on the same screen: they show the progress, and a bar would break them.
            task = progress.add_task("scans", total=len(scans), visible=len(scans) > 1 and not sys.stdout.isatty())
            for told in _in_order(scans, batches):
                result = told if names is None else _renamed(told, names)
                kept.add(result)
                progress.advance(task)
                _tell(told, max_new_tokens, say)
                if names is not None:
                    say(f"{told.scan}: is called {result.scan} in the output")
                if style == "json":
                    _print(_for_stdout(to_json_lines([result], model_hash)))
                elif style == "text" and isinstance(result, ScanReport):
                    _print(to_text([result], len(scans)))
    finally:
        kept.save()
    if preview is not None and kept.reports:
        _save_preview(scans[0].path, kept.reports[0].report, preview)
    if evidence is not None and kept.reports:
        told = kept.reports[0]
        about = {"scan": told.scan, "model_hash": model_hash, "warnings": told.warnings}
        _save_evidence(model, processor, mean, scans[0].path, kept.reports[0].report, evidence, about, say)
    return len(kept.reports) == len(scans)


def _load(model_dir: Path, loading: Any, llm: Path | None) -> tuple[Any, Any]:
    """Load model and processor; with a GGUF file in place of the folder's language model."""
    if llm is not None:
        from argus_inference.llama_cpp.llama_cpp_model import load_with_gguf

        return load_with_gguf(model_dir, llm)
    from argus_inference.model_folder import load_model

    return load_model(model_dir, loading)


def _hash(model_dir: Path, llm: Path | None) -> str:
    """Return the hash of everything that decides a report."""
    if llm is not None:
        from argus_inference.llama_cpp.llama_cpp_model import hash_with_gguf

        return hash_with_gguf(model_dir, llm)
    from argus_inference.model_folder import hash_model

    return hash_model(model_dir)


def _in_order(
    scans: Sequence[OpenedScan], results: Iterator[ScanReport | ScanFailure]
) -> Iterator[ScanReport | ScanFailure]:
    """Yield a result for every scan: those of which no series is read have none among `results`."""
    for scan in scans:
        yield ScanFailure(str(scan.given), scan.refusal) if scan.refusal else scan.in_its_own_name(next(results))


class ReportFile:
    """The results so far, and their output file, which is rewritten in full from time to time."""

    def __init__(self, out: Path | None, style: str, model_hash: str, num_scans: int) -> None:
        self._out, self._style, self._model_hash, self._num_scans = out, style, model_hash, num_scans
        # A device or a pipe cannot be rewritten, so it is written once at the end.
        self._again = out is not None and not destination_of(out).is_stream
        self._results: list[ScanReport | ScanFailure] = []
        self._num_saved, self._saved_at = 0, time.monotonic()

    @property
    def reports(self) -> list[ScanReport]:
        """Return the results that have a report."""
        return [result for result in self._results if isinstance(result, ScanReport)]

    def add(self, result: ScanReport | ScanFailure) -> None:
        """Add one result, and save all if the last save is more than `SAVE_SECONDS` ago."""
        self._results.append(result)
        if self._again and time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write all results, unless they are already written or hold no report."""
        if self._out is None or self._num_saved == len(self._results) or not self.reports:
            return
        if self._style == "json":
            text = to_json_lines(self._results, self._model_hash)
        else:
            text = to_text(self._results, self._num_scans)
        write_text(self._out, text)
        self._num_saved, self._saved_at = len(self._results), time.monotonic()


def _renamed(result: ScanReport | ScanFailure, names: PathNames) -> ScanReport | ScanFailure:
    """Return a result in which the scan's opaque name replaces its path everywhere, without its series' UID."""
    name = names.of(result.scan)
    if isinstance(result, ScanFailure):
        return replace(result, scan=name, error=names.without_paths(result.error, result.scan))
    told = tuple(names.without_paths(warning, result.scan) for warning in result.warnings)
    return replace(result, scan=name, warnings=told, series=None)


def _for_stdout(text: str) -> str:
    """Return JSON that a stdout with a limited encoding can print and that is still valid."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return text if encoding == "utf8" else ascii_json(text)


def _print(text: str) -> None:
    print(text, end="", flush=True)


def _tell(result: ScanReport | ScanFailure, max_new_tokens: int, say: Callable[[str], None]) -> None:
    """Print to stderr the reason why a scan failed, or the warnings about it."""
    if isinstance(result, ScanFailure):
        # Most errors already begin with the scan's name.
        say(result.error if result.error.startswith(result.scan) else f"{result.scan}: {result.error}")
        return
    for warning in result.warnings:
        say(f"{result.scan}: warning: {warning}")
    if result.truncated:
        say(f"{result.scan}: warning: the report was cut at {max_new_tokens} tokens; raise --max-new-tokens")


def _streamer(processor: Any) -> Any:
    """Return a streamer that prints a report's words to stdout as they come."""
    from transformers import TextStreamer

    class PlainStreamer(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            print(plain_lines(text), flush=True, end="\n" if stream_end else "")

    return PlainStreamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)


def _save_preview(scan: Path, report: str, preview: Path) -> None:
    from argus_inference.preview import save_preview
    from argus_processing.read_ct import read_ct

    save_preview(read_ct(scan), report, preview)


def _mean_scan_of(model_dir: Path) -> Any:
    from argus_processing.mean_scan.mean_scan_file import read_mean_scan

    return read_mean_scan(model_dir)


def _save_evidence(
    model: Any,
    processor: Any,
    mean: Any,
    scan: Path,
    report: str,
    folder: Path,
    about: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    """Write the evidence for a report, and tell how many sentences have a map."""
    from argus_inference.evidence.evidence_files import LIMITS, write_evidence
    from argus_inference.evidence.explain import explain
    from argus_processing.read_ct import read_ct

    volume = read_ct(scan)
    found = explain(model, processor, volume, report, mean)
    write_evidence(folder, volume, report, found, about)
    mapped = sum(each.density is not None for each in found.sentences)
    say(f"{folder}: maps of {mapped} of {len(found.sentences)} sentences. {LIMITS}")
