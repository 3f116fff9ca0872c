"""Make the curated data set CT-3DRRG from the sources' downloads, resumable at any point: `argus prepare`."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..sources.registry import SOURCES, columns_of
from ..sources.tables import TOLERATED, Listing, Problem, SourceScan
from ..storage.claimed_folders import claimed_folder, entries_of
from .curation_cost import cost_of_rules
from .dataset_card import write_card
from .dataset_folder import (
    MAX_EMBEDDED_BYTES,
    MAX_SHARD_BYTES,
    checksums_of,
    content_hash,
    put_in_place,
    statistics_of,
    write_decisions,
    write_log,
    write_rows,
    write_rows_with_volumes,
)
from .decisions import Decisions, curate_by_decisions
from .examination import Examination, NothingReadableError, Reading, cause_of, examine_all
from .judges import Judge, RuleJudge
from .overview.table1 import TABLE1_FILE, build_table1, phantom_sources, table1_markdown
from .prepared_folder import DATA, LOGS, MANIFEST
from .selection import Curation, SetAside, curate, leaks
from .volume_engines import ENGINES

WORK = ".prepare"  # folder in the output, from which an interrupted run continues
PROBLEMS, SET_ASIDE, NAMES = "problems.jsonl", "set_aside.jsonl", "names.jsonl"
TOO_LARGE_TO_EMBED = "over 2 GB, more than a Parquet cell holds; compress it to .nii.gz or leave the volumes outside"


@dataclass(frozen=True)
class PrepareOptions:
    """Options of `prepare`; the result depends only on `with_volumes`, `decisions` and `columns`.

    Attributes:
        workers: volumes read at a time.
        engine: "local" or "ray".
        with_volumes: store the volumes' bytes in the Parquet files, so that the folder can be moved.
        decisions: published decisions to apply instead of judging again, as `read_decisions` takes them.
        columns: column names that differ from the defaults, source -> role -> name.
        give_up_after: stop when this many volumes of a source fail for one cause before any could be read.
        max_shard_bytes: most bytes of volumes in one Parquet file.
        name_of: gives opaque names to scans and patients in rows with volumes and in decisions, from the sources' ids.
    """

    workers: int = 1
    engine: str = "local"
    with_volumes: bool = False
    decisions: Decisions | None = None
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    give_up_after: int = 50
    max_shard_bytes: int = MAX_SHARD_BYTES
    name_of: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Prepared:
    """Result of a run: its manifest, and everything that the user should look at."""

    manifest: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Return whether everything could be used, except for known flaws of the releases."""
        return all(problem.kind in TOLERATED for problem in self.problems)


def prepare(
    roots: Mapping[str, Path], out: Path, options: PrepareOptions | None = None, judge: Judge | None = None
) -> Prepared:
    """Curate the downloads in `roots` (source name -> folder) into the folder `out`.

    Writes `data/` (Parquet), `decisions/`, `logs/`, `README.md` with its figure, `table1.md` and `manifest.json`. If it
    was killed and is started again, it reads only the volumes it has not read yet and writes the same bytes.

    Raises:
        ValueError: if a source, engine or folder is unknown, a download lacks a table or column, a patient would be
            in two splits, or nothing is left.
        OSError: if the disk is full when the result is written; results of an earlier run stay.
    """
    options, judge = options or PrepareOptions(), judge or RuleJudge()
    roots = {name: Path(root).resolve() for name, root in roots.items()}
    _check(roots, out, options)
    columns = {name: columns_of(name, names) for name, names in options.columns.items()}
    listings = {name: SOURCES[name].list_scans(roots[name], columns.get(name)) for name in sorted(roots)}
    # Not earlier, so that errors of the downloads leave no folder behind.
    with claimed_folder(out):
        return _prepare(listings, roots, out, options, judge)


def _prepare(
    listings: dict[str, Listing], roots: dict[str, Path], out: Path, options: PrepareOptions, judge: Judge
) -> Prepared:
    problems = [problem for listing in listings.values() for problem in listing.problems]
    scans = [scan for listing in listings.values() for scan in listing.scans]
    examination = _examine(scans, roots, out, options, problems)
    if options.decisions is None:
        curation = curate(examination.scans, examination.records, judge)
    else:
        curation = curate_by_decisions(examination.scans, examination.records, options.decisions, options.name_of)
    problems += examination.problems
    problems += [
        Problem(entry.reason, f"{entry.source} {entry.scan_id}", entry.detail)
        for entry in curation.set_aside
        if entry.reason == "unreadable_volume"
    ]
    _check_result(curation, out, problems)
    manifest = write_folder(out, curation, _counts_of(curation, listings, examination), problems, roots, judge, options)
    return Prepared(manifest, problems)


