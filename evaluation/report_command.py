"""What `argus report` does around `write_reports`: options, output, files, progress."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from argus_processing.whole_files import check_can_write, write_text

from .progress import progress_bar
from .report import ScanFailure, ScanReport, to_json_lines, to_text, write_reports

STYLES = ("text", "json", "stream")


def check_options(scans: Sequence[Path], out: Path | None, as_json: bool, stream: bool, preview: Path | None) -> None:
    """Refuse options that do not go together and files that could not be written, before the model is loaded.

    Raises:
        ValueError, OSError: with the option and what to do.
    """
    if as_json and stream:
        raise ValueError("--json and --stream do not go together; choose one")
    if preview is not None and len(scans) > 1:
        raise ValueError(f"--preview takes one scan, got {len(scans)}; run it once a scan")
    if preview is not None and preview.suffix.lower() != ".png":
        raise ValueError(f"--preview {preview}: the picture is a PNG; give a name that ends in .png")
    for path in (out, preview):
        if path is not None:
            check_can_write(path)


def choose_style(as_json: bool, stream: bool) -> str:
    """Name the output style: one of `STYLES`."""
    return "json" if as_json else "stream" if stream else "text"


def run(
    scans: Sequence[Path],
    model_dir: Path,
    style: str,
    out: Path | None,
    preview: Path | None,
    max_new_tokens: int,
    batch_size: int,
    say: Callable[[str], None],
    loading: Any = None,
) -> bool:
    """Write the reports to stdout, and to `out`; return whether every scan could be read.

    `say` prints one line to stderr; `loading` says how the model is loaded (`model_folder.Loading`). `out` is written
    when all is done, and not at all if no scan could be read.
    """
    from .model_folder import hash_model, load_model

    model, processor = load_model(model_dir, loading)
    model_hash = hash_model(model_dir) if style == "json" else ""
    results: list[ScanReport | ScanFailure] = []
    streamer = _streamer(processor) if style == "stream" else None
    batches = write_reports(
        model,
        processor,
        scans,
        batch_size=1 if streamer else batch_size,
        max_new_tokens=max_new_tokens,
        streamer=streamer,
    )
    with progress_bar() as progress:
        # Reports on the same screen show the progress themselves, and a bar would cut through them.
        task = progress.add_task("scans", total=len(scans), visible=len(scans) > 1 and not sys.stdout.isatty())
        for result in batches:
            results.append(result)
            progress.advance(task)
            _tell(result, max_new_tokens, say)
            if style == "json":
                print(to_json_lines([result], model_hash), end="", flush=True)
            elif style == "text" and isinstance(result, ScanReport):
                print(to_text([result], len(scans)), end="", flush=True)
    reports = [result for result in results if isinstance(result, ScanReport)]
    if out is not None and reports:
        write_text(out, to_json_lines(results, model_hash) if style == "json" else to_text(results, len(scans)))
    if preview is not None and reports:
        _save_preview(scans[0], reports[0].report, preview)
    return len(reports) == len(scans)


def _tell(result: ScanReport | ScanFailure, max_new_tokens: int, say: Callable[[str], None]) -> None:
    """Say on stderr why a scan failed, or what its reader should know."""
    if isinstance(result, ScanFailure):
        # Most errors begin with the scan's name already.
        say(result.error if result.error.startswith(result.scan) else f"{result.scan}: {result.error}")
        return
    for warning in result.warnings:
        say(f"{result.scan}: warning: {warning}")
    if result.truncated:
        say(f"{result.scan}: warning: the report was cut at {max_new_tokens} tokens; raise --max-new-tokens")


def _streamer(processor: Any) -> Any:
    """Return a streamer that prints a report's words to stdout as they come."""
    from transformers import TextStreamer

    return TextStreamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)


def _save_preview(scan: Path, report: str, preview: Path) -> None:
    from argus_processing.read_ct import read_ct

    from .preview import save_preview

    save_preview(read_ct(scan), report, preview)
