"""`argus prepare`: from the sources' downloads to the curated data set CT-3DRRG, resumable at any point."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from .claimed_folders import claimed_folder, entries_of
from .curation import Curation, curate, leaks
from .dataset_card import write_card
from .dataset_folder import (
    DATA,
    LOGS,
    MANIFEST,
    checksums_of,
    content_hash,
    put_in_place,
    statistics_of,
    write_decisions,
    write_log,
    write_rows,
)
from .decisions import curate_by_decisions
from .judges import Judge, RuleJudge
from .source_registry import SOURCES, columns_of
from .source_tables import Listing, Problem
from .volume_engines import ENGINES
from .volume_records import VolumeRecord, VolumeTask, load_record, record_path

WORK = ".prepare"  # below the output: what an interrupted run goes on with


@dataclass(frozen=True)
class PrepareOptions:
    """How `prepare` runs; the result depends on `with_volumes`, `decisions` and `columns` only.

    Attributes:
        workers: volumes read at a time.
        engine: "local" or "ray".
        with_volumes: put the volumes' bytes into the Parquet files, so that the folder can be moved.
        decisions: folder of published decisions to follow instead of judging again.
        columns: column names that differ from the defaults, source -> role -> name.
    """

    workers: int = 1
    engine: str = "local"
    with_volumes: bool = False
    decisions: Path | None = None
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """What a run came to: its manifest, and all that a person should look at."""

    manifest: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)


def prepare(
    roots: Mapping[str, Path], out: Path, options: PrepareOptions | None = None, judge: Judge | None = None
) -> Prepared:
    """Curate the downloads in `roots` (source name -> folder) into the folder `out`.

    Writes `data/` (Parquet), `decisions/`, `logs/`, `README.md` with its figure, and `manifest.json`. Started again
    after a kill, it reads only the volumes it has not read yet and writes the same bytes.

    Raises:
        ValueError: if a source, engine or folder is unknown, a download lacks a table or column, a patient would be
            in two splits, or nothing is left.
        OSError: if the disk is full when the result is written; what an earlier run left stays.
    """
    options, judge = options or PrepareOptions(), judge or RuleJudge()
    roots = {name: Path(root).resolve() for name, root in roots.items()}
    _check(roots, out, options)
    columns = {name: columns_of(name, names) for name, names in options.columns.items()}
    listings = {name: SOURCES[name].list_scans(roots[name], columns.get(name)) for name in sorted(roots)}
    # Not before: what is wrong with the downloads leaves no folder behind.
    with claimed_folder(out):
        return _prepare(listings, roots, out, options, judge)


def _prepare(
    listings: dict[str, Listing], roots: dict[str, Path], out: Path, options: PrepareOptions, judge: Judge
) -> Prepared:
    records, problems = examine_all(listings, roots, out / WORK / "volumes", options)
    scans = [scan for listing in listings.values() for scan in listing.scans]
    if options.decisions is None:
        curation = curate(scans, records, judge)
    else:
        curation = curate_by_decisions(scans, records, options.decisions)
    problems = [problem for listing in listings.values() for problem in listing.problems] + problems
    problems += [
        Problem(entry.reason, f"{entry.source} {entry.scan_id}", entry.detail)
        for entry in curation.set_aside
        if entry.reason == "unreadable_volume"
    ]
    _check_result(curation, out)
    manifest = write_folder(out, curation, listings, problems, roots, judge.name, options)
    return Prepared(manifest, problems)


def _check(roots: Mapping[str, Path], out: Path, options: PrepareOptions) -> None:
    unknown = sorted(set(roots) - set(SOURCES))
    if unknown or not roots:
        raise ValueError(f"give at least one source out of {', '.join(SOURCES)}; got {', '.join(unknown) or 'none'}")
    for name, root in roots.items():
        if not root.is_dir():
            raise ValueError(f"{root}: no such folder; give the folder that holds the download of {name}")
        if out.resolve().is_relative_to(root):
            raise ValueError(f"{out}: lies in the download of {name}; name a folder outside it")
    if options.engine not in ENGINES:
        raise ValueError(f"unknown engine {options.engine!r}; known: {', '.join(ENGINES)}")
    if options.workers < 1:
        raise ValueError(f"workers must be 1 or more, got {options.workers}")
    # A run that was killed while it put its result in place left no manifest yet, but its work.
    ours = (out / MANIFEST).exists() or (out / WORK).exists()
    if entries_of(out) and not ours:
        raise ValueError(f"{out}: holds files that argus prepare did not write; name a new folder")


def _check_result(curation: Curation, out: Path) -> None:
    if not curation.scans:
        raise ValueError(f"{out}: no scan is left after curation; see that the downloads hold volumes and reports")
    if found := leaks(curation.scans):
        raise ValueError(f"patient {found[0][1]} of {found[0][0]} would be in two splits; the source's ids are wrong")


def examine_all(
    listings: Mapping[str, Listing], roots: Mapping[str, Path], folder: Path, options: PrepareOptions
) -> tuple[list[VolumeRecord], list[Problem]]:
    """Return a record for each listed scan, in order, reading only the volumes without one."""
    tasks = [
        VolumeTask(name, scan.scan_id, str(roots[name] / scan.volume), str(record_path(folder, name, scan.scan_id)))
        for name, listing in listings.items()
        for scan in listing.scans
    ]
    found = {task: record for task in tasks if (record := load_record(task))}
    missing = [task for task in tasks if task not in found]
    results = ENGINES[options.engine](missing, options.workers) if missing else iter(())
    bar = track(results, "Volumes", total=len(missing), console=Console(stderr=True), transient=True)
    found.update(bar)
    problems = [
        Problem("record_not_kept", f"{task.source} {task.scan_id}", f"{found[task].not_saved}; it is used all the same")
        for task in tasks
        if found[task].not_saved
    ]
    return [found[task] for task in tasks], problems


def write_folder(
    out: Path,
    curation: Curation,
    listings: Mapping[str, Listing],
    problems: list[Problem],
    roots: dict[str, Path],
    judge_name: str,
    options: PrepareOptions,
) -> dict[str, Any]:
    """Write the result beside the last one and then put it in its place; returns the manifest."""
    staged = out / WORK / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        write_rows(staged, curation.scans, roots, options.with_volumes)
        write_decisions(staged, curation, list(roots))
        write_log(staged / LOGS / "dropped_sentences.jsonl", curation.dropped)
        write_log(staged / LOGS / "set_aside.jsonl", curation.set_aside)
        write_log(staged / LOGS / "problems.jsonl", problems)
        manifest = {
            "judge": judge_name if options.decisions is None else "published decisions",
            "with_volumes": options.with_volumes,
            "content": content_hash(staged / DATA),
            "counts": {
                name: {"listed": len(listing.scans)} | dict(sorted(listing.counts.items())) | curation.counts(name)
                for name, listing in listings.items()
            },
            "statistics": statistics_of(curation.scans, list(roots)),
        }
        write_card(staged, manifest, [draft.report for draft in curation.scans])
        manifest["files"] = checksums_of(staged)
        (staged / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        put_in_place(staged, out)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise OSError(
            error.errno, f"{out}: the data set could not be written ({error.strerror}); make room and start again"
        ) from None
    return manifest