def _examine(
    scans: list[SourceScan], roots: dict[str, Path], out: Path, options: PrepareOptions, problems: list[Problem]
) -> Examination:
    """Read all volumes; if volumes are embedded, one that is too large for a Parquet file counts as unreadable."""
    reading = Reading(roots, out / WORK / "volumes", options.engine, options.workers, options.give_up_after)
    try:
        examination = examine_all(scans, reading)
    except NothingReadableError as stop:
        logs = _write_failure(out, problems + stop.problems, [])
        raise ValueError(f"{stop}; stopped before the others are read, see {logs}") from None
    if options.with_volumes:
        examination.records = [
            replace(record, error=TOO_LARGE_TO_EMBED) if record.size > MAX_EMBEDDED_BYTES else record
            for record in examination.records
        ]
    return examination


def _counts_of(
    curation: Curation, listings: Mapping[str, Listing], examination: Examination
) -> dict[str, dict[str, int]]:
    """Return, by source, the counts of every step."""
    counts = {}
    for name, listing in listings.items():
        replaced = examination.num_replaced(name)
        read = {"unreadable_reconstruction": replaced} if replaced else {}
        listed = {"listed": len(listing.scans)} | dict(sorted(listing.counts.items()))
        counts[name] = listed | read | curation.counts(name)
    return counts


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
    # A run that was killed while it moved its result into place left no manifest yet, but its work folder.
    ours = (out / MANIFEST).exists() or (out / WORK).exists()
    if entries_of(out) and not ours:
        raise ValueError(f"{out}: holds files that argus prepare did not write; name a new folder")


def _check_result(curation: Curation, out: Path, problems: list[Problem]) -> None:
    if not curation.scans:
        logs = _write_failure(out, problems, curation.set_aside)
        found = [(entry.reason, entry.detail) for entry in curation.set_aside]
        found = found or [(problem.kind, problem.detail) for problem in problems]
        told = "the downloads hold no pair of a volume and a report"
        if found:
            causes = [(reason, cause_of(detail)) for reason, detail in found]
            cause, count = Counter(causes).most_common(1)[0]
            reason, detail = found[causes.index(cause)]
            told = f"the commonest cause is {reason} ({count} of {len(found)}), such as: {detail}"
        raise ValueError(f"{out}: no scan is left after curation; {told}; see {logs}")
    if found := leaks(curation.scans):
        raise ValueError(f"patient {found[0][1]} of {found[0][0]} would be in two splits; the source's ids are wrong")


def _write_failure(out: Path, problems: list[Problem], set_aside: list[SetAside]) -> Path:
    """Write the problems found before a run failed, beside an earlier result if there is one; return the folder."""
    (out / WORK).mkdir(parents=True, exist_ok=True)  # so that the next run recognises its folder
    logs = out / WORK / LOGS if (out / MANIFEST).exists() else out / LOGS
    write_log(logs / PROBLEMS, problems)
    write_log(logs / SET_ASIDE, set_aside)
    return logs


@dataclass(frozen=True)
class OpaqueName:
    """A scan's opaque name in rows and decisions, with its source's id."""

    name: str
    source: str
    scan_id: str


def _names_of(curation: Curation, name_of: Callable[[str], str]) -> list[OpaqueName]:
    """Return the scans and patients behind the opaque names, sorted by name."""
    known = [(draft.scan.source, draft.scan.scan_id) for draft in curation.scans]
    known += [(entry.source, entry.scan_id) for entry in curation.set_aside]
    names = (OpaqueName(name_of(scan_id), source, scan_id) for source, scan_id in known)
    return sorted(names, key=lambda entry: entry.name)


def write_folder(
    out: Path,
    curation: Curation,
    counts: dict[str, dict[str, int]],
    problems: list[Problem],
    roots: dict[str, Path],
    judge: Judge,
    options: PrepareOptions,
) -> dict[str, Any]:
    """Write the result beside the last one, then move it into place; return the manifest."""
    staged = out / WORK / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        if options.with_volumes:
            write_rows_with_volumes(staged, curation.scans, roots, options.max_shard_bytes, options.name_of)
        else:
            write_rows(staged, curation.scans, roots)
        write_decisions(staged, curation, list(roots), options.name_of)
        if options.name_of is not None:
            write_log(staged / LOGS / NAMES, _names_of(curation, options.name_of))
        write_log(staged / LOGS / "dropped_sentences.jsonl", curation.dropped)
        write_log(staged / LOGS / SET_ASIDE, curation.set_aside)
        write_log(staged / LOGS / PROBLEMS, problems)
        statistics, phantoms = statistics_of(curation.scans, list(roots)), phantom_sources(roots)
        manifest = {
            "judge": judge.name if options.decisions is None else "published decisions",
            "with_volumes": options.with_volumes,
            "content": content_hash(staged / DATA),
            "counts": counts,
            "statistics": statistics,
            "phantoms": phantoms,
            "cost_of_rules": cost_of_rules(curation, list(roots)),
        }
        write_card(staged, manifest, [draft.report for draft in curation.scans])
        table1 = table1_markdown(build_table1(statistics, phantoms))
        (staged / TABLE1_FILE).write_text(table1, encoding="utf-8")
        manifest["files"] = checksums_of(staged)
        (staged / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        put_in_place(staged, out)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise OSError(
            error.errno, f"{out}: the data set could not be written ({error.strerror}); make room and start again"
        ) from None
    return manifest
